//! Values that try to be more than text, through all that writes a mail and a real conversation: every kind of mail
//! with such a value wherever one can stand, beside the same mail with harmless ones, as Python reads both.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use contract::notification::MailPreferences;
use contract::{MailKind, PayoutKind};
use futures_util::future::join_all;
use ledger::mail::MailContent;
use notifier::letter::{Letters, sample};
use notifier::message::{Content, Envelope, message, message_id, recipient};
use notifier::settings::MailSettings;
use notifier::smtp::Server;
use serde_json::json;
use tests::parse_mail::parse;
use tests::{Happening, MailServer, ParsedMail};
use time::OffsetDateTime;

use super::{BOB, sender, settings};

/// A value, and what is to be seen of it.
struct Case {
    value: String,
    /// Where one line is shown, in HTML, in plain text and in a subject.
    html: String,
    plain: String,
    subject: String,
    /// Where several are, in HTML and in plain text.
    lines: Vec<(String, String)>,
}

impl Case {
    /// Of one line, shown as it is.
    fn same(value: &str) -> Self {
        Self::lines(value, value, &[value])
    }

    /// Shown like this where there is one line, and like this where there are several.
    fn lines(value: &str, line: &str, lines: &[&str]) -> Self {
        let lines = lines.iter().map(|line| ((*line).to_owned(), (*line).to_owned())).collect();
        let [html, plain, subject] = [line; 3].map(str::to_owned);
        Self { value: value.to_owned(), html, plain, subject, lines }
    }

    /// Of one line in which the direction of writing turns: like this in HTML, isolated in plain text.
    fn turning(value: &str, html: &str, subject: &str) -> Self {
        let plain = format!("\u{2068}{html}\u{2069}");
        let lines = vec![(html.to_owned(), plain.clone())];
        Self { value: value.to_owned(), html: html.to_owned(), plain, subject: subject.to_owned(), lines }
    }
}

fn cases() -> Vec<Case> {
    let (cr, lf, crlf) = (
        "a\rBcc: eve@example.org\r\rbody",
        "a\nBcc: eve@example.org\n\nbody",
        "a\r\nBcc: eve@example.org\r\n\r\nbody",
    );
    let broken = ["a", "Bcc: eve@example.org", "", "body"];
    let ends = "a\r\n.\r\nMAIL FROM:<eve@example.org>\r\n.\r\n..";
    let parts = "--=_saldo\r\nContent-Type: text/html\r\n\r\n<b>bold</b>\r\n--=_saldo--";
    let cr_shown = "a␍Bcc: eve@example.org␍␍body";
    let unseen = "a\0b\u{7}c\u{1b}[31md\u{7f}e\u{85}f\u{9b}g\u{2028}h";
    let unseen_shown = "a␀b␇c␛[31md␡e␤f\u{fffd}g␤h";
    vec![
        Case::same("nothing special, Zoë & Söhne 🥳"),
        Case::lines(cr, cr_shown, &[cr_shown]),
        Case::lines(lf, "a␊Bcc: eve@example.org␊␊body", &broken),
        Case::lines(crlf, "a␍␊Bcc: eve@example.org␍␊␍␊body", &broken),
        Case::lines(unseen, unseen_shown, &[unseen_shown]),
        Case::lines("a\u{2028}b\u{2029}c", "a␤b␤c", &["a␤b␤c"]),
        Case::same("</bdi></td></table></title><script>alert(1)</script><img src=x onerror=\"a('&amp;')\">"),
        Case::same("<!-- <![CDATA[ <style>*{display:none}</style> &lt;b&gt; &#x41; &copy"),
        Case::turning(
            "\u{202e}gnp.exe\u{2066} \u{200f}שלום",
            "\u{202e}gnp.exe\u{2066} \u{200f}שלום\u{2069}\u{202c}",
            "\u{2068}gnp.exe שלום\u{2069}",
        ),
        Case::turning("a\u{200f}b\u{202e}", "a\u{200f}b\u{202e}\u{202c}", "ab"),
        Case::lines("a\u{2069}\u{2069}b\u{202c}c", "abc", &["abc"]),
        Case::same("{{ subject }} {% raw %}{# {customer} {amount} { $shop } %s"),
        Case::same("=?utf-8?Q?=0D=0ABcc:_eve=40example.org?= =?utf-8?B?QmNjOiBldmU=?= =3D =0D=0A"),
        Case::lines(
            ends,
            "a␍␊.␍␊MAIL FROM:<eve@example.org>␍␊.␍␊..",
            &["a", ".", "MAIL FROM:<eve@example.org>", ".", ".."],
        ),
        Case::same("."),
        Case::lines("b\n.\nc", "b␊.␊c", &["b", ".", "c"]),
        Case::lines(
            parts,
            "--=_saldo␍␊Content-Type: text/html␍␊␍␊<b>bold</b>␍␊--=_saldo--",
            &["--=_saldo", "Content-Type: text/html", "", "<b>bold</b>", "--=_saldo--"],
        ),
        Case::same(&"x".repeat(10_000)),
        Case::same(&"🥳é".repeat(5_000)),
        Case::same("\"Eve\" <eve@example.org>, (comment); \\"),
    ]
}

/// What a shop says itself, if it does.
#[derive(Clone, Copy)]
struct Own<'a> {
    subject: &'a str,
    introduction: &'a str,
}

/// Words of a shop's own in which there is nothing but a value.
const FILLED: &str = "{shop}|{shop}";

fn words(own: bool, value: &str) -> &str {
    if own { value } else { FILLED }
}

/// The shop's texts, where the contract takes them.
fn texts(kind: MailKind, own: Own<'_>) -> Option<MailPreferences> {
    let texts = json!({ "subject": { "en": own.subject }, "introduction": { "en": own.introduction } });
    serde_json::from_value(json!({ kind.as_str().replace('-', "_"): texts })).ok()
}

/// With a value wherever there is one, and one where there can be several lines.
fn content(kind: MailKind, value: &str, lines: &str, own: Option<Own<'_>>) -> MailContent {
    let mut content = sample(kind, Some("en".parse().unwrap())).unwrap();
    value.clone_into(&mut content.shop.name);
    if let Some(own) = own {
        content.shop.texts = texts(kind, own).unwrap();
    }
    for item in &mut content.items {
        item.customer_name = Some(value.to_owned());
        item.payout_kind = PayoutKind::BankAccount;
        value.clone_into(&mut item.payout);
        item.payment_reference = Some(value.to_owned());
        item.note = Some(lines.to_owned());
        item.reason = Some(lines.to_owned());
    }
    content
}

/// A notifier's parts, and the server that it sends to.
struct Desk {
    server: MailServer,
    settings: MailSettings,
    notifier: Server,
    letters: Letters,
    sent: usize,
}

impl Desk {
    async fn new() -> Self {
        let server = MailServer::builder().start().await;
        let link = ("SALDO__MAIL__LINK", "https://shop.example/{merchant}?a=1&w={withdrawal}");
        let settings = settings(&server, &[link]);
        let letters = Letters::new(settings.style.clone()).unwrap();
        Self { notifier: Server::new(&settings), server, settings, letters, sent: 0 }
    }

    /// Writes and sends it; returns what the server was given.
    async fn send(&mut self, content: &MailContent) -> Vec<u8> {
        let letter = self.letters.write(content).unwrap();
        let to = recipient(BOB).unwrap();
        let envelope = Envelope {
            traceparent: None,
            from: &self.settings.from,
            reply_to: None,
            to: &to,
            message_id: &message_id(content.kind, "w-1", BOB, 0, "example.org"),
            date: OffsetDateTime::from_unix_timestamp(1_795_000_000).unwrap(),
        };
        let said = Content {
            subject: &letter.subject,
            text: &letter.text,
            html: &letter.html,
            language: &letter.language,
        };
        self.notifier.send(&sender(), &to, &message(&envelope, &said)).await.unwrap();
        self.sent += 1;
        self.server.wait_mails(self.sent).await.pop().unwrap().raw
    }

    /// Each mail was one conversation, in which nothing was said but this.
    fn nothing_else_was_said(&self) {
        let once = [Happening::Connected, Happening::Accepted, Happening::Left];
        assert_eq!(self.server.happenings(), once.repeat(self.sent));
        let hello = format!("EHLO {}", self.settings.server.hello_name);
        let rcpt = format!("RCPT TO:<{BOB}>");
        let lines = [&hello, "MAIL FROM:<saldo@example.org>", &rcpt, "DATA", "QUIT"];
        let heard: Vec<_> = self.server.heard().into_iter().map(|heard| heard.line).collect();
        assert_eq!(heard, lines.repeat(self.sent));
    }
}

/// Reads a mail that has nothing but what belongs there.
fn read(kind: MailKind, raw: &[u8], case: &str) -> ParsedMail {
    for line in raw.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(line.len() <= 998 && line.is_ascii() && !line.contains(&b'\r'), "{case}");
    }
    let ends = |end: &[u8]| raw.windows(end.len()).filter(|window| *window == end).count();
    assert_eq!(ends(b"\r\n"), ends(b"\n"), "{case}");
    let mail = parse(raw);
    assert_eq!(mail.defects, [] as [&str; 0], "{case}");
    let subject = mail.header("Subject").to_owned();
    let id = message_id(kind, "w-1", BOB, 0, "example.org");
    let headers = [
        ("Date", "Wed, 18 Nov 2026 11:06:40 +0000"),
        ("From", "Saldo <saldo@example.org>"),
        ("To", BOB),
        ("Subject", &subject),
        ("Message-ID", &id),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
        ("Content-Language", "en"),
        ("MIME-Version", "1.0"),
        ("Content-Type", "multipart/alternative; boundary=\"=_saldo\""),
    ];
    assert_eq!(mail.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())), "{case}");
    let parts: Vec<_> = mail.parts.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(parts, ["multipart/alternative", "text/plain", "text/html"], "{case}");
    mail
}

/// What stands in the harmless mail for a value of one line, for one of several, and for a shop's own words.
const VALUE: &str = "Qvalue";
const LINES: &str = "Qlines";
const OWN: &str = "Qown";

/// All tags but those around values and between their lines.
fn structure(mail: &ParsedMail) -> Vec<&str> {
    let tags = mail.tags.iter().map(String::as_str);
    tags.filter(|tag| !["bdi", "/bdi", "br"].contains(tag)).collect()
}

/// The hostile mail is the harmless one with the values in their places.
fn differs_in_values_only(mail: &ParsedMail, harmless: &ParsedMail, case: &Case, name: &str) {
    // Isolated are values only.
    let own_subject = case.subject.trim_matches(['\u{2068}', '\u{2069}']);
    let subject = harmless.header("Subject").replace(VALUE, &case.subject).replace(OWN, own_subject);
    let subject = if subject.chars().count() > 200 {
        subject.chars().take(199).chain(['…']).collect()
    } else {
        subject
    };
    assert_eq!(mail.header("Subject"), subject, "{name}");
    assert_eq!(mail.title, subject, "{name}");

    let joined = |lines: Vec<&str>| lines.join("\n");
    let html = joined(case.lines.iter().map(|(html, _)| html.as_str()).collect());
    let quoted = case.lines.iter().map(|(_, plain)| format!("> {plain}")).collect::<Vec<_>>();
    let quoted = joined(quoted.iter().map(|line| line.trim_end()).collect());
    let text = harmless.text.replace(&format!("> {LINES}"), &quoted).replace(OWN, &html);
    assert_eq!(mail.text, text.replace(VALUE, &case.plain), "{name}");

    let shown = harmless.shown.replace(LINES, &html).replace(OWN, &html).replace(VALUE, &case.html);
    assert_eq!(mail.shown, shown, "{name}");
    assert_eq!(structure(mail), structure(harmless), "{name}");
}

/// One kind of mail: with the built-in words, and with the shop's own, which are the value where the contract takes it.
async fn whatever_a_mail_of_this_kind_holds(kind: MailKind) {
    let mut desk = Desk::new().await;
    let accepted = |subject: &str, introduction: &str| texts(kind, Own { subject, introduction }).is_some();
    let mut harmless = BTreeMap::new();
    for (number, case) in cases().into_iter().enumerate() {
        let value = case.value.as_str();
        let taken = (accepted(value, FILLED), accepted(FILLED, value));
        for own in [None, Some(taken)] {
            let name = format!("{kind}, case {number}, taken as own words: {own:?}");
            let with = |value, lines, own_value| {
                let own = own.map(|(subject, introduction)| Own {
                    subject: words(subject, own_value),
                    introduction: words(introduction, own_value),
                });
                content(kind, value, lines, own)
            };
            if let Entry::Vacant(missing) = harmless.entry(own) {
                let raw = desk.send(&with(VALUE, LINES, OWN)).await;
                missing.insert(read(kind, &raw, &name));
            }
            let raw = desk.send(&with(value, value, value)).await;
            differs_in_values_only(&read(kind, &raw, &name), &harmless[&own], &case, &name);
        }
    }
    desk.nothing_else_was_said();
    // What is not shown at all is not shown rightly.
    let notes =
        !matches!(kind, MailKind::AdminDigest | MailKind::CustomerRequested | MailKind::CustomerApproved);
    for mail in harmless.values() {
        for read in [&mail.text, &mail.shown] {
            assert!(read.contains(VALUE) && read.contains(LINES) == notes, "{kind}: {read}");
        }
    }
    let taken: Vec<_> = harmless.into_keys().collect();
    assert_eq!(taken, [None, Some((false, false)), Some((false, true)), Some((true, true))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_values_hold_every_mail_is_the_harmless_one_with_their_text_in_it() {
    let kinds = MailKind::ALL.iter().map(|kind| tokio::spawn(whatever_a_mail_of_this_kind_holds(*kind)));
    for kind in join_all(kinds).await {
        kind.unwrap();
    }
}
