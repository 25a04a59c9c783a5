//! What a query names: enough of `PromQL`'s grammar to tell metrics and labels from everything else.

use std::collections::BTreeSet;

/// Words that are no metrics, although no parenthesis need follow.
const WORDS: [&str; 15] = [
    "and",
    "or",
    "unless",
    "offset",
    "bool",
    "inf",
    "group_left",
    "group_right",
    "sum",
    "max",
    "min",
    "avg",
    "count",
    "topk",
    "quantile",
];
/// What a list of labels may follow.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The metrics and labels of a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) metrics: BTreeSet<String>,
    pub(super) labels: BTreeSet<String>,
}

/// What this query names.
pub(super) fn named(query: &str) -> Named {
    let (mut named, mut within_braces, mut within_list) = (Named::default(), false, false);
    let tokens = tokens(query);
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" => within_braces = true,
            "}" => within_braces = false,
            "(" => within_list = at > 0 && LISTS.contains(&tokens[at - 1]),
            ")" => within_list = false,
            other if !other.starts_with(begins_a_word) => {}
            label if within_braces || within_list => {
                named.labels.insert(label.to_owned());
            }
            word if WORDS.contains(&word) || tokens.get(at + 1) == Some(&"(") => {}
            metric => {
                named.metrics.insert(metric.to_owned());
            }
        }
    }
    named
}

/// Words, numbers with their units, strings, and every other character for itself.
fn tokens(query: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), query.trim_start());
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string(rest),
            '0'..='9' => word(rest),
            _ if begins_a_word(first) => word(rest),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

const fn begins_a_word(char: char) -> bool {
    char.is_ascii_alphabetic() || matches!(char, '_' | ':')
}

/// The length of the word or number at the beginning.
fn word(text: &str) -> usize {
    text.find(|char: char| !(char.is_ascii_alphanumeric() || "_:.".contains(char))).unwrap_or(text.len())
}

/// The length of the string at the beginning, its quotes included.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn metrics_and_labels_are_told_from_functions_words_strings_and_numbers() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let of = |query: &str, metrics: &[&str], labels: &[&str]| {
        assert_eq!(named(query), Named { metrics: set(metrics), labels: set(labels) }, "{query}");
    };
    of("up == 0", &["up"], &[]);
    of("time() - max(a_seconds) > 26 * 3600 or absent(b)", &["a_seconds", "b"], &[]);
    of(
        r#"histogram_quantile(0.99, sum by (le, worker) (rate(a_bucket{job!="x \" y", q=~"\\.z"}[5m])))"#,
        &["a_bucket"],
        &["job", "le", "q", "worker"],
    );
    of(r#"sum(a unless a{r="1"} offset 1h30m) and on () up{} > 1e12"#, &["a", "up"], &["r"]);
    of(r#"label_replace(a, "to", "$1", "from", "(.+)") > bool b"#, &["a", "b"], &[]);
    of("max without(instance) (a) * on(x) group_left b:c", &["a", "b:c"], &["instance", "x"]);
}
