//! A file of commands, one JSON message a line, read as far as it can be: what is wrong with a message is the
//! worker's to say.

use std::io::{self, Read};

use contract::adjustment::AdjustmentCommand;
use contract::commission::CommissionCommand;
use contract::directory::DirectoryCommand;
use contract::withdrawal::WithdrawalCommand;
use contract::{CommandKey, Commands, ContentHash, Malformed, MalformedReason, Received};
use serde_json::Value;

/// AMQP's longest routing key, in bytes.
const MAX_ROUTING_KEY: usize = 255;

/// The bytes of a file, or of standard input.
pub(crate) fn contents(file: &str) -> io::Result<Vec<u8>> {
    let read = if file == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))
}

/// A line that holds a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number in the file, from 1, empty lines included.
    pub(crate) number: usize,
    /// The message: the line without its end.
    pub(crate) body: Vec<u8>,
    /// `data.merchant`, if there is such a text.
    pub(crate) merchant: Option<String>,
    /// `source`, if there is such a text.
    pub(crate) source: Option<String>,
    /// `id`, if there is such a text.
    pub(crate) id: Option<String>,
    /// `type`, if there is such a text.
    pub(crate) message_type: Option<String>,
    /// `type` without its version, if there is such a text.
    pub(crate) name: Option<String>,
    /// `<merchant>.<type without version>`, if both can be read.
    pub(crate) routing_key: Option<String>,
}

/// All lines that hold anything.
pub(crate) fn parse(contents: &[u8]) -> Vec<Line> {
    let lines = contents.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    (1..)
        .zip(lines)
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(number, line)| Line::new(number, line))
        .collect()
}

impl Line {
    pub(crate) fn new(number: usize, body: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let merchant = text(&json["data"]["merchant"]);
        let message_type = text(&json["type"]);
        let name = message_type.as_deref().map(|message_type| without_version(message_type).to_owned());
        let routing_key =
            merchant.as_ref().zip(name.as_ref()).map(|(merchant, name)| format!("{merchant}.{name}"));
        Self {
            number,
            body: body.to_vec(),
            merchant,
            source: text(&json["source"]),
            id: text(&json["id"]),
            message_type,
            name,
            routing_key: routing_key.filter(|key| key.len() <= MAX_ROUTING_KEY),
        }
    }

    /// What makes it the same command with the same content, read as a worker reads it; no content where the ledger
    /// has none to compare it with.
    ///
    /// # Errors
    /// A worker would find it malformed.
    pub(crate) fn command(&self) -> Result<(CommandKey, Option<ContentHash>), Malformed> {
        match understand(&self.body) {
            Ok(command) => Ok((command.key, (!command.is_secret).then_some(command.content))),
            // A newer worker may know it.
            Err(malformed) if malformed.reason == MalformedReason::UnknownType => {
                self.key().map(|key| (key, None)).ok_or(malformed)
            }
            Err(malformed) => Err(malformed),
        }
    }

    /// The key, if all of it can be read.
    pub(crate) fn key(&self) -> Option<CommandKey> {
        Some(CommandKey {
            merchant: self.merchant.as_deref()?.parse().ok()?,
            source: self.source.as_deref()?.parse().ok()?,
            id: self.id.as_deref()?.parse().ok()?,
        })
    }
}

/// A command as its worker reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Understood {
    pub(crate) key: CommandKey,
    pub(crate) content: ContentHash,
    /// Whether the ledger keeps a keyed fingerprint of the content in its place.
    pub(crate) is_secret: bool,
    /// The only routing key that it may be delivered with.
    pub(crate) routing_key: String,
    /// Whether the broker must vouch for the user who publishes it.
    pub(crate) needs_user: bool,
}

/// Reads a message as one of the workers does.
type Reader = fn(&[u8]) -> Result<Understood, Malformed>;

/// Reads a message as its worker does.
///
/// # Errors
/// A worker would find it malformed.
pub(crate) fn understand(body: &[u8]) -> Result<Understood, Malformed> {
    let workers: [Reader; 4] = [
        read::<CommissionCommand>,
        read::<AdjustmentCommand>,
        read::<WithdrawalCommand>,
        read::<DirectoryCommand>,
    ];
    for read in workers {
        match read(body) {
            Err(malformed) if malformed.reason == MalformedReason::UnknownType => {}
            read => return read,
        }
    }
    Err(Malformed::new(MalformedReason::UnknownType, "type: no worker has such a command"))
}

fn read<C: Commands>(body: &[u8]) -> Result<Understood, Malformed> {
    let received = Received::<C>::read(body)?;
    Ok(Understood {
        routing_key: received.routing_key(),
        is_secret: received.command.is_secret(),
        needs_user: received.command.needs_user(),
        key: received.key,
        content: received.content,
    })
}

/// `commission.credit` of `commission.credit.v1`.
pub(crate) fn without_version(message_type: &str) -> &str {
    let is_version = |part: &str| {
        part.strip_prefix('v')
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match message_type.rsplit_once('.') {
        Some((name, version)) if is_version(version) => name,
        _ => message_type,
    }
}

/// Whether AMQP can carry it.
pub(crate) fn routing_key(text: &str) -> Result<String, String> {
    if text.len() <= MAX_ROUTING_KEY {
        Ok(text.to_owned())
    } else {
        Err(format!("expected at most {MAX_ROUTING_KEY} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(body: &str) -> Option<String> {
        Line::new(1, body.as_bytes()).routing_key
    }

    #[test]
    fn a_routing_key_is_merchant_and_type_without_version() {
        let read =
            |message_type: &str| key(&format!(r#"{{"type":"{message_type}","data":{{"merchant":"demo"}}}}"#));
        assert_eq!(read("commission.credit.v1").as_deref(), Some("demo.commission.credit"));
        assert_eq!(read("commission.credit.v12").as_deref(), Some("demo.commission.credit"));
        assert_eq!(read("commission.credit").as_deref(), Some("demo.commission.credit"));
        assert_eq!(read("commission.v").as_deref(), Some("demo.commission.v"));
        assert_eq!(read(&"x".repeat(300)), None);
    }

    #[test]
    fn a_line_is_read_leniently() {
        let line = Line::new(
            1,
            br#"{"type":"a.b.v1","id":7,"source":"/s","data":{"merchant":"demo","amount":1.5}}"#,
        );
        assert_eq!(line.routing_key.as_deref(), Some("demo.a.b"));
        assert_eq!((line.source.as_deref(), line.id), (Some("/s"), None));
        for body in [
            "{",
            "[]",
            r#"{"data":{"merchant":"demo"}}"#,
            r#"{"type":"a.v1","data":{"merchant":1}}"#,
            "\u{feff}{}",
        ] {
            assert_eq!(key(body), None, "{body}");
        }
    }

    #[test]
    fn a_type_that_nobody_knows_has_a_key_and_no_content() {
        let line = |data: &str| {
            let body = format!(
                r#"{{"specversion":"1.0","id":"1","source":"/s","type":"x.y.v1","time":"2026-11-22T10:00:00Z",
                "data":{data}}}"#
            );
            Line::new(1, body.as_bytes()).command()
        };
        let (key, content) = line(r#"{"merchant":"demo"}"#).unwrap();
        assert_eq!((key.merchant.as_str(), content), ("demo", None));
        assert_eq!(line("{}").unwrap_err().reason, MalformedReason::UnknownType);
    }

    #[test]
    fn commands_of_all_workers_are_read() {
        let merchant = r#""merchant":"demo""#;
        let put = format!(r#"{merchant},"customer":"c","paypal":{{"email":"jo@example.com"}}"#);
        for (message_type, data) in [
            ("commission.credit", format!(r#"{merchant},"customer":"c","amount":"1","currency":"EUR""#)),
            (
                "adjustment.debit",
                format!(
                    r#"{merchant},"customer":"c","amount":"1","currency":"EUR","description":"d","actor":"a""#
                ),
            ),
            ("withdrawal.request", format!(r#"{merchant},"customer":"c","currency":"EUR""#)),
            ("customer.put", format!(r#"{merchant},"customer":"c","kind":"affiliate""#)),
            ("payout-method.put", put),
            ("preferences.put", format!(r#"{merchant},"name":"Demo","actor":"a""#)),
        ] {
            let body = format!(
                r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{message_type}.v1",
                "time":"2026-11-22T10:00:00Z","data":{{{data}}}}}"#
            );
            let (key, content) = Line::new(1, body.as_bytes()).command().unwrap();
            // The ledger's fingerprint of a payout method cannot be compared without the key.
            let comparable = message_type != "payout-method.put";
            assert_eq!((key.merchant.as_str(), content.is_some()), ("demo", comparable), "{message_type}");
        }
    }

    #[test]
    fn lines_keep_their_number_and_their_exact_bytes() {
        let lines = parse(b"  {\"a\": 1}\r\n\n \t\r\n\xff\xfe");
        let read: Vec<(usize, &[u8])> =
            lines.iter().map(|line| (line.number, line.body.as_slice())).collect();
        assert_eq!(read, [(1, b"  {\"a\": 1}".as_slice()), (4, b"\xff\xfe".as_slice())]);
    }
}
