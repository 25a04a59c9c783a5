//! Words with values in them, for both parts of a mail.
//!
//! In HTML a value is escaped and stands in `<bdi>`; in plain text it is isolated where it could disturb its
//! surroundings. Neither part can be broken by what a value holds ([`visible`]).

use minijinja::{Value, context};

use super::visible;

/// Around values in a text that is put together elsewhere. They are no characters (Unicode 23.7), and [`visible`]
/// lets none through.
const BEGIN: char = '\u{FDD0}';
const END: char = '\u{FDD1}';

/// More characters have no place in a list of mails; the mail itself has them all.
const MOST_IN_A_SUBJECT: usize = 200;

/// One or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    text: String,
    value: bool,
}

/// A value of one line, to be put in a text that becomes a passage by [`Passage::marked`].
pub(super) fn mark(value: &str) -> String {
    format!("{BEGIN}{}{END}", visible::line(value))
}

impl Passage {
    /// Words of our own.
    pub(super) fn words(text: impl Into<String>) -> Self {
        Self(vec![Line(vec![Part { text: text.into(), value: false }])])
    }

    /// A text from outside, of one line.
    pub(super) fn value(text: &str) -> Self {
        Self::marked(&mark(text))
    }

    /// A text from outside, of several lines.
    pub(super) fn note(text: &str) -> Self {
        Self(visible::lines(text).map(|text| Line(vec![Part { text, value: true }])).collect())
    }

    /// A text in which values are marked.
    pub(super) fn marked(text: &str) -> Self {
        Self(text.split('\n').map(Line::marked).collect())
    }

    /// The subject of a mail: one line, not too long, in which no value turns the direction of the others.
    pub(super) fn subject(&self) -> String {
        let lines: Vec<_> = self.0.iter().map(|line| line.straight().plain()).collect();
        visible::cut(&lines.join(" "), MOST_IN_A_SUBJECT)
    }

    /// For the templates: `lines`, each with its `parts` and all of it as `plain` text.
    pub(super) fn to_value(&self) -> Value {
        let lines: Vec<_> = self.0.iter().map(Line::to_value).collect();
        context! { lines }
    }
}

impl Line {
    fn marked(text: &str) -> Self {
        let mut parts = Vec::new();
        for stretch in text.split_inclusive([BEGIN, END]) {
            let value = stretch.ends_with(END);
            // A shop's own words, which are checked elsewhere, are shown like all others.
            let shown = visible::lines(stretch.trim_end_matches([BEGIN, END])).collect::<String>();
            if !shown.is_empty() {
                parts.push(Part { text: shown, value });
            }
        }
        Self(parts)
    }

    fn straight(&self) -> Self {
        let straight = |part: &Part| Part { text: visible::straight(&part.text), value: part.value };
        Self(self.0.iter().map(straight).collect())
    }

    fn plain(&self) -> String {
        let around = self.0.iter().any(|part| !part.value && visible::turns(&part.text));
        let isolate = |part: &Part| part.value && (around || visible::turns(&part.text));
        self.0
            .iter()
            .map(|part| if isolate(part) { visible::isolated(&part.text) } else { part.text.clone() })
            .collect()
    }

    fn to_value(&self) -> Value {
        let part = |part: &Part| context! { text => &part.text, value => part.value };
        let parts: Vec<_> = self.0.iter().map(part).collect();
        context! { parts, plain => self.plain() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(passage: &Passage) -> Vec<String> {
        passage.0.iter().map(Line::plain).collect()
    }

    #[test]
    fn values_are_told_from_words() {
        let passage = Passage::marked(&format!("from {} to\n{}.", mark("a"), mark("b")));
        let part = |text: &str, value| Part { text: text.to_owned(), value };
        let first = Line(vec![part("from ", false), part("a", true), part(" to", false)]);
        assert_eq!(passage, Passage(vec![first, Line(vec![part("b", true), part(".", false)])]));
        assert_eq!(plain(&passage), ["from a to", "b."]);
    }

    #[test]
    fn no_value_can_pretend_to_be_words() {
        let passage = Passage::marked(&format!("hello {}", mark("\u{FDD1}Bob\n\u{FDD0}")));
        assert_eq!(plain(&passage), ["hello \u{FFFD}Bob␊\u{FFFD}"]);
        assert!(passage.0[0].0[1].value && passage.0[0].0.len() == 2);
    }

    #[test]
    fn values_are_isolated_where_directions_meet_and_only_there() {
        let sentence =
            |words: &str, value: &str| plain(&Passage::marked(&format!("{words} {}", mark(value)))).concat();
        assert_eq!(sentence("for", "Bob"), "for Bob");
        assert_eq!(sentence("for", "נועה"), "for \u{2068}נועה\u{2069}");
        assert_eq!(sentence("for", "a\u{202E}b"), "for \u{2068}a\u{202E}b\u{202C}\u{2069}");
        assert_eq!(sentence("עבור", "Bob"), "עבור \u{2068}Bob\u{2069}");
        assert_eq!(plain(&Passage::note("x\nנועה")), ["x", "\u{2068}נועה\u{2069}"]);
    }

    #[test]
    fn a_subject_is_one_short_line() {
        let subject = |value: &str| Passage::marked(&format!("Hello\n{}!", mark(value))).subject();
        assert_eq!(subject("Bob"), "Hello Bob!");
        assert_eq!(subject("a\r\nBcc: x"), "Hello a␍␊Bcc: x!");
        assert_eq!(subject("a\u{202E}b\u{2066}"), "Hello ab!");
        assert_eq!(subject("נועה"), "Hello \u{2068}נועה\u{2069}!");
        let long = subject(&"x".repeat(10_000));
        assert_eq!((long.chars().count(), long.ends_with("x…")), (200, true));
        assert!(subject(&"נ".repeat(10_000)).ends_with("נ…\u{2069}"));
    }
}
