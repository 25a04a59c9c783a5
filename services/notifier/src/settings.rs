//! How mails are sent, and how often.
//!
//! Everything is checked when it is read: whoever has [`MailSettings`] without a problem can reach the server with
//! them, as far as that can be known without trying. No password leaves the machine in clear: without TLS it is only
//! accepted where the mail server is on the same machine.

mod server;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::tz::TimeZone;
use ledger::mail::DigestRule;
use lettre::Address;
use lettre::message::Mailbox;
use worker::settings::Reader;

pub use server::{Login, Security, ServerSettings};

use crate::letter::Style;

const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

/// The notifier's own settings. Durations are written `250ms`, `30s`, `5m`, `1h`, `30d`.
#[derive(Clone)]
pub struct MailSettings {
    /// How the mail server is reached.
    pub server: ServerSettings,
    /// `mail.from`: who writes, such as `Saldo <saldo@example.org>`. Required.
    pub from: Mailbox,
    /// `mail.reply_to`: whom answers are for. Default: who writes.
    pub reply_to: Option<Mailbox>,
    /// How mails look.
    pub style: Style,
    /// `mail.connections`: how many mails may be under way at once, 1 to 64. Default 8.
    pub connections: usize,
    /// `mail.merchant_connections`: how many of them may be one shop's. Default 2, or 1 where there is only one.
    pub merchant_connections: usize,
    /// `mail.timeout`: for one mail, all of it. Default 60s.
    pub timeout: Duration,
    /// `mail.retry_min`: the first pause before a mail is tried again. Default 30s.
    pub retry_min: Duration,
    /// `mail.retry_max`: the longest. Default 1h.
    pub retry_max: Duration,
    /// `mail.give_up_after`: for how long a mail is tried. Default 3d.
    pub give_up_after: Duration,
    /// `mail.probe_interval`: how often a server that is away is looked for. Default 5s.
    pub probe_interval: Duration,
    /// `mail.check_interval`: a server that nothing was sent to for this long is asked whether it is there, so that the
    /// notifier is ready only while it is. Default 1m.
    pub check_interval: Duration,
    /// `mail.per_minute`: how many mails a minute, of each process; as many may come at once. Default 300.
    pub per_minute: NonZeroU32,
    /// `mail.merchant_per_minute`: the most of one shop's. Default 60.
    pub merchant_per_minute: NonZeroU32,
    /// `mail.interval`: how often due mails are looked for. Default 5s.
    pub interval: Duration,
    /// When requests are collected. `digest.after`: how many a reader is mailed one by one within the window, default 5.
    /// `digest.window`: for how long further ones are collected, default 10m. `digest.most`: how many one mail tells of,
    /// default 200.
    pub digest: DigestRule,
    /// `notices.age`: how old a withdrawal's state is before it is looked for without an event. Default 30s. Shorter than
    /// the window.
    pub notices_age: Duration,
    /// `notices.window`: how old a state may be that is looked for without an event. Default 7d.
    pub notices_window: Duration,
}

impl MailSettings {
    /// Reads them. Not to be used before [`Reader::finish`].
    pub fn read(read: &mut Reader) -> Self {
        let server = ServerSettings::read(read);
        let retry_min = read.duration("mail.retry_min", 30 * SECOND, HOUR);
        let retry_max = read.duration("mail.retry_max", HOUR, DAY);
        if retry_min > retry_max {
            read.problem("mail.retry_min", "is longer than mail.retry_max");
        }
        let connections = read.number("mail.connections", 8, 1, 64);
        let merchant_connections = read.number("mail.merchant_connections", 2.min(connections), 1, 64);
        if merchant_connections > connections {
            read.problem("mail.merchant_connections", "is more than mail.connections");
        }
        let notices_age = read.duration("notices.age", 30 * SECOND, DAY);
        let notices_window = read.duration("notices.window", 7 * DAY, 365 * DAY);
        if notices_age >= notices_window {
            read.problem("notices.age", "is not shorter than notices.window");
        }
        Self {
            server,
            from: read.required("mail.from", mailbox).unwrap_or_else(nobody),
            reply_to: read.optional("mail.reply_to", mailbox),
            style: style(read),
            connections,
            merchant_connections,
            timeout: read.duration("mail.timeout", MINUTE, HOUR),
            retry_min,
            retry_max,
            give_up_after: read.duration("mail.give_up_after", 3 * DAY, 30 * DAY),
            probe_interval: read.duration("mail.probe_interval", 5 * SECOND, HOUR),
            check_interval: read.duration("mail.check_interval", MINUTE, HOUR),
            per_minute: per_minute(read, "mail.per_minute", DEFAULT_PER_MINUTE),
            merchant_per_minute: per_minute(read, "mail.merchant_per_minute", DEFAULT_MERCHANT_PER_MINUTE),
            interval: read.duration("mail.interval", 5 * SECOND, HOUR),
            digest: DigestRule {
                after: count(read, "digest.after", 5),
                window: read.duration("digest.window", 10 * MINUTE, DAY),
                most: count(read, "digest.most", 200),
            },
            notices_age,
            notices_window,
        }
    }
}

/// How mails look. `mail.link`: where a withdrawal is shown, a URL with `{withdrawal}` and perhaps `{merchant}`; without
/// it mails have no link. `mail.time_zone`: the IANA name of the zone of the times in mails, default UTC.
pub fn style(read: &mut Reader) -> Style {
    Style {
        link: read.optional("mail.link", str::parse),
        time_zone: read.or("mail.time_zone", TimeZone::UTC, |text| {
            TimeZone::get(text).map_err(|_| "expected a time zone such as Europe/Lisbon".to_owned())
        }),
    }
}

/// The server only: addresses are never shown.
impl fmt::Debug for MailSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailSettings").field("server", &self.server).finish_non_exhaustive()
    }
}

const DEFAULT_PER_MINUTE: NonZeroU32 = NonZeroU32::new(300).unwrap();
const DEFAULT_MERCHANT_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// More than any mail server takes.
const MOST_PER_MINUTE: u32 = 100_000;

fn per_minute(read: &mut Reader, key: &'static str, default: NonZeroU32) -> NonZeroU32 {
    read.or(key, default, |text| match text.parse::<NonZeroU32>() {
        Ok(number) if number.get() <= MOST_PER_MINUTE => Ok(number),
        _ => Err(format!("expected a whole number from 1 to {MOST_PER_MINUTE}")),
    })
}

/// More requests than this in one mail are no help to anybody.
const MOST_REQUESTS: usize = 1000;

fn count(read: &mut Reader, key: &'static str, default: i64) -> i64 {
    let number = read.number(key, usize::try_from(default).unwrap_or(1), 1, MOST_REQUESTS);
    i64::try_from(number).unwrap_or(default)
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    let mailbox = text.parse().ok().filter(|mailbox: &Mailbox| {
        let address: &str = mailbox.email.as_ref();
        address.is_ascii() && !text.chars().any(char::is_control)
    });
    mailbox.ok_or_else(|| "expected an address such as Saldo <saldo@example.org>".to_owned())
}

fn nobody() -> Mailbox {
    Mailbox::new(None, Address::new_dangerous("nobody", "invalid"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use worker::settings::SettingsError;

    use super::*;

    const REQUIRED: [(&str, &str); 2] =
        [("SALDO__MAIL__HOST", "mail.example.org"), ("SALDO__MAIL__FROM", "Saldo <saldo@example.org>")];

    fn read(more: &[(&str, &str)]) -> (MailSettings, Vec<String>) {
        let mut reader = Reader::of_variables(REQUIRED.iter().chain(more).copied());
        let settings = MailSettings::read(&mut reader);
        (settings, reader.finish().map_or_else(|SettingsError(problems)| problems, |()| Vec::new()))
    }

    #[test]
    fn a_host_and_a_sender_are_enough() {
        let (settings, problems) = read(&[]);
        assert!(problems.is_empty(), "{problems:?}");
        assert!(matches!(settings.server.security, Security::StartTls(_)));
        assert_eq!(settings.server.port, 587);
        assert!(settings.server.login.is_none());
        assert_eq!(settings.from.to_string(), "Saldo <saldo@example.org>");
        assert_eq!(settings.style.time_zone, TimeZone::UTC);
        assert_eq!((settings.connections, settings.merchant_connections), (8, 2));
        assert_eq!((settings.per_minute.get(), settings.merchant_per_minute.get()), (300, 60));
        assert_eq!((settings.retry_min, settings.retry_max), (30 * SECOND, HOUR));
        assert_eq!((settings.timeout, settings.give_up_after), (MINUTE, 3 * DAY));
        assert_eq!(
            (settings.digest.after, settings.digest.window, settings.digest.most),
            (5, 10 * MINUTE, 200)
        );
        assert_eq!((settings.notices_age, settings.notices_window), (30 * SECOND, 7 * DAY));
    }

    #[test]
    fn what_is_required_is_missed() {
        let mut reader = Reader::of_variables([]);
        MailSettings::read(&mut reader);
        let SettingsError(problems) = reader.finish().unwrap_err();
        assert_eq!(
            problems,
            ["mail.host: is missing (SALDO__MAIL__HOST)", "mail.from: is missing (SALDO__MAIL__FROM)"]
        );
    }

    #[test]
    fn everything_can_be_set() {
        let (settings, problems) = read(&[
            ("SALDO__MAIL__TLS", "tls"),
            ("SALDO__MAIL__USER", "saldo@example.org"),
            ("SALDO__MAIL__PASSWORD", "open sesame"),
            ("SALDO__MAIL__REPLY_TO", "help@example.org"),
            ("SALDO__MAIL__HELLO_NAME", "[IPv6:::1]"),
            ("SALDO__MAIL__LINK", "https://example.org/{withdrawal}"),
            ("SALDO__MAIL__TIME_ZONE", "Europe/Lisbon"),
            ("SALDO__MAIL__PER_MINUTE", "1"),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        assert!(matches!(settings.server.security, Security::Tls(_)));
        assert_eq!(settings.server.port, 465);
        assert_eq!(settings.server.hello_name.to_string(), "[IPv6:::1]");
        assert_eq!(settings.style.time_zone.iana_name(), Some("Europe/Lisbon"));
        assert_eq!(settings.per_minute.get(), 1);
        let login = settings.server.login.as_ref().unwrap();
        assert_eq!(login.password.expose_secret(), "open sesame");
        let shown = format!("{settings:?} {login:?}");
        assert!(
            !shown.contains("sesame") && !shown.contains("saldo@") && !shown.contains("help@"),
            "{shown}"
        );
    }

    #[test]
    fn wrong_values_are_named_and_not_repeated() {
        let (_, problems) = read(&[
            ("SALDO__MAIL__HOST", "mail.example.org:25"),
            ("SALDO__MAIL__FROM", "Saldo"),
            ("SALDO__MAIL__REPLY_TO", "bob@exämple.org"),
            ("SALDO__MAIL__PORT", "0"),
            ("SALDO__MAIL__TLS", "ssl"),
            ("SALDO__MAIL__HELLO_NAME", "not a name"),
            ("SALDO__MAIL__TIME_ZONE", "Mars/Olympus"),
            ("SALDO__MAIL__CONNECTIONS", "65"),
            ("SALDO__MAIL__PER_MINUTE", "0"),
            ("SALDO__MAIL__CA_FILE", "/nowhere/ca.pem"),
            ("SALDO__MAIL__RETRY_MIN", "30m"),
            ("SALDO__MAIL__RETRY_MAX", "29m"),
        ]);
        assert_eq!(
            problems,
            [
                "mail.host: expected a host name or an IP address, without a port",
                "mail.tls: expected starttls, tls or none",
                "mail.ca_file: No such file or directory (os error 2)",
                "mail.port: expected a port from 1 to 65535",
                "mail.hello_name: expected a host name or an address such as [192.0.2.1]",
                "mail.retry_min: is longer than mail.retry_max",
                "mail.connections: expected a whole number from 1 to 64",
                "mail.from: expected an address such as Saldo <saldo@example.org>",
                "mail.reply_to: expected an address such as Saldo <saldo@example.org>",
                "mail.time_zone: expected a time zone such as Europe/Lisbon",
                "mail.per_minute: expected a whole number from 1 to 100000",
            ]
        );
    }

    #[test]
    fn settings_that_defeat_each_other_are_refused() {
        let (_, problems) = read(&[
            ("SALDO__MAIL__CONNECTIONS", "2"),
            ("SALDO__MAIL__MERCHANT_CONNECTIONS", "3"),
            ("SALDO__NOTICES__AGE", "1h"),
            ("SALDO__NOTICES__WINDOW", "1h"),
        ]);
        assert_eq!(
            problems,
            [
                "mail.merchant_connections: is more than mail.connections",
                "notices.age: is not shorter than notices.window",
            ]
        );
        let (settings, problems) = read(&[("SALDO__MAIL__CONNECTIONS", "1")]);
        assert!(problems.is_empty() && settings.merchant_connections == 1, "{problems:?}");
    }

    #[test]
    fn a_login_is_whole_or_not_there() {
        let (settings, problems) = read(&[("SALDO__MAIL__USER", "saldo")]);
        assert!(settings.server.login.is_none());
        assert_eq!(problems, ["mail.password: is missing, although mail.user is set"]);
        let (_, problems) = read(&[("SALDO__MAIL__PASSWORD", "open sesame")]);
        assert_eq!(problems, ["mail.user: is missing, although mail.password is set"]);
    }

    #[test]
    fn no_password_leaves_the_machine_in_clear() {
        let login = |host| {
            read(&[
                ("SALDO__MAIL__TLS", "none"),
                ("SALDO__MAIL__USER", "saldo"),
                ("SALDO__MAIL__PASSWORD", "open sesame"),
                ("SALDO__MAIL__HOST", host),
            ])
        };
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "::1"] {
            let (settings, problems) = login(host);
            assert!(
                problems.is_empty() && settings.server.login.is_some() && settings.server.port == 25,
                "{problems:?}"
            );
        }
        for host in ["mail.example.org", "192.0.2.1", "localhost.example.org", "127.0.0.1.example.org"] {
            let (settings, problems) = login(host);
            assert!(settings.server.login.is_none());
            assert_eq!(problems.len(), 1);
            assert!(problems[0].starts_with("mail.password: would be sent in clear"), "{problems:?}");
            assert!(!problems[0].contains("sesame"));
        }
    }

    #[test]
    fn a_file_of_certificates_must_hold_some_and_be_of_use() {
        let file = std::env::temp_dir().join(format!("saldo-notifier-{}.pem", std::process::id()));
        let path = file.to_str().unwrap();
        for text in [
            "",
            "what is this?",
            "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&file, text).unwrap();
            let (_, problems) = read(&[("SALDO__MAIL__CA_FILE", path)]);
            assert_eq!(problems, ["mail.ca_file: expected certificates in PEM form"], "{text}");
        }
        std::fs::write(&file, ROOT).unwrap();
        let (_, problems) = read(&[("SALDO__MAIL__CA_FILE", path)]);
        assert!(problems.is_empty(), "{problems:?}");
        let (_, problems) = read(&[("SALDO__MAIL__CA_FILE", path), ("SALDO__MAIL__TLS", "none")]);
        assert_eq!(problems, ["mail.ca_file: has no use where mail.tls is none"]);
        std::fs::remove_file(&file).unwrap();
    }

    /// Of a key that was thrown away.
    const ROOT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIUd0QRPYZwtmZ/RNlRaP7Bac+LKfkwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKU2FsZG8gdGVzdDAgFw0yNjExMjQxNzI5MDJaGA8yMTI2MTAz
MTE3MjkwMlowFTETMBEGA1UEAwwKU2FsZG8gdGVzdDBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABF4zS97QbkflbN4sCLZ4Hw9aOGBx2N5VCAuAhCIkN799MNBANGEL
VyokSruamRcT5weim9YgWb+oog4s0mbpRzqjUzBRMB0GA1UdDgQWBBRjt3hVxZSx
mppZ1iH6qpGrQlYn2TAfBgNVHSMEGDAWgBRjt3hVxZSxmppZ1iH6qpGrQlYn2TAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDfAyCw/FZIKym/D0Jv
p7tfPTdOF7j6pppoQ0wOOY8S9QIgWglkHH6g1cguTB6vNll7RyUkkJ11tBZc0YEY
LqUgPdI=
-----END CERTIFICATE-----
";
}
