//! A mail as bytes: one text, once plain and once as HTML, for one reader.
//!
//! Whatever the texts hold, the message has exactly the headers that are listed here: control characters in a header
//! become spaces, and whatever else could be taken for more than text is written as encoded words (RFC 2047). Both
//! parts are quoted-printable (RFC 2045), so that the message is ASCII in short lines whose ends are CRLF, and no text
//! can look like the boundary between the parts. The same envelope and texts give the same bytes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use contract::{LengthPrefixed, MailKind};
use lettre::Address;
use lettre::message::header::{
    ContentTransferEncoding, ContentType, Date, From, HeaderName, HeaderValue, Headers, MIME_VERSION_1_0,
    MessageId, ReplyTo, To,
};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart};
use time::OffsetDateTime;

/// Who writes to whom, and what the message is called.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    /// Who writes.
    pub from: &'a Mailbox,
    /// Whom answers are for, if that is another.
    pub reply_to: Option<&'a Mailbox>,
    /// Who reads.
    pub to: &'a Address,
    /// From [`message_id`].
    pub message_id: &'a str,
    /// When it was written, to the second.
    pub date: OffsetDateTime,
    /// The trace context of what it tells, carried on.
    pub traceparent: Option<&'a str>,
}

/// What it says.
#[derive(Clone, Copy)]
pub struct Content<'a> {
    /// The subject, in one line.
    pub subject: &'a str,
    /// The plain text; its lines may end in LF, CR or both.
    pub text: &'a str,
    /// The same as an HTML document.
    pub html: &'a str,
    /// The language it is in, as BCP 47 writes it.
    pub language: &'a str,
}

/// Cannot occur in quoted-printable text, where `=` is followed by two hexadecimal digits or the line's end.
const BOUNDARY: &str = "=_saldo";

/// A line of a header, without its end: RFC 5322, 2.1.1.
const LINE: usize = 78;

/// The message for the mail server.
pub fn message(envelope: &Envelope<'_>, content: &Content<'_>) -> Vec<u8> {
    let mut headers = Headers::new();
    headers.set(Date::new(envelope.date.into()));
    headers.set(From::from(Mailboxes::from(envelope.from.clone())));
    if let Some(reply_to) = envelope.reply_to {
        headers.set(ReplyTo::from(Mailboxes::from(reply_to.clone())));
    }
    headers.set(To::from(Mailboxes::from(Mailbox::new(None, envelope.to.clone()))));
    headers.insert_raw(text_header("Subject", content.subject));
    headers.set(MessageId::from(envelope.message_id.to_owned()));
    // RFC 3834, and what Microsoft's servers heed: nobody's holiday notice is to answer.
    headers.insert_raw(text_header("Auto-Submitted", "auto-generated"));
    headers.insert_raw(text_header("X-Auto-Response-Suppress", "All"));
    headers.insert_raw(text_header("Content-Language", content.language));
    if let Some(traceparent) = envelope.traceparent {
        headers.insert_raw(text_header("traceparent", traceparent));
    }
    headers.set(MIME_VERSION_1_0);
    let parts = MultiPart::alternative()
        .boundary(BOUNDARY)
        .singlepart(part(ContentType::TEXT_PLAIN, content.text))
        .singlepart(part(ContentType::TEXT_HTML, content.html));
    let mut bytes = headers.to_string().into_bytes();
    bytes.extend(parts.formatted());
    bytes
}

fn part(kind: ContentType, text: &str) -> SinglePart {
    SinglePart::builder()
        .header(kind)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// As it is where it is plain ASCII that fits into one line; otherwise as encoded words.
fn text_header(name: &'static str, text: &str) -> HeaderValue {
    // Unicode's line and paragraph separators are no control characters, and break lines all the same.
    let breaks = |letter: char| letter.is_control() || ['\u{2028}', '\u{2029}'].contains(&letter);
    let text: String = text.chars().map(|letter| if breaks(letter) { ' ' } else { letter }).collect();
    let plain = text.is_ascii()
        && name.len() + ": ".len() + text.len() <= LINE
        && text.trim() == text
        && !text.contains("=?");
    let written = if plain { text.clone() } else { encoded_words(&text) };
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str(name), text, written)
}

/// RFC 2047. Encoded words are no longer than 75 letters, and with the name of the header fit into a line.
fn encoded_words(text: &str) -> String {
    const BYTES: usize = 42;
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(BYTES));
        words.push(format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}

/// What a mail is called, for ever: mailboxes know it again when it arrives twice. `event_id` is what the mail tells
/// of, in a digest the first; `resent` is how often an operator had it sent again; `domain` is the sender's.
///
/// In angle brackets, as `Message-ID` has it.
pub fn message_id(kind: MailKind, event_id: &str, recipient: &str, resent: i32, domain: &str) -> String {
    let hash = LengthPrefixed::new()
        .part(kind.as_str())
        .part(event_id)
        .part(recipient)
        .part(resent.to_be_bytes())
        .finish_short();
    format!("<{}@{domain}>", hex::encode(hash))
}

/// An address to send to, as strict as [`contract::Email`] and no stricter: whether it exists, and whether its server
/// likes it, is for the mail server to say. `None` for what could break a command or a header.
pub fn recipient(text: &str) -> Option<Address> {
    let (user, domain) = text.split_once('@')?;
    let of_user = |letter: char| letter.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(letter);
    let of_domain = |letter: char| letter.is_ascii_alphanumeric() || ".-".contains(letter);
    let valid = text.len() <= 254
        && !user.is_empty()
        && user.chars().all(of_user)
        && !domain.is_empty()
        && domain.chars().all(of_domain);
    valid.then(|| Address::new_dangerous(user, domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(subject: &str, text: &str, html: &str) -> String {
        let from = "Saldo <saldo@example.org>".parse().unwrap();
        let reply_to = "help@example.org".parse().unwrap();
        let to = recipient("bob@example.net").unwrap();
        let envelope = Envelope {
            traceparent: None,
            from: &from,
            reply_to: Some(&reply_to),
            to: &to,
            message_id: "<1@example.org>",
            date: OffsetDateTime::from_unix_timestamp(1_795_000_000).unwrap(),
        };
        String::from_utf8(message(&envelope, &Content { subject, text, html, language: "pt-BR" })).unwrap()
    }

    #[test]
    fn a_message_is_these_bytes() {
        let expected = "\
Date: Wed, 18 Nov 2026 11:06:40 +0000
From: Saldo <saldo@example.org>
Reply-To: help@example.org
To: bob@example.net
Subject: Payout requested
Message-ID: <1@example.org>
Auto-Submitted: auto-generated
X-Auto-Response-Suppress: All
Content-Language: pt-BR
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=\"=_saldo\"

--=_saldo
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

=E2=82=AC 12.50
--=_saldo
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<p>=E2=82=AC 12.50</p>
--=_saldo--
";
        assert_eq!(written("Payout requested", "€ 12.50", "<p>€ 12.50</p>"), expected.replace('\n', "\r\n"));
    }

    #[test]
    fn whatever_is_said_the_message_is_ascii_in_short_lines() {
        for hostile in [
            "a\r\nBcc: eve@example.org\r\n\r\nhello",
            "\n.\n",
            "\r.\r",
            "a\0b\x0b\x0c\x1b\x7f\u{85}\u{2028}c",
            "--=_saldo\r\nContent-Type: text/html\r\n\r\n<b>",
            "=?utf-8?q?=0D=0ABcc:_eve?=",
            &"x".repeat(10_000),
            &"\u{202e}🥳 ".repeat(3_000),
            " ",
            "",
        ] {
            let message = written(hostile, hostile, hostile);
            for line in message.split("\r\n") {
                assert!(line.len() <= LINE, "{line}");
                assert!(line.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)), "{line:?}");
            }
            assert_eq!(message.matches("\r\n--=_saldo").count(), 3, "{message}");
            let (headers, _) = message.split_once("\r\n\r\n").unwrap();
            let names = headers.split("\r\n").filter(|line| !line.starts_with(' '));
            assert_eq!(names.count(), 11, "{headers}");
        }
    }

    #[test]
    fn message_ids_depend_on_everything_they_are_made_of() {
        let id = message_id(MailKind::AdminRequested, "event", "bob@example.net", 0, "example.org");
        assert_eq!(id, "<9b956f1d54ac143524ff4bc6ae1e8489@example.org>");
        let others = [
            message_id(MailKind::AdminDigest, "event", "bob@example.net", 0, "example.org"),
            message_id(MailKind::AdminRequested, "events", "bob@example.net", 0, "example.org"),
            message_id(MailKind::AdminRequested, "event", "Bob@example.net", 0, "example.org"),
            message_id(MailKind::AdminRequested, "event", "bob@example.net", 1, "example.org"),
            message_id(MailKind::AdminRequested, "eventb", "ob@example.net", 0, "example.org"),
        ];
        assert!(!others.contains(&id));
    }

    #[test]
    fn recipients_are_what_the_contract_takes() {
        for good in ["bob@example.net", "a..b@x", "o'neil+1%x=y/z@sub.example.net"] {
            assert_eq!(recipient(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "bob",
            "@x",
            "bob@",
            "b ob@x",
            "bob@x>",
            "bob@x\r\nDATA",
            "b\0b@x",
            "bøb@x",
            "a@b@c",
            "\"a\"@b",
        ] {
            assert!(recipient(bad).is_none(), "{bad:?}");
        }
    }
}
