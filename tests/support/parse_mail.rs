//! Mails as an independent parser reads them: Python's `email` and `html` packages.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

const SCRIPT: &str = include_str!("parse_mail.py");

/// A mail as Python reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedMail {
    /// Names and decoded values, in order.
    pub headers: Vec<(String, String)>,
    /// Content type and transfer encoding of the whole and of every part.
    pub parts: Vec<(String, Option<String>)>,
    /// The plain text, lines ending in LF.
    pub text: String,
    /// The HTML document, lines ending in LF.
    pub html: String,
    /// The document's tags in order, with their attributes; `?` for comments and the like.
    pub tags: Vec<String>,
    /// What stands in its title.
    pub title: String,
    /// All else that stands in it as text; breaks are LF.
    pub shown: String,
    /// Everything that the parser did not like.
    pub defects: Vec<String>,
}

impl ParsedMail {
    /// From what the script writes.
    fn read(parsed: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let lines = |value: &Value| value.as_str().unwrap_or_default().replace("\r\n", "\n");
        let list = |name: &str| parsed[name].as_array().unwrap().clone();
        Self {
            headers: list("headers").iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
            parts: list("parts")
                .iter()
                .map(|pair| (text(&pair[0]), pair[1].as_str().map(str::to_owned)))
                .collect(),
            text: lines(&parsed["text"]),
            html: lines(&parsed["html"]),
            tags: list("tags").iter().map(text).collect(),
            title: text(&parsed["title"]),
            shown: text(&parsed["shown"]),
            defects: list("defects").iter().map(text).collect(),
        }
    }

    /// The value of the one header of this name.
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = values.next().unwrap_or_else(|| panic!("no {name} in {self:#?}"));
        assert_eq!(values.next(), None, "{name} is there twice");
        &value.1
    }
}

/// Parses a mail; fails with Python's messages where Python does.
pub fn parse(raw: &[u8]) -> ParsedMail {
    parse_all(&[raw]).remove(0)
}

/// Parses mails, all with one process; fails with Python's messages where Python does.
pub fn parse_all(mails: &[&[u8]]) -> Vec<ParsedMail> {
    let mut python = Command::new("python3")
        .args(["-I", "-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    let ran = std::thread::scope(|scope| {
        // It writes while it reads. Where it fails, its messages say why.
        scope.spawn(move || {
            let mut write = |raw: &[u8]| {
                input.write_all(format!("{}\n", raw.len()).as_bytes())?;
                input.write_all(raw)
            };
            mails.iter().try_for_each(|raw| write(raw))
        });
        python.wait_with_output().unwrap()
    });
    let parsed: Vec<Value> =
        ran.stdout.split(|byte| *byte == b'\n').map_while(|line| serde_json::from_slice(line).ok()).collect();
    assert!(
        ran.status.success() && parsed.len() == mails.len(),
        "{}\n{}",
        String::from_utf8_lossy(&ran.stderr),
        String::from_utf8_lossy(mails.get(parsed.len()).unwrap_or(&&b""[..]))
    );
    parsed.iter().map(ParsedMail::read).collect()
}
