//! A mail server that does what a test tells it to: real TCP on 127.0.0.1, STARTTLS or TLS with a certificate of its
//! own, a login, and any misbehaviour at any step.
//!
//! It keeps the mails it took, everything that it heard, and what happened in order. It runs within the test's
//! runtime and ends with it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::{PATIENCE, Scratch, eventually};

/// How the server protects its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Not at all.
    None,
    /// It offers STARTTLS, and takes no mail without.
    StartTls,
    /// From the first byte.
    Implicit,
}

/// Where a conversation can go wrong; what is said is the server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The greeting.
    Greeting,
    /// To EHLO or HELO.
    Hello,
    /// To STARTTLS.
    StartTls,
    /// To AUTH.
    Login,
    /// To MAIL FROM.
    MailFrom,
    /// To RCPT TO.
    RcptTo,
    /// To DATA.
    Data,
    /// To the message, when all of it has arrived.
    Message,
    /// To QUIT.
    Quit,
}

/// What happened, in the order it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailEvent {
    /// On which connection, from 1 on.
    pub connection: usize,
    /// Who was named by the last RCPT TO of it.
    pub recipient: Option<String>,
    /// What.
    pub happening: Happening,
}

/// See [`MailEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// A connection was opened.
    Connected,
    /// It turned to TLS.
    Encrypted,
    /// It could not.
    NotEncrypted,
    /// The login was right.
    LoggedIn,
    /// A mail was taken.
    Accepted,
    /// A step was answered otherwise than usual.
    Refused(Step, u16),
    /// The server does not answer.
    Hanging(Step),
    /// The server closed the connection.
    Cut(Step),
    /// The client said QUIT.
    Left,
    /// The client closed the connection without.
    Dropped,
}

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// MAIL FROM.
    pub from: String,
    /// RCPT TO.
    pub to: Vec<String>,
    /// The message without the stuffed dots, its last line's end included.
    pub raw: Vec<u8>,
    /// On which connection, from 1 on.
    pub connection: usize,
    /// The how many-th mail, from 1 on.
    pub sequence: usize,
}

/// A line that a client said; of a message none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// On which connection, from 1 on.
    pub connection: usize,
    /// Whether under TLS.
    pub encrypted: bool,
    /// The line without its end.
    pub line: String,
}

#[derive(Debug, Clone)]
enum Behaviour {
    Answers(u16, String),
    Closes,
    Hangs,
    Adds(String),
}

#[derive(Debug)]
struct Rule {
    step: Step,
    recipient: Option<String>,
    /// `None`: for ever.
    left: Option<usize>,
    behaviour: Behaviour,
}

/// A misbehaviour before it is complete; later ones only count where earlier ones do not apply, or no more.
#[derive(Debug)]
#[must_use = "say what it does"]
pub struct Script<'a> {
    server: &'a MailServer,
    step: Step,
    recipient: Option<String>,
    left: Option<usize>,
}

impl Script<'_> {
    /// For this recipient only; from RCPT TO on.
    pub fn of(mut self, recipient: &str) -> Self {
        assert!(
            [Step::RcptTo, Step::Data, Step::Message, Step::Quit].contains(&self.step),
            "no recipient is known at {:?}",
            self.step
        );
        self.recipient = Some(recipient.to_owned());
        self
    }

    /// So many times, and then no more.
    pub fn times(mut self, times: usize) -> Self {
        self.left = Some(times);
        self
    }

    /// Answers this instead.
    pub fn answers(self, status: u16, text: &str) {
        self.add(Behaviour::Answers(status, text.to_owned()));
    }

    /// Closes the connection without an answer.
    pub fn closes(self) {
        self.add(Behaviour::Closes);
    }

    /// Does not answer until [`MailServer::release`], and then as usual.
    pub fn hangs(self) {
        self.add(Behaviour::Hangs);
    }

    /// Answers as usual, with these bytes directly behind it.
    pub fn adds(self, bytes: &str) {
        self.add(Behaviour::Adds(bytes.to_owned()));
    }

    fn add(self, behaviour: Behaviour) {
        let Self { server, step, recipient, left } = self;
        server.shared.state().rules.push(Rule { step, recipient, left, behaviour });
    }
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    rules: Vec<Rule>,
    mails: Vec<ReceivedMail>,
    events: Vec<MailEvent>,
    heard: Vec<Heard>,
}

/// What all connections share.
struct Shared {
    tls: MailTls,
    acceptor: TlsAcceptor,
    login: Option<(String, String)>,
    mechanisms: String,
    state: Mutex<State>,
    released: watch::Sender<()>,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A server before it is started.
#[derive(Debug)]
pub struct MailServerBuilder {
    tls: MailTls,
    login: Option<(String, String)>,
    mechanisms: String,
}

impl MailServerBuilder {
    /// How it protects its connections; without this not at all.
    #[must_use]
    pub fn tls(mut self, tls: MailTls) -> Self {
        self.tls = tls;
        self
    }

    /// Takes mail only after this login; without this there is none.
    #[must_use]
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// The ways to log in that it offers; without this `PLAIN LOGIN`.
    #[must_use]
    pub fn mechanisms(mut self, mechanisms: &str) -> Self {
        mechanisms.clone_into(&mut self.mechanisms);
        self
    }

    /// Starts it on a free port.
    pub async fn start(self) -> MailServer {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
        let ca_file = Scratch::new("mail-server.pem");
        ca_file.write(&cert.pem());
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let shared = Shared {
            tls: self.tls,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            login: self.login,
            mechanisms: self.mechanisms,
            state: Mutex::default(),
            released: watch::Sender::new(()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = MailServer { shared: Arc::new(shared), address, ca_file, running: None };
        server.serve(listener);
        server
    }
}

/// See the module.
pub struct MailServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca_file: Scratch,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl std::fmt::Debug for MailServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl MailServer {
    /// One without TLS and without a login, unless it is told otherwise.
    pub fn builder() -> MailServerBuilder {
        MailServerBuilder { tls: MailTls::None, login: None, mechanisms: "PLAIN LOGIN".to_owned() }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The file with its certificate, for `mail.ca_file`.
    pub fn ca_file(&self) -> &str {
        self.ca_file.path()
    }

    /// The settings that lead to it, as environment variables.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let tls = match self.shared.tls {
            MailTls::None => "none",
            MailTls::StartTls => "starttls",
            MailTls::Implicit => "tls",
        };
        let mut settings = vec![
            ("SALDO__MAIL__HOST", "127.0.0.1".to_owned()),
            ("SALDO__MAIL__PORT", self.port().to_string()),
            ("SALDO__MAIL__TLS", tls.to_owned()),
            ("SALDO__MAIL__FROM", "Saldo <saldo@example.org>".to_owned()),
        ];
        if self.shared.tls != MailTls::None {
            settings.push(("SALDO__MAIL__CA_FILE", self.ca_file().to_owned()));
        }
        if let Some((user, password)) = &self.shared.login {
            settings
                .extend([("SALDO__MAIL__USER", user.clone()), ("SALDO__MAIL__PASSWORD", password.clone())]);
        }
        settings
    }

    /// Has it misbehave at a step.
    pub fn at(&self, step: Step) -> Script<'_> {
        Script { server: self, step, recipient: None, left: None }
    }

    /// Ends all misbehaviour but hanging.
    pub fn behave(&self) {
        self.shared.state().rules.clear();
    }

    /// Has all that hang now go on.
    pub fn release(&self) {
        self.shared.released.send_replace(());
    }

    /// The mails so far.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.shared.state().mails.clone()
    }

    /// What happened so far.
    pub fn events(&self) -> Vec<MailEvent> {
        self.shared.state().events.clone()
    }

    /// What happened so far, without where and to whom.
    pub fn happenings(&self) -> Vec<Happening> {
        self.shared.state().events.iter().map(|event| event.happening).collect()
    }

    /// What was said so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.state().heard.clone()
    }

    /// Waits until so many mails have come, and gives them all.
    pub async fn wait_mails(&self, count: usize) -> Vec<ReceivedMail> {
        eventually(&format!("{count} mails"), PATIENCE, || async {
            let mails = self.mails();
            if mails.len() >= count { Ok(mails) } else { Err((mails.len(), self.events())) }
        })
        .await
    }

    /// Waits until this has happened, for this recipient if one is given.
    pub async fn wait(&self, happening: Happening, recipient: Option<&str>) {
        eventually(&format!("{happening:?} {recipient:?}"), PATIENCE, || async {
            let events = self.events();
            let found = events.iter().any(|event| {
                event.happening == happening
                    && recipient.is_none_or(|recipient| event.recipient.as_deref() == Some(recipient))
            });
            if found { Ok(()) } else { Err(events) }
        })
        .await;
    }

    /// Closes the port and every connection. The mails are kept.
    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        drop(stop);
        task.await.unwrap();
    }

    /// Starts again on the same port.
    pub async fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let listener = eventually("the port is free", PATIENCE, || TcpListener::bind(self.address)).await;
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let (stop, mut stopped) = oneshot::channel::<()>();
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            let mut conversations = JoinSet::new();
            loop {
                tokio::select! {
                    _ = &mut stopped => break,
                    accepted = listener.accept() => {
                        conversations.spawn(converse(accepted.unwrap().0, Arc::clone(&shared)));
                    }
                    Some(ended) = conversations.join_next() => ended.unwrap(),
                }
            }
            drop(listener);
            conversations.shutdown().await;
        });
        self.running = Some((stop, task));
    }
}

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
    from: Option<String>,
    to: Vec<String>,
    /// Outlives the mail, for QUIT.
    recipient: Option<String>,
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
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
