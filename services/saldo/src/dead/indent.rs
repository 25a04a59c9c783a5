//! JSON for people: indented, and otherwise as it was published. It is not taken apart, which would round numbers, lose
//! repeated fields, and leave what was decrypted behind in pieces.

use std::io;

use serde::de::IgnoredAny;
use zeroize::Zeroizing;

/// Indented no further: who nests without end gets no screens full of blanks.
const DEEPEST: usize = 32;

const STEP: &str = "  ";

/// Hands out the lines of a text: one for each field and value, if it is JSON, and as they are, if it is none.
///
/// # Errors
/// Those of `line`.
pub(super) fn lines(text: &str, mut line: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return text.lines().try_for_each(line);
    }
    // With room for all: what grows leaves a copy behind.
    let mut current = Zeroizing::new(String::with_capacity(text.len() + DEEPEST * STEP.len()));
    let (mut depth, mut place, mut has_opened) = (0_usize, Place::Outside, false);
    for c in text.chars() {
        if place != Place::Outside {
            current.push(c);
            place = place.after(c);
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        depth -= usize::from(closes);
        // Nothing stands between the brackets of what is empty.
        if has_opened != closes {
            line(&current)?;
            begin(&mut current, depth);
        }
        has_opened = matches!(c, '{' | '[');
        depth += usize::from(has_opened);
        current.push(c);
        match c {
            '"' => place = Place::Inside,
            ':' => current.push(' '),
            ',' => {
                line(&current)?;
                begin(&mut current, depth);
            }
            _ => {}
        }
    }
    line(&current)
}

/// Begins a line.
fn begin(line: &mut String, depth: usize) {
    line.clear();
    (0..depth.min(DEEPEST)).for_each(|_| line.push_str(STEP));
}

/// Where in a text of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    /// Within a string.
    Inside,
    /// Behind a backslash.
    Escaped,
}

impl Place {
    /// Within a string, after this character.
    fn after(self, c: char) -> Self {
        match (self, c) {
            (Self::Inside, '"') => Self::Outside,
            (Self::Inside, '\\') => Self::Escaped,
            _ => Self::Inside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indented(text: &str) -> String {
        let mut indented = String::new();
        lines(text, |line| {
            indented.push_str(line);
            indented.push('\n');
            Ok(())
        })
        .unwrap();
        indented
    }

    #[test]
    fn json_has_a_line_for_each_field_and_keeps_what_it_says() {
        let text = r#"{"b":1.50,"a":{"x":[],"y":{ }, "z" : [1,"{,:\"]"]},"a":null}"#;
        let wanted = r#"{
  "b": 1.50,
  "a": {
    "x": [],
    "y": {},
    "z": [
      1,
      "{,:\"]"
    ]
  },
  "a": null
}
"#;
        assert_eq!(indented(text), wanted);
        assert_eq!(indented(wanted), wanted);
        assert_eq!(indented(r#" "\\" "#), "\"\\\\\"\n");
    }

    #[test]
    fn what_is_no_json_stays_as_it_is() {
        for text in ["no JSON", "{\"a\":1", "two\nlines", "{} {}"] {
            assert_eq!(indented(text), format!("{text}\n"));
        }
    }

    #[test]
    fn what_is_nested_without_end_is_not_indented_without_end() {
        let text = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(indented(&text).lines().all(|line| line.len() <= DEEPEST * STEP.len() + 2));
    }
}
