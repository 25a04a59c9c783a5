//! The notifier's conversation with a mail server: a mail is taken or it is not, it is known why, and nobody hears
//! what is none of their business.

mod hostile;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use lettre::Address;
use notifier::message::{Content, Envelope, message, message_id, recipient};
use notifier::settings::MailSettings;
use notifier::smtp::{Class, SendFailure, Server, Stage};
use tests::parse_mail::parse;
use tests::{Happening, MailServer, MailTls, PATIENCE, Step, eventually};
use time::OffsetDateTime;
use worker::settings::Reader;

const BOB: &str = "bob@example.net";
const MAIL: &[u8] = b"Subject: hello\r\n\r\nHello.\r\n";
const USER: &str = "postmaster@example.org";
const PASSWORD: &str = "correct horse battery staple";

/// What each step is for the notifier.
const STEPS: [(Step, Stage); 8] = [
    (Step::Greeting, Stage::Connect),
    (Step::Hello, Stage::Connect),
    (Step::StartTls, Stage::StartTls),
    (Step::Login, Stage::Login),
    (Step::MailFrom, Stage::MailFrom),
    (Step::RcptTo, Stage::RcptTo),
    (Step::Data, Stage::Data),
    (Step::Message, Stage::Message),
];

/// Short enough to be waited for, long enough for a busy machine.
const IMPATIENT: (&str, &str) = ("SALDO__MAIL__TIMEOUT", "3s");

fn settings(server: &MailServer, more: &[(&str, &str)]) -> MailSettings {
    let there = server.settings();
    let there = there.iter().map(|(name, value)| (*name, value.as_str()));
    let mut reader = Reader::of_variables(there.chain(more.iter().copied()));
    let settings = MailSettings::read(&mut reader);
    reader.finish().unwrap();
    settings
}

fn notifier(server: &MailServer) -> Server {
    Server::new(&settings(server, &[]))
}

fn sender() -> Address {
    recipient("saldo@example.org").unwrap()
}

async fn send(server: &Server) -> Result<u16, SendFailure> {
    let accepted = server.send(&sender(), &recipient(BOB).unwrap(), MAIL).await?;
    Ok(accepted.status)
}

async fn guarded() -> MailServer {
    MailServer::builder().tls(MailTls::StartTls).login(USER, PASSWORD).start().await
}

/// What the server heard in clear.
fn overheard(server: &MailServer) -> Vec<String> {
    server.heard().into_iter().filter(|heard| !heard.encrypted).map(|heard| heard.line).collect()
}

#[tokio::test]
async fn a_local_relay_is_given_mail_without_tls_and_login() {
    let server = MailServer::builder().start().await;
    let accepted = notifier(&server).send(&sender(), &recipient(BOB).unwrap(), MAIL).await.unwrap();
    assert_eq!((accepted.status, accepted.answer.as_str()), (250, "2.0.0 taken as 1"));
    let mails = server.wait_mails(1).await;
    assert_eq!(
        (mails[0].from.as_str(), mails[0].to.as_slice()),
        ("saldo@example.org", &[BOB.to_owned()][..])
    );
    assert_eq!((mails[0].raw.as_slice(), mails[0].connection, mails[0].sequence), (MAIL, 1, 1));
    assert_eq!(server.happenings(), [Happening::Connected, Happening::Accepted, Happening::Left]);
    let ehlo = format!("EHLO {}", settings(&server, &[]).server.hello_name);
    assert_eq!(
        overheard(&server),
        [&ehlo, "MAIL FROM:<saldo@example.org>", &format!("RCPT TO:<{BOB}>"), "DATA", "QUIT"]
    );
}

#[tokio::test]
async fn with_starttls_only_greetings_are_said_in_clear() {
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5 LOGIN PLAIN"] {
        let server = MailServer::builder()
            .tls(MailTls::StartTls)
            .login(USER, PASSWORD)
            .mechanisms(mechanism)
            .start()
            .await;
        assert_eq!(send(&notifier(&server)).await, Ok(250), "{mechanism}");
        let in_order = [
            Happening::Connected,
            Happening::Encrypted,
            Happening::LoggedIn,
            Happening::Accepted,
            Happening::Left,
        ];
        assert_eq!(server.happenings(), in_order);
        assert_eq!(server.wait_mails(1).await[0].raw, MAIL);
        let heard = overheard(&server);
        assert!(heard.len() == 2 && heard[0].starts_with("EHLO ") && heard[1] == "STARTTLS", "{heard:?}");
    }
}

#[tokio::test]
async fn with_implicit_tls_nothing_is_said_in_clear() {
    let server = MailServer::builder().tls(MailTls::Implicit).login(USER, PASSWORD).start().await;
    assert_eq!(send(&notifier(&server)).await, Ok(250));
    assert_eq!(server.wait_mails(1).await[0].raw, MAIL);
    assert_eq!(overheard(&server), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_with_a_wrong_certificate_gets_neither_password_nor_mail() {
    let other = guarded().await;
    for (tls, stage, heard) in
        [(MailTls::StartTls, Stage::StartTls, 2), (MailTls::Implicit, Stage::Connect, 0)]
    {
        let server = MailServer::builder().tls(tls).login(USER, PASSWORD).start().await;
        let fooled = Server::new(&settings(&server, &[("SALDO__MAIL__CA_FILE", other.ca_file())]));
        let failure = send(&fooled).await.unwrap_err();
        assert_eq!((failure.stage, failure.class, failure.status), (stage, Class::Server, None));
        assert!(failure.answer.contains("certificate"), "{failure}");
        server.wait(Happening::NotEncrypted, None).await;
        assert_eq!(server.heard().len(), heard, "{:?}", server.heard());
        assert!(server.mails().is_empty());
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_neither_password_nor_mail() {
    let server = MailServer::builder().login(USER, PASSWORD).start().await;
    let strict = Server::new(&settings(&server, &[("SALDO__MAIL__TLS", "starttls")]));
    let failure = send(&strict).await.unwrap_err();
    assert_eq!((failure.stage, failure.class), (Stage::StartTls, Class::Server));
    assert_eq!(failure.to_string(), "STARTTLS: the server does not offer STARTTLS");
    server.wait(Happening::Dropped, None).await;
    let heard = overheard(&server);
    assert!(heard.len() == 1 && heard[0].starts_with("EHLO "), "{heard:?}");
}

#[tokio::test]
async fn what_is_said_in_clear_is_not_taken_for_said_under_tls() {
    let server = guarded().await;
    let lies = "250-localhost\r\n250 AUTH PLAIN\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 ok\r\n250 taken\r\n";
    server.at(Step::StartTls).adds(lies);
    let failure = send(&notifier(&server)).await.unwrap_err();
    assert_eq!((failure.stage, failure.class), (Stage::StartTls, Class::Server));
    server.wait(Happening::NotEncrypted, None).await;
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn where_it_fails_says_whose_trouble_it_is() {
    let server = guarded().await;
    let notifier = notifier(&server);
    for (step, stage) in STEPS {
        for (status, when_refused) in
            [(421, Class::Transient), (451, Class::Transient), (554, Class::Permanent)]
        {
            let class = match stage {
                Stage::Connect | Stage::StartTls | Stage::Login | Stage::MailFrom => Class::Server,
                _ => when_refused,
            };
            server.at(step).times(1).answers(status, "5.7.1 not now");
            let failure = send(&notifier).await.unwrap_err();
            assert_eq!((failure.stage, failure.class, failure.status), (stage, class, Some(status)));
            assert_eq!(failure.to_string(), format!("{stage}: {status} 5.7.1 not now"));
        }
        let class = if stage < Stage::RcptTo { Class::Server } else { Class::Transient };
        server.at(step).times(1).closes();
        let failure = send(&notifier).await.unwrap_err();
        assert_eq!((failure.stage, failure.class, failure.status), (stage, class, None), "{failure}");
        assert!(failure.answer.contains("closed"), "{failure}");
    }
    assert!(server.mails().is_empty());
    assert_eq!(send(&notifier).await, Ok(250));
    // A connection each, and all of them are closed.
    let tries = STEPS.len() * 4 + 1;
    eventually("every connection is closed", PATIENCE, || async {
        let happenings = server.happenings();
        let ends = [Happening::Left, Happening::Dropped];
        let ended = happenings
            .iter()
            .filter(|happening| ends.contains(happening) || matches!(happening, Happening::Cut(_)));
        let ended = ended.count();
        if ended == tries { Ok(()) } else { Err(happenings) }
    })
    .await;
    assert_eq!(
        server.happenings().iter().filter(|happening| **happening == Happening::Connected).count(),
        tries
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_left_in_time() {
    join_all(STEPS.map(|(step, stage)| async move {
        let server = guarded().await;
        server.at(step).times(1).hangs();
        let notifier = Server::new(&settings(&server, &[IMPATIENT]));
        let failure = send(&notifier).await.unwrap_err();
        let class = if stage < Stage::RcptTo { Class::Server } else { Class::Transient };
        assert_eq!((failure.stage, failure.class, failure.status), (stage, class, None));
        assert_eq!(failure.answer, "timed out");
        // It is the notifier that has closed the connection: the server still hangs.
        server.wait(Happening::Dropped, None).await;
        let happenings = server.happenings();
        assert_eq!(happenings[happenings.len() - 2..], [Happening::Hanging(step), Happening::Dropped]);
        server.release();
        assert_eq!(send(&notifier).await, Ok(250));
        assert_eq!(server.wait_mails(1).await.len(), 1);
    }))
    .await;
}

#[tokio::test]
async fn a_mail_that_was_taken_is_sent_however_the_farewell_goes() {
    let server = guarded().await;
    let notifier = notifier(&server);
    server.at(Step::Quit).times(1).answers(421, "too late");
    server.at(Step::Quit).times(1).answers(500, "what?");
    server.at(Step::Quit).times(1).closes();
    server.at(Step::Quit).times(1).hangs();
    for _ in 0..4 {
        assert_eq!(send(&notifier).await, Ok(250));
    }
    assert_eq!(server.mails().len(), 4);
    for happening in [
        Happening::Refused(Step::Quit, 421),
        Happening::Refused(Step::Quit, 500),
        Happening::Cut(Step::Quit),
        Happening::Hanging(Step::Quit),
    ] {
        server.wait(happening, Some(BOB)).await;
    }
}

#[tokio::test]
async fn a_yes_that_is_the_wrong_yes_is_none() {
    let server = MailServer::builder().start().await;
    let notifier = notifier(&server);
    for (step, stage, status) in [
        (Step::MailFrom, Stage::MailFrom, 354),
        (Step::RcptTo, Stage::RcptTo, 354),
        (Step::Data, Stage::Data, 250),
        (Step::Message, Stage::Message, 354),
    ] {
        server.at(step).times(1).answers(status, "fine");
        let failure = send(&notifier).await.unwrap_err();
        let class = if stage < Stage::RcptTo { Class::Server } else { Class::Transient };
        assert_eq!((failure.stage, failure.class, failure.status), (stage, class, Some(status)));
    }
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn a_relay_that_wants_a_login_after_all_is_nobodys_refusal() {
    let server = MailServer::builder().start().await;
    let notifier = notifier(&server);
    for status in [530, 535, 538] {
        server.at(Step::RcptTo).times(1).answers(status, "5.7.0 authentication required");
        let failure = send(&notifier).await.unwrap_err();
        assert_eq!((failure.stage, failure.class), (Stage::RcptTo, Class::Server), "{failure}");
    }
}

#[tokio::test]
async fn dots_and_long_lines_arrive_as_they_are() {
    let server = MailServer::builder().start().await;
    let notifier = notifier(&server);
    let long = "x".repeat(20_000);
    let message = format!("Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n{long}\r\n\r\n.{long}\r\n.\r\n\r\n");
    notifier.send(&sender(), &recipient(BOB).unwrap(), message.as_bytes()).await.unwrap();
    notifier.send(&sender(), &recipient(BOB).unwrap(), b".").await.unwrap();
    let mails = server.wait_mails(2).await;
    assert_eq!(String::from_utf8_lossy(&mails[0].raw), message);
    assert_eq!(mails[1].raw, b".\r\n");
}

#[tokio::test]
async fn a_refusal_concerns_the_refused_recipient_only() {
    let server = guarded().await;
    let notifier = notifier(&server);
    server.at(Step::RcptTo).of("eve@example.net").answers(550, "no such user");
    let to = ["alice@example.net", "eve@example.net", "bob@example.net"].map(|to| recipient(to).unwrap());
    let sender = sender();
    let sent = join_all(to.iter().map(|to| notifier.send(&sender, to, MAIL))).await;
    assert!(sent[0].is_ok() && sent[2].is_ok(), "{sent:?}");
    assert_eq!(sent[1].as_ref().unwrap_err().class, Class::Permanent);
    server.wait(Happening::Refused(Step::RcptTo, 550), Some("eve@example.net")).await;
    let mut to: Vec<_> = server.mails().into_iter().flat_map(|mail| mail.to).collect();
    to.sort();
    assert_eq!(to, ["alice@example.net", "bob@example.net"]);
}

#[tokio::test]
async fn a_probe_does_everything_that_is_the_same_for_every_mail() {
    let mut server = guarded().await;
    let notifier = notifier(&server);
    notifier.probe(&sender()).await.unwrap();
    let in_order = [Happening::Connected, Happening::Encrypted, Happening::LoggedIn, Happening::Left];
    assert_eq!(server.happenings(), in_order);
    let heard = server.heard();
    assert!(heard.iter().any(|heard| heard.line.starts_with("MAIL FROM:<saldo@example.org>")), "{heard:?}");
    assert!(!heard.iter().any(|heard| heard.line.starts_with("RCPT")), "{heard:?}");

    server.stop().await;
    for failure in [notifier.probe(&sender()).await.unwrap_err(), send(&notifier).await.unwrap_err()] {
        assert_eq!((failure.stage, failure.class), (Stage::Connect, Class::Server));
        assert_eq!(failure.answer, "connection refused");
    }
    server.start_again().await;
    notifier.probe(&sender()).await.unwrap();
    assert_eq!(send(&notifier).await, Ok(250));

    let forgetful = Server::new(&settings(&server, &[("SALDO__MAIL__PASSWORD", "forgotten")]));
    let failure = forgetful.probe(&sender()).await.unwrap_err();
    assert_eq!((failure.stage, failure.class, failure.status), (Stage::Login, Class::Server, Some(535)));
}

#[tokio::test]
async fn nothing_shows_addresses_or_the_login() {
    let server = guarded().await;
    let settings = settings(&server, &[]);
    let notifier = Server::new(&settings);
    let mut shown = vec![format!("{settings:?} {notifier:?} {:?}", settings.server.login)];
    let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    let password = BASE64_STANDARD.encode(PASSWORD);
    let chatty = format!("<{BOB}> {USER} {PASSWORD} {plain} {password} saldo@example.org\u{1b}[2J");
    for (step, _) in STEPS {
        for status in [451, 550] {
            server.at(step).times(1).answers(status, &chatty);
            let failure = send(&notifier).await.unwrap_err();
            shown.push(format!("{failure:?} {failure}"));
        }
    }
    server.at(Step::Message).times(1).answers(250, &chatty);
    let accepted = notifier.send(&sender(), &recipient(BOB).unwrap(), MAIL).await.unwrap();
    shown.push(format!("{accepted:?}"));
    let shown = shown.join(" ");
    assert!(shown.contains("[2J") && !shown.contains('\u{1b}'), "{shown}");
    for secret in [BOB, USER, PASSWORD, "saldo@", &plain, &password] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

#[tokio::test]
async fn whatever_texts_hold_python_reads_exactly_that() {
    let server = MailServer::builder().start().await;
    let notifier = notifier(&server);
    let texts = [
        "Payout requested".to_owned(),
        "Olá, € 12,50: pagável — дорогой 🥳".to_owned(),
        "a\r\nBcc: eve@example.org\r\n\r\nhello".to_owned(),
        "a\nBcc: eve@example.org\n\n.\n.hello\n".to_owned(),
        "a\rBcc: eve@example.org\r\r.\r".to_owned(),
        "a\0b\x08c\x0bd\x0ce\x1bf\x7fg\u{85}h\u{2028}i\u{2029}j".to_owned(),
        "<script>alert('&amp;')</script> \"quoted\" \\ =3D =0D=0A".to_owned(),
        "\u{202e}txt.exe\u{202c} \u{200f}שלום\u{2067}".to_owned(),
        "=?utf-8?q?=0D=0ABcc:_eve?= =?utf-8?b?AAAA?=".to_owned(),
        "--=_saldo\r\nContent-Type: text/html\r\n\r\n<b>bold</b>\r\n--=_saldo--\r\n".to_owned(),
        "From here\n  to there, tabs\tand spaces \t \n".to_owned(),
        "x".repeat(10_000),
        "é ".repeat(5_000),
        "🥳".repeat(10_000),
        "  spaces  around  ".to_owned(),
        "Content-Type: text/plain; boundary=x".to_owned(),
        "a@example.org, <b@example.org>; (comment) \"".to_owned(),
    ];
    let from = "\"Müller, Saldo & Co.\" <saldo@example.org>".parse().unwrap();
    let reply_to = "help@example.org".parse().unwrap();
    let to = recipient("o'neil+%=x@example.net").unwrap();
    for (number, said) in texts.iter().enumerate() {
        let id = message_id(
            contract::MailKind::AdminRequested,
            &number.to_string(),
            to.as_ref(),
            0,
            "example.org",
        );
        let envelope = Envelope {
            traceparent: None,
            from: &from,
            reply_to: Some(&reply_to),
            to: &to,
            message_id: &id,
            date: OffsetDateTime::from_unix_timestamp(1_795_000_000).unwrap(),
        };
        let html = format!("<p>{said}</p>");
        let bytes =
            message(&envelope, &Content { subject: said, text: said, html: &html, language: "pt-BR" });
        notifier.send(&sender(), &to, &bytes).await.unwrap();
        let raw = server.wait_mails(number + 1).await.pop().unwrap().raw;
        assert_eq!(raw, bytes);
        assert!(raw.is_ascii());

        let mail = parse(&raw);
        assert_eq!(mail.defects, Vec::<String>::new(), "{said:?}");
        let subject: String = said
            .chars()
            .map(
                |letter| {
                    if letter.is_control() || "\u{2028}\u{2029}".contains(letter) { ' ' } else { letter }
                },
            )
            .collect();
        let headers = [
            ("Date", "Wed, 18 Nov 2026 11:06:40 +0000"),
            ("From", "\"Müller, Saldo & Co.\" <saldo@example.org>"),
            ("Reply-To", "help@example.org"),
            ("To", "o'neil+%=x@example.net"),
            ("Subject", &subject),
            ("Message-ID", &id),
            ("Auto-Submitted", "auto-generated"),
            ("X-Auto-Response-Suppress", "All"),
            ("Content-Language", "pt-BR"),
            ("MIME-Version", "1.0"),
            ("Content-Type", "multipart/alternative; boundary=\"=_saldo\""),
        ];
        assert_eq!(mail.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let encoding = Some("quoted-printable".to_owned());
        let parts = [("text/plain", encoding.clone()), ("text/html", encoding)];
        assert_eq!(mail.parts[0].0, "multipart/alternative");
        assert_eq!(mail.parts[1..], parts.map(|(kind, encoding)| (kind.to_owned(), encoding)));
        let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!((mail.text, mail.html), (lines(said), lines(&html)));
        assert_eq!(mail.parts.len(), 3);
    }
}
