//! One mail, handed to the mail server: one conversation, on a connection of its own.
//!
//! The conversation is led step by step, so that a failure says where it happened: before `RCPT TO` it is the
//! server's trouble and nobody's mail is at fault, afterwards it is this mail's. Once the server has answered the
//! message with 250 the mail is its own; how the farewell goes no longer matters. The whole takes no longer than
//! `mail.timeout`. A connection is never used again; where anything but a refusal ended the conversation, it is just
//! dropped.
//!
//! With `starttls` nothing but greetings is said in clear: without TLS there is no login and no mail.
//!
//! A crash, or a timeout, after the message was sent and before the 250 was read leaves it open whether the server
//! has the mail; whoever then sends it again must use the same `Message-ID`.
//!
//! What servers answer is kept for the operator, in one line, without addresses and without what the notifier logs in
//! with. lettre reads answers as UTF-8: a refusal in another encoding counts as a lost connection.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::response::{Response, Severity};
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::line_by_line::LineByLine;
use crate::settings::{Login, MailSettings, Security, ServerSettings};

/// How long the server's answer to `QUIT` is waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// The most letters of an answer that are kept.
const ANSWER: usize = 300;

/// Ways to log in, best first.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// How far a conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Looking up the name, TCP, TLS if it comes first, the greeting and `EHLO`.
    Connect,
    /// `STARTTLS`, and `EHLO` again.
    StartTls,
    /// `AUTH`.
    Login,
    /// `MAIL FROM`.
    MailFrom,
    /// `RCPT TO`.
    RcptTo,
    /// `DATA`.
    Data,
    /// The message itself.
    Message,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::StartTls => "STARTTLS",
            Self::Login => "AUTH",
            Self::MailFrom => "MAIL FROM",
            Self::RcptTo => "RCPT TO",
            Self::Data => "DATA",
            Self::Message => "message",
        })
    }
}

/// What a failure means for what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The server cannot be used, whatever the mail: it never came to `RCPT TO`, or wants a login.
    Server,
    /// This mail may be taken another time.
    Transient,
    /// The server refuses the recipient or the mail for good.
    Permanent,
}

/// The server has the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its status, 250.
    pub status: u16,
    /// What it said with it: one line of at most 300 letters, without addresses.
    pub answer: String,
}

/// The server has not taken the mail, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SendFailure {
    /// Where.
    pub stage: Stage,
    /// What it means.
    pub class: Class,
    /// The server's status, if it answered.
    pub status: Option<u16>,
    /// What it said with it, or what happened: one line of at most 300 letters, without addresses.
    pub answer: String,
}

impl fmt::Display for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.stage)?;
        if let Some(status) = self.status {
            write!(f, "{status} ")?;
        }
        f.write_str(&self.answer)
    }
}

/// The mail server, as the settings have it.
#[derive(Debug, Clone)]
pub struct Server {
    settings: ServerSettings,
    timeout: Duration,
    /// What an answer must not repeat.
    secrets: Vec<secrecy::SecretString>,
}

/// A conversation as it goes on.
struct Conversation {
    stage: Stage,
    /// From the greeting on.
    connection: Option<AsyncSmtpConnection>,
}

/// Why a step failed, before it is a [`SendFailure`].
enum Trouble {
    Smtp(Error),
    Io(io::Error),
    Unexpected(Response),
    Missing(&'static str),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Smtp(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Server {
    /// The server that these settings name.
    pub fn new(settings: &MailSettings) -> Self {
        Self {
            settings: settings.server.clone(),
            timeout: settings.timeout,
            secrets: settings.server.login.as_ref().map(secrets).unwrap_or_default(),
        }
    }

    /// Hands over a message, as [`crate::message::message`] writes it.
    ///
    /// # Errors
    /// The server did not take it, or not in time.
    pub async fn send(&self, from: &Address, to: &Address, message: &[u8]) -> Result<Accepted, SendFailure> {
        self.converse(async |conversation: &mut Conversation| {
            let response = self.hand_over(conversation, from, to, message).await?;
            Ok(Accepted {
                status: response.code().into(),
                answer: self.shown(&response.message().collect::<Vec<_>>().join(" ")),
            })
        })
        .await
    }

    /// Asks whether the server can be used: everything up to the answer to `MAIL FROM`. QUIT then discards the mail.
    ///
    /// # Errors
    /// It cannot.
    pub async fn probe(&self, from: &Address) -> Result<(), SendFailure> {
        self.converse(async |conversation: &mut Conversation| {
            self.open(conversation, from).await?;
            Ok(())
        })
        .await
    }

    /// Leads a conversation to its end, in time.
    async fn converse<T>(
        &self,
        steps: impl AsyncFnOnce(&mut Conversation) -> Result<T, Trouble>,
    ) -> Result<T, SendFailure> {
        let deadline = Instant::now() + self.timeout;
        let mut conversation = Conversation { stage: Stage::Connect, connection: None };
        let outcome = timeout_at(deadline, steps(&mut conversation)).await;
        let Conversation { stage, connection } = conversation;
        let result = match outcome {
            Ok(outcome) => outcome.map_err(|trouble| self.failure(stage, &trouble)),
            Err(_) => Err(self.told(stage, None, "timed out")),
        };
        let speaks = result.as_ref().err().is_none_or(|failure| failure.status.is_some());
        if let Some(mut connection) = connection.filter(|connection| speaks && !connection.has_broken()) {
            let _ = timeout_at(deadline.min(Instant::now() + FAREWELL), connection.quit()).await;
        }
        result
    }

    /// Connects, protects the connection, logs in and says who writes: all that is the same for every mail.
    async fn open<'a>(
        &self,
        conversation: &'a mut Conversation,
        from: &Address,
    ) -> Result<&'a mut AsyncSmtpConnection, Trouble> {
        let Conversation { stage, connection } = conversation;
        let ServerSettings { host, port, security, login, hello_name } = &self.settings;
        let server = (host.as_str(), *port);
        let connection = connection.insert(if let Security::Tls(parameters) = security {
            let parameters = Some(parameters.clone());
            AsyncSmtpConnection::connect_tokio1(server, None, hello_name, parameters, None).await?
        } else {
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            let stream = LineByLine::new(stream);
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), hello_name).await?
        });
        if let Security::StartTls(parameters) = security {
            *stage = Stage::StartTls;
            if !connection.can_starttls() {
                return Err(Trouble::Missing("the server does not offer STARTTLS"));
            }
            connection.starttls(parameters.clone(), hello_name).await?;
        }
        if let Some(login) = login {
            *stage = Stage::Login;
            if connection.server_info().get_auth_mechanism(&MECHANISMS).is_none() {
                return Err(Trouble::Missing("the server offers neither AUTH PLAIN nor AUTH LOGIN"));
            }
            let credentials = Credentials::new(
                login.user.expose_secret().to_owned(),
                login.password.expose_secret().to_owned(),
            );
            let response = connection.auth(&MECHANISMS, &credentials).await?;
            expect(response, Severity::PositiveCompletion)?;
        }
        *stage = Stage::MailFrom;
        let response = connection.command(Mail::new(Some(from.clone()), Vec::new())).await?;
        expect(response, Severity::PositiveCompletion)?;
        Ok(connection)
    }

    async fn hand_over(
        &self,
        conversation: &mut Conversation,
        from: &Address,
        to: &Address,
        message: &[u8],
    ) -> Result<Response, Trouble> {
        self.open(conversation, from).await?;
        let Conversation { stage, connection: Some(connection) } = conversation else {
            return Err(Trouble::Missing("there is no connection"));
        };
        *stage = Stage::RcptTo;
        let response = connection.command(Rcpt::new(to.clone(), Vec::new())).await?;
        expect(response, Severity::PositiveCompletion)?;
        *stage = Stage::Data;
        let response = connection.command(Data).await?;
        expect(response, Severity::PositiveIntermediate)?;
        *stage = Stage::Message;
        // lettre ends the last line itself.
        let message = message.strip_suffix(b"\r\n").unwrap_or(message);
        expect(connection.message(message).await?, Severity::PositiveCompletion)
    }

    fn failure(&self, stage: Stage, trouble: &Trouble) -> SendFailure {
        match trouble {
            Trouble::Smtp(error) => self.told(stage, error.status().map(Into::into), &happened(error)),
            Trouble::Io(error) => self.told(stage, None, &happened_to(error)),
            Trouble::Unexpected(response) => {
                let answer = format!("not what was expected: {}", response.first_line().unwrap_or_default());
                self.told(stage, Some(response.code().into()), &answer)
            }
            Trouble::Missing(what) => self.told(stage, None, what),
        }
    }

    fn told(&self, stage: Stage, status: Option<u16>, answer: &str) -> SendFailure {
        let class = match (stage, status) {
            // The same for every mail, whatever the status; the last one also where a relay wants a login after all.
            (Stage::Connect | Stage::StartTls | Stage::Login | Stage::MailFrom, _)
            | (_, Some(530 | 535 | 538)) => Class::Server,
            (_, Some(500..)) => Class::Permanent,
            _ => Class::Transient,
        };
        SendFailure { stage, class, status, answer: self.shown(answer) }
    }

    /// One line of bounded length, without the login and without words that hold an address.
    fn shown(&self, answer: &str) -> String {
        let mut answer = answer.to_owned();
        for secret in &self.secrets {
            answer = answer.replace(secret.expose_secret(), "…");
        }
        let words = answer
            .split(|letter: char| letter.is_whitespace() || letter.is_control())
            .filter(|word| !word.is_empty())
            .map(|word| if word.contains('@') || word.contains("%40") { "…@…" } else { word });
        let line = words.collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(ANSWER) {
            None => line,
            Some(_) => line.chars().take(ANSWER - 1).chain(['…']).collect(),
        }
    }
}

/// The login in every form that a server hears it in.
fn secrets(login: &Login) -> Vec<secrecy::SecretString> {
    let (user, password) = (login.user.expose_secret(), login.password.expose_secret());
    let mut secrets = vec![BASE64_STANDARD.encode(format!("\0{user}\0{password}"))];
    for secret in [user, password].into_iter().filter(|secret| !secret.is_empty()) {
        secrets.extend([BASE64_STANDARD.encode(secret), secret.to_owned()]);
    }
    // Longest first, so that none is hidden in part only.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().map(Into::into).collect()
}

/// lettre takes every 2xx and 3xx for a yes.
fn expect(response: Response, severity: Severity) -> Result<Response, Trouble> {
    if response.code().severity == severity { Ok(response) } else { Err(Trouble::Unexpected(response)) }
}

/// What the server said, or else what happened.
fn happened(error: &Error) -> String {
    if let Some(trouble) = ledger::tls::trouble(error) {
        return trouble;
    }
    let mut source = error.source();
    let mut last = None;
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return happened_to(error);
        }
        last = Some(error.to_string());
        source = error.source();
    }
    match last {
        Some(said) if error.status().is_some() || !error.is_response() => said,
        // lettre says the same of both.
        _ if error.is_response() => "the connection closed, or no SMTP answer came".to_owned(),
        _ => "no text".to_owned(),
    }
}

fn happened_to(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "timed out".to_owned(),
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use worker::settings::Reader;

    use super::*;

    fn server() -> Server {
        let mut reader = Reader::of_variables([
            ("SALDO__MAIL__HOST", "mail.example.org"),
            ("SALDO__MAIL__FROM", "saldo@example.org"),
            ("SALDO__MAIL__USER", "saldo-sender"),
            ("SALDO__MAIL__PASSWORD", "open sesame"),
        ]);
        let settings = MailSettings::read(&mut reader);
        reader.finish().unwrap();
        Server::new(&settings)
    }

    #[test]
    fn an_answer_is_one_short_line_without_addresses_and_login() {
        let server = server();
        let shown = |answer: &str| server.shown(answer);
        assert_eq!(shown("5.1.1 <bob@example.net>: who?\r\n\tb%40x\0\x1b[31m"), "5.1.1 …@… who? …@… [31m");
        assert_eq!(shown("user saldo-sender, password open sesame"), "user …, password …");
        let plain = BASE64_STANDARD.encode("\0saldo-sender\0open sesame");
        assert_eq!(shown(&format!("AUTH PLAIN {plain} not understood")), "AUTH PLAIN … not understood");
        assert_eq!(shown(&BASE64_STANDARD.encode("open sesame")), "…");
        assert_eq!(shown(&"é".repeat(300)), "é".repeat(300));
        assert_eq!(shown(&"é".repeat(301)), format!("{}…", "é".repeat(299)));
    }

    #[test]
    fn the_stage_decides_what_a_status_means() {
        let class = |stage, status| server().told(stage, status, "").class;
        for status in [None, Some(421), Some(550)] {
            for stage in [Stage::Connect, Stage::StartTls, Stage::Login, Stage::MailFrom] {
                assert_eq!(class(stage, status), Class::Server);
            }
            for stage in [Stage::RcptTo, Stage::Data, Stage::Message] {
                let expected = if status == Some(550) { Class::Permanent } else { Class::Transient };
                assert_eq!(class(stage, status), expected);
            }
        }
    }

    #[test]
    fn mails_can_be_sent_from_any_thread() {
        fn may_move<T: Send>(_: T) {}
        let server = server();
        let address = Address::new_dangerous("nobody", "invalid");
        may_move(server.send(&address, &address, b""));
        may_move(server.probe(&address));
    }

    #[tokio::test]
    async fn a_server_that_never_ends_its_line_is_not_listened_to_for_long() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while tokio::io::AsyncWriteExt::write_all(&mut stream, &[b'2'; 4096]).await.is_ok() {}
        });
        let mut reader = Reader::of_variables([
            ("SALDO__MAIL__HOST", "127.0.0.1"),
            ("SALDO__MAIL__PORT", port.as_str()),
            ("SALDO__MAIL__TLS", "none"),
            ("SALDO__MAIL__FROM", "saldo@example.org"),
        ]);
        let settings = MailSettings::read(&mut reader);
        reader.finish().unwrap();
        let failure = Server::new(&settings).probe(&settings.from.email).await.unwrap_err();
        assert_eq!((failure.stage, failure.answer.as_str()), (Stage::Connect, "the server says too much"));
    }

    #[test]
    fn nothing_shows_the_login() {
        let shown = format!("{:?}", server());
        assert!(shown.contains("mail.example.org") && !shown.contains("sesame") && !shown.contains("sender"));
    }
}
