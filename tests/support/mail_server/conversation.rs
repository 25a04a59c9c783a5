//! One conversation of the mail server, as its script wants it.

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;

use super::{Behaviour, Happening, Heard, MailEvent, MailTls, ReceivedMail, Shared, Step};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

/// Why a conversation is over.
enum Over {
    /// The server ended it, and has said so.
    Server,
    /// The client is gone.
    Client,
}

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self::Client
    }
}

struct Conversation {
    shared: Arc<Shared>,
    connection: usize,
    /// `None` only while it turns to TLS.
    stream: Option<BufReader<Box<dyn Stream>>>,
    encrypted: bool,
    logged_in: bool,
    /// It goes without an answer to the message that it takes.
    closing: bool,
    from: Option<String>,
    to: Vec<String>,
    /// Outlives the mail, for QUIT.
    recipient: Option<String>,
}

/// Leads a conversation to its end.
pub(super) async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let connection = {
        let mut state = shared.state();
        state.connections += 1;
        state.connections
    };
    let mut conversation = Conversation {
        shared,
        connection,
        stream: Some(BufReader::new(Box::new(stream))),
        encrypted: false,
        logged_in: false,
        closing: false,
        from: None,
        to: Vec::new(),
        recipient: None,
    };
    conversation.happens(Happening::Connected);
    if let Err(Over::Client) = conversation.run().await {
        conversation.happens(Happening::Dropped);
    }
}

impl Conversation {
    async fn run(&mut self) -> Result<(), Over> {
        if self.shared.tls == MailTls::Implicit {
            self.encrypt().await?;
        }
        if let Some(more) = self.usual(Step::Greeting).await? {
            self.say(&format!("220 localhost ready\r\n{more}")).await?;
        }
        loop {
            let line = self.line().await?;
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => self.hello(true).await?,
                "HELO" => self.hello(false).await?,
                "STARTTLS" if self.offers_tls() => {
                    if let Some(more) = self.usual(Step::StartTls).await? {
                        self.say(&format!("220 go ahead\r\n{more}")).await?;
                        self.encrypt().await?;
                    }
                }
                "AUTH" if self.offers_login() => self.login(rest).await?,
                "MAIL" => self.mail_from(rest).await?,
                "RCPT" => self.rcpt_to(rest).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    (self.from, self.to) = (None, Vec::new());
                    self.say("250 reset\r\n").await?;
                }
                "NOOP" => self.say("250 nothing done\r\n").await?,
                "QUIT" => {
                    self.happens(Happening::Left);
                    if let Some(more) = self.usual(Step::Quit).await? {
                        self.say(&format!("221 goodbye\r\n{more}")).await?;
                        return Err(Over::Server);
                    }
                }
                _ => self.say("502 not implemented\r\n").await?,
            }
        }
    }

    async fn hello(&mut self, extended: bool) -> Result<(), Over> {
        let Some(more) = self.usual(Step::Hello).await? else { return Ok(()) };
        let mut lines = vec!["localhost".to_owned()];
        if extended {
            lines.push("SIZE 10485760".to_owned());
            if self.offers_tls() {
                lines.push("STARTTLS".to_owned());
            }
            if self.offers_login() {
                lines.push(format!("AUTH {}", self.shared.mechanisms));
            }
        }
        let last = lines.len() - 1;
        lines[..last].iter_mut().for_each(|line| line.insert_str(0, "250-"));
        lines[last].insert_str(0, "250 ");
        self.say(&format!("{}\r\n{more}", lines.join("\r\n"))).await
    }

    fn offers_tls(&self) -> bool {
        self.shared.tls == MailTls::StartTls && !self.encrypted
    }

    fn offers_login(&self) -> bool {
        self.shared.login.is_some() && !self.offers_tls()
    }

    async fn encrypt(&mut self) -> Result<(), Over> {
        let stream = self.stream.take().unwrap().into_inner();
        let Ok(stream) = self.shared.acceptor.accept(stream).await else {
            self.happens(Happening::NotEncrypted);
            return Err(Over::Server);
        };
        self.stream = Some(BufReader::new(Box::new(stream)));
        self.encrypted = true;
        self.happens(Happening::Encrypted);
        Ok(())
    }

    async fn login(&mut self, rest: &str) -> Result<(), Over> {
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let given = if mechanism.eq_ignore_ascii_case("PLAIN") {
            let answer = if initial.is_empty() { self.ask("").await? } else { decoded(initial) };
            let mut parts = answer.split('\0').skip(1);
            (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default().to_owned())
        } else {
            (self.ask("Username:").await?, self.ask("Password:").await?)
        };
        let Some(more) = self.usual(Step::Login).await? else { return Ok(()) };
        if Some(given) == self.shared.login {
            self.logged_in = true;
            self.happens(Happening::LoggedIn);
            self.say(&format!("235 welcome\r\n{more}")).await
        } else {
            self.refuse(Step::Login, 535, "wrong user or password").await
        }
    }

    /// A question of a login, and the answer.
    async fn ask(&mut self, question: &str) -> Result<String, Over> {
        self.say(&format!("334 {}\r\n", BASE64_STANDARD.encode(question))).await?;
        Ok(decoded(&self.line().await?))
    }

    async fn mail_from(&mut self, rest: &str) -> Result<(), Over> {
        if self.offers_tls() || (self.shared.login.is_some() && !self.logged_in) {
            return self.refuse(Step::MailFrom, 530, "TLS and login first").await;
        }
        let Some(more) = self.usual(Step::MailFrom).await? else { return Ok(()) };
        self.from = Some(path(rest));
        self.to.clear();
        self.say(&format!("250 sender taken\r\n{more}")).await
    }

    async fn rcpt_to(&mut self, rest: &str) -> Result<(), Over> {
        if self.from.is_none() {
            return self.refuse(Step::RcptTo, 503, "MAIL first").await;
        }
        let recipient = path(rest);
        self.recipient = Some(recipient.clone());
        let Some(more) = self.usual(Step::RcptTo).await? else { return Ok(()) };
        self.to.push(recipient);
        self.say(&format!("250 recipient taken\r\n{more}")).await
    }

    async fn data(&mut self) -> Result<(), Over> {
        if self.to.is_empty() {
            return self.refuse(Step::Data, 503, "RCPT first").await;
        }
        let Some(more) = self.usual(Step::Data).await? else { return Ok(()) };
        self.say(&format!("354 go ahead\r\n{more}")).await?;
        let raw = self.content().await?;
        let (from, to) = (self.from.take(), std::mem::take(&mut self.to));
        let Some(more) = self.usual(Step::Message).await? else { return Ok(()) };
        let sequence = {
            let mut state = self.shared.state();
            let sequence = state.mails.len() + 1;
            let connection = self.connection;
            state.mails.push(ReceivedMail { from: from.unwrap(), to, raw, connection, sequence });
            sequence
        };
        self.happens(Happening::Accepted);
        if self.closing {
            self.happens(Happening::Cut(Step::Message));
            return Err(Over::Server);
        }
        self.say(&format!("250 2.0.0 taken as {sequence}\r\n{more}")).await
    }

    /// Up to a line that is only a dot: CRLF, dot, CRLF and nothing else (RFC 5321, 4.1.1.4).
    async fn content(&mut self) -> Result<Vec<u8>, Over> {
        let mut raw = Vec::new();
        loop {
            let mut line = Vec::new();
            let stream = self.stream.as_mut().unwrap();
            if stream.read_until(b'\n', &mut line).await? == 0 {
                return Err(Over::Client);
            }
            if raw.is_empty() || raw.ends_with(b"\r\n") {
                if line == b".\r\n" {
                    return Ok(raw);
                }
                raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            } else {
                raw.extend_from_slice(&line);
            }
        }
    }

    /// Misbehaves, if it is told to. Otherwise gives what is to follow the usual answer.
    async fn usual(&mut self, step: Step) -> Result<Option<String>, Over> {
        let recipient = self.recipient.as_deref();
        let behaviour = {
            let mut state = self.shared.state();
            let rule = state.rules.iter_mut().find(|rule| {
                rule.step == step
                    && rule.left != Some(0)
                    && (rule.recipient.is_none() || rule.recipient.as_deref() == recipient)
            });
            rule.map(|rule| {
                rule.left = rule.left.map(|left| left - 1);
                rule.behaviour.clone()
            })
        };
        match behaviour {
            None => Ok(Some(String::new())),
            Some(Behaviour::Adds(bytes)) => Ok(Some(bytes)),
            Some(Behaviour::Answers(status, text)) => {
                self.refuse(step, status, &text).await?;
                Ok(None)
            }
            Some(Behaviour::Closes) => {
                self.happens(Happening::Cut(step));
                Err(Over::Server)
            }
            Some(Behaviour::TakesAndCloses) => {
                self.closing = true;
                Ok(Some(String::new()))
            }
            Some(Behaviour::Hangs) => {
                let mut released = self.shared.released.subscribe();
                self.happens(Happening::Hanging(step));
                tokio::select! {
                    _ = released.changed() => Ok(Some(String::new())),
                    () = closed(self.stream.as_mut().unwrap()) => Err(Over::Client),
                }
            }
        }
    }

    async fn refuse(&mut self, step: Step, status: u16, text: &str) -> Result<(), Over> {
        self.happens(Happening::Refused(step, status));
        self.say(&format!("{status} {text}\r\n")).await
    }

    async fn say(&mut self, text: &str) -> Result<(), Over> {
        let stream = self.stream.as_mut().unwrap();
        stream.write_all(text.as_bytes()).await?;
        Ok(stream.flush().await?)
    }

    async fn line(&mut self) -> Result<String, Over> {
        let mut line = Vec::new();
        let stream = self.stream.as_mut().unwrap();
        // No client of ours says more in a line.
        if stream.take(65_536).read_until(b'\n', &mut line).await? == 0 {
            return Err(Over::Client);
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        let heard = Heard { connection: self.connection, encrypted: self.encrypted, line: line.clone() };
        self.shared.state().heard.push(heard);
        Ok(line)
    }

    fn happens(&self, happening: Happening) {
        let (connection, recipient) = (self.connection, self.recipient.clone());
        self.shared.state().events.push(MailEvent { connection, recipient, happening });
    }
}

/// Until the client closes the connection; what it still says is left unread.
async fn closed(stream: &mut BufReader<Box<dyn Stream>>) {
    if stream.fill_buf().await.is_ok_and(|bytes| !bytes.is_empty()) {
        std::future::pending::<()>().await;
    }
}

fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&BASE64_STANDARD.decode(text).unwrap_or_default()).into_owned()
}

/// What stands between `<` and `>`.
fn path(text: &str) -> String {
    let inner = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(|| text.to_owned(), |(path, _)| path.to_owned())
}
