//! What a query names: enough of PromQL's grammar to tell metrics and labels from everything else.

use std::collections::BTreeSet;

const KEYWORDS: [&str; 6] = ["and", "or", "unless", "offset", "bool", "inf"];
const AGGREGATIONS: [&str; 7] = ["sum", "max", "min", "avg", "count", "topk", "quantile"];
/// A list of labels follows.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The metrics and labels of a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) metrics: BTreeSet<String>,
    pub(super) labels: BTreeSet<String>,
}

/// What this query names.
pub(super) fn named(query: &str) -> Named {
    let mut named = Named::default();
    let (mut within_braces, mut within_list, mut list_follows) = (false, false, false);
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string(rest),
            // A number or a duration, and what belongs to it.
            '0'..='9' => word(rest),
            'a'..='z' | 'A'..='Z' | '_' | ':' => word(rest),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        match first {
            '{' => within_braces = true,
            '}' => within_braces = false,
            '(' => within_list = list_follows,
            ')' => within_list = false,
            'a'..='z' | 'A'..='Z' | '_' | ':' if within_braces || within_list => {
                named.labels.insert(token.to_owned());
            }
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let is_called = after.trim_start().starts_with('(');
                let is_word = [&KEYWORDS[..], &AGGREGATIONS, &LISTS].concat().contains(&token);
                if !is_called && !is_word {
                    named.metrics.insert(token.to_owned());
                }
            }
            _ => {}
        }
        if !first.is_whitespace() {
            list_follows = LISTS.contains(&token);
        }
        rest = after;
    }
    named
}

/// The length of the word at the beginning.
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
