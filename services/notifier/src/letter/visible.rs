//! Texts from outside, made safe to stand in a mail: what cannot be seen is shown, and what turns the direction of
//! writing ends with the text.
//!
//! Nothing is left out that can be read. Characters that have no picture become U+FFFD.

use unicode_bidi::{BidiClass, bidi_class};

/// Begins a stretch that has a direction of its own, by its first letter (UAX #9).
pub(super) const ISOLATE: char = '\u{2068}';
/// Ends it.
pub(super) const POP_ISOLATE: char = '\u{2069}';
/// Ends an embedding or override.
const POP_EMBEDDING: char = '\u{202C}';
const REPLACEMENT: char = '\u{FFFD}';

/// A text of one line: line breaks are shown, too.
pub(super) fn line(text: &str) -> String {
    closed(text.chars().map(picture))
}

/// A text of several lines: LF and CR LF end a line, and a tab stays one.
pub(super) fn lines(text: &str) -> impl Iterator<Item = String> {
    let visible = |c| if c == '\t' { c } else { picture(c) };
    text.split('\n').map(move |line| closed(line.strip_suffix('\r').unwrap_or(line).chars().map(visible)))
}

/// Whether a text has letters that are written from right to left, or characters that turn the direction.
pub(super) fn turns(text: &str) -> bool {
    text.chars()
        .any(|c| is_control(c) || matches!(bidi_class(c), BidiClass::R | BidiClass::AL | BidiClass::AN))
}

/// Without the characters whose only purpose is to turn the direction.
pub(super) fn straight(text: &str) -> String {
    text.chars().filter(|c| !is_control(*c)).collect()
}

/// The text by itself, whatever stands around it.
pub(super) fn isolated(text: &str) -> String {
    format!("{ISOLATE}{text}{POP_ISOLATE}")
}

/// The first characters, with `…` for the others, and with every isolate closed.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    closed(text.chars().take(most - 1).chain(['…']))
}

/// The directional formatting characters (UAX #9, section 2).
fn is_control(c: char) -> bool {
    matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// What stands for a control character, or for one that is none (Unicode 23.7).
fn picture(c: char) -> char {
    match c {
        '\0'..='\u{1F}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(REPLACEMENT),
        '\u{7F}' => '␡',
        '\u{85}' | '\u{2028}' | '\u{2029}' => '␤',
        '\u{80}'..='\u{9F}' | '\u{FDD0}'..='\u{FDEF}' => REPLACEMENT,
        _ if u32::from(c) & 0xFFFE == 0xFFFE => REPLACEMENT,
        _ => c,
    }
}

/// Every direction that is turned in the text is turned back at its end, and nothing from before it is.
fn closed(text: impl Iterator<Item = char>) -> String {
    let mut closed = String::new();
    let mut open = Vec::new();
    for c in text {
        if keeps(&mut open, c) {
            closed.push(c);
        }
    }
    closed.extend(open.iter().rev());
    closed
}

/// Whether a character belongs in the text; `open` has what ends the stretches that have begun.
fn keeps(open: &mut Vec<char>, c: char) -> bool {
    match c {
        '\u{202A}' | '\u{202B}' | '\u{202D}' | '\u{202E}' => open.push(POP_EMBEDDING),
        '\u{2066}'..='\u{2068}' => open.push(POP_ISOLATE),
        POP_EMBEDDING if open.last() != Some(&POP_EMBEDDING) => return false,
        POP_EMBEDDING => drop(open.pop()),
        POP_ISOLATE => match open.iter().rposition(|end| *end == POP_ISOLATE) {
            // It ends the embeddings inside as well.
            Some(isolate) => open.truncate(isolate),
            None => return false,
        },
        _ => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(line("a\r\nBcc: x\0\t\u{7F}"), "a␍␊Bcc: x␀␉␡");
        assert_eq!(line("a\u{85}b\u{2028}c\u{2029}d"), "a␤b␤c␤d");
        assert_eq!(line("\u{9B}\u{FDD0}\u{FDD1}\u{1FFFF}"), "\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}");
        assert_eq!(line("<b>Zoë & \"ß\" 🎉</b>"), "<b>Zoë & \"ß\" 🎉</b>");
    }

    #[test]
    fn a_note_keeps_its_lines_and_nothing_else_that_is_unseen() {
        let shown: Vec<_> = lines("one\r\ntwo\n\n\tthree\rfour\0").collect();
        assert_eq!(shown, ["one", "two", "", "\tthree␍four␀"]);
    }

    #[test]
    fn a_text_turns_no_direction_but_its_own() {
        assert_eq!(line("a\u{202E}b"), "a\u{202E}b\u{202C}");
        assert_eq!(line("a\u{2069}\u{202C}b"), "ab");
        assert_eq!(line("\u{2067}a\u{202E}b\u{2069}c"), "\u{2067}a\u{202E}b\u{2069}c");
        assert_eq!(line("\u{202B}a\u{2067}b"), "\u{202B}a\u{2067}b\u{2069}\u{202C}");
        let each: Vec<_> = lines("a\u{202E}b\nc").collect();
        assert_eq!(each, ["a\u{202E}b\u{202C}", "c"]);
    }

    #[test]
    fn what_turns_the_direction_is_recognised() {
        for text in ["שלום", "مرحبا", "a\u{200F}", "a\u{202E}b", "١٢"] {
            assert!(turns(text), "{text:?}");
        }
        for text in ["", "Zoë 12", "日本", "-- \u{a0}…"] {
            assert!(!turns(text), "{text:?}");
        }
    }

    #[test]
    fn a_cut_is_seen_and_leaves_nothing_open() {
        assert_eq!(cut("abcde", 5), "abcde");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut(&isolated("שלוםשלום"), 5), "\u{2068}שלו…\u{2069}");
    }
}
