//! A mail server that does what a test tells it to: real TCP on 127.0.0.1, STARTTLS or TLS with a certificate of its
//! own, a login, and any misbehaviour at any step.
//!
//! It keeps the mails it took, everything that it heard, and what happened in order. It runs within the test's
//! runtime and ends with it.

mod conversation;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use conversation::converse;

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
    /// After it has taken the mail.
    TakesAndCloses,
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

    /// Takes the mail and closes the connection without an answer; of [`Step::Message`].
    pub fn takes_and_closes(self) {
        assert_eq!(self.step, Step::Message);
        self.add(Behaviour::TakesAndCloses);
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
