//! Every mail in every language, as its reader sees it: `snapshots/<kind>.<locale>.txt` and `.html`.
//!
//! `SALDO_WRITE_SNAPSHOTS=1 cargo test -p notifier --test letters` writes them.

use std::path::PathBuf;

use contract::MailKind;
use jiff::tz::TimeZone;
use notifier::letter::{Letters, Style, sample};

const LOCALES: [&str; 4] = ["en", "it", "pt", "es"];

#[test]
fn every_mail_in_every_language_reads_as_it_did() {
    let style = Style {
        link: Some("https://shop.example/{merchant}/payouts/{withdrawal}".parse().unwrap()),
        time_zone: TimeZone::get("Europe/Rome").unwrap(),
    };
    let letters = Letters::new(style).unwrap();
    let mut differences = String::new();
    for kind in MailKind::ALL.iter().copied() {
        for locale in LOCALES {
            let letter = letters.write(&sample(kind, Some(locale.parse().unwrap())).unwrap()).unwrap();
            assert_eq!(letter.language, locale);
            let text = format!("Subject: {}\n\n{}", letter.subject, letter.text);
            differences += &compare(&format!("{kind}.{locale}.txt"), &text);
            differences += &compare(&format!("{kind}.{locale}.html"), &letter.html);
        }
    }
    assert!(
        differences.is_empty(),
        "{differences}\nif this is meant, run again with SALDO_WRITE_SNAPSHOTS=1"
    );
}

/// What is different from the committed file, or nothing. Writes the file if that is asked for.
fn compare(name: &str, written: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("SALDO_WRITE_SNAPSHOTS").is_some_and(|value| value == "1") {
        return std::fs::write(path, written)
            .err()
            .map_or_else(String::new, |error| format!("\n{name}: {error}\n"));
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    if committed == written {
        String::new()
    } else {
        format!("\n{name}:\n{}", difference(&committed, written))
    }
}

/// The lines between what both have at the beginning and at the end.
fn difference(committed: &str, written: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (committed.split('\n').collect(), written.split('\n').collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - same;
    let ends = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| old == new).count();
    let mut difference = vec![format!("@@ line {}", same + 1)];
    for (sign, lines) in [('-', &old[same..old.len() - ends]), ('+', &new[same..new.len() - ends])] {
        difference.extend(lines.iter().map(|line| format!("{sign}{line}")));
    }
    difference.push(String::new());
    difference.join("\n")
}

#[test]
fn a_difference_is_told_by_line() {
    assert_eq!(difference("a\nb\nc\n", "a\nx\ny\nc\n"), "@@ line 2\n-b\n+x\n+y\n");
    assert_eq!(difference("a\na\n", "a\n"), "@@ line 2\n-a\n");
}
