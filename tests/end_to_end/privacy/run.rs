//! A run in which everything happens that has to do with how people are paid.

use serde_json::{Value, json};
use tests::message::{MERCHANT, at, customer, decide, envelope, of_merchant, preferences, request};
use tests::parse_mail::parse;
use tests::secrets::{Secrets, Trace};
use tests::{Collector, MailServer, MailTls, PATIENCE, Publisher, Step, Worker, World, credit, eventually};

use crate::directory::puts;
use crate::mails;

pub(super) const PERSON: &str = "Ottilie Mustermann-Beispiel";
pub(super) const ADDRESS: &str = "ottilie@mustermann.example";
pub(super) const RECIPIENT: &str = "buchhaltung@laden.example";
/// With what the notifier logs in.
pub(super) const LOGIN: [&str; 2] = ["briefkasten@laden.example", "Zugang-zum-Postamt-Nr-9"];

/// Everything that Saldo itself could log.
const TRACE: &str = "info,worker=trace,ledger=trace,contract=trace,directory=trace,withdrawals=trace,\
                     commissions=trace,adjustments=trace,notifier=trace,lettre=trace,directory_under_test=trace";

/// A valid payout method of each kind; no two have the same details.
pub(super) fn methods(who: &str) -> Vec<Value> {
    let put = |n: usize, way: Value| {
        let mut data = json!({ "merchant": MERCHANT, "customer": who });
        data.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
        at(envelope("payout-method.put.v1", &format!("{who}-{n}"), data), &crate::directory::moment(n))
    };
    let holder = format!("Frau Professor Zyprian-{who}");
    vec![
        put(
            1,
            json!({ "bank_account": { "iban": "NL91ABNA0417164300", "bic": "ABNANL2AXXX", "holder": holder } }),
        ),
        put(2, json!({ "paypal": { "email": format!("{who}.bezahlt@kontoinhaberin.example") } })),
        put(3, json!({ "other": { "text": format!("Bar in die Hand von {who} am Gartentor") } })),
        put(
            4,
            json!({ "bank_account": { "iban": "AT611904300234573201", "holder": format!("Gebrüder {who} & Söhne") } }),
        ),
    ]
}

fn person(id: &str, who: &str) -> Value {
    let mut message = customer(id, who, "affiliate");
    message["data"]["name"] = json!(PERSON);
    message["data"]["email"] = json!(ADDRESS);
    message
}

fn shop(id: &str, merchant: &str) -> Value {
    let mut message = preferences(id, merchant);
    message["data"]["notify"] = json!([RECIPIENT]);
    message["data"]["notify_customer"] = json!(["requested", "approved", "paid", "rejected", "cancelled"]);
    message
}

/// A directory worker that says all it has to say.
async fn directory(world: &World, patience: &str) -> Worker {
    let mut builder = world.quick("directory");
    builder.set("SALDO__LOG__FILTER", TRACE).set("SALDO__PARKED__PATIENCE", patience);
    builder.ready().await
}

/// What a mail server may say of somebody.
fn chatty(address: &str) -> String {
    let (upper, encoded) = (address.to_uppercase(), address.replace('@', "%40"));
    format!(
        "5.7.1 <{address}>: rfc822;{address} \"{upper}\" mailto:{encoded} ({address}), refused, says {LOGIN:?}"
    )
}

/// What it goes on in, what came out, and what must not be seen of it.
pub(super) struct Run {
    pub(super) world: World,
    pub(super) events: Collector,
    publisher: Publisher,
    dead: [Collector; 4],
    pub(super) secrets: Secrets,
    /// What people were sent.
    pub(super) mails: Vec<Trace>,
    /// All there were.
    pub(super) workers: Vec<Worker>,
}

impl Run {
    pub(super) async fn new() -> Self {
        let world = World::new().await;
        let events = world.events().await;
        let publisher = world.publisher().await;
        let dead = [
            world.dead_letters_of("directory").await,
            world.dead_letters_of("withdrawals").await,
            world.dead_letters_of("commissions").await,
            world.dead_letters_of("notifier").await,
        ];
        let (secrets, mails, workers) = (puts::secrets(), Vec::new(), Vec::new());
        Self { world, events, publisher, dead, secrets, mails, workers }
    }

    async fn publish(&mut self, messages: &[Value]) {
        for message in messages {
            self.secrets.add_method(message);
        }
        self.publisher.publish(messages).await;
    }

    /// Puts that wait in vain, for a customer and for a merchant. Their worker is killed.
    pub(super) async fn wait_in_vain(&mut self) {
        let mut worker = directory(&self.world, "300ms").await;
        let nowhere = |message| of_merchant(message, "nowhere");
        let mut vain = methods("nobody");
        vain.extend(methods("noone").into_iter().map(nowhere));
        self.publish(&vain).await;
        for message in &vain {
            self.events.first(message["id"].as_str().unwrap(), "payout-method.refused").await;
        }
        worker.kill();
        self.workers.push(worker);
    }

    /// Good puts and such that use the key of another, a worker that dies when it has committed, one that dies when
    /// it has received, and malformed puts of every kind. Eight puts wait in the end. Returns how many dead letters
    /// there are.
    pub(super) async fn be_killed_and_malformed(&mut self) -> usize {
        let mut messages = vec![shop("shop", MERCHANT)];
        for who in ["anna", "bert"] {
            messages.push(person(&format!("person-{who}"), who));
            messages.extend(methods(who));
        }
        messages.extend(methods("late"));
        messages.extend(methods("later").into_iter().map(|message| of_merchant(message, "soon")));
        let reused = |who: &str| {
            let pairs = methods("anna").into_iter().zip(methods("other"));
            let pairs = pairs.map(|(mut one, other)| {
                one["data"] = other["data"].clone();
                one["data"]["customer"] = json!(who);
                one
            });
            pairs.collect::<Vec<_>>()
        };
        messages.extend(reused("anna"));
        self.publish(&messages).await;
        for point in ["committed", "received"] {
            let mut builder = self.world.quick("directory");
            let mut killed = builder.set("SALDO__LOG__FILTER", TRACE).dies_at(point, 1).start();
            killed.ended(PATIENCE).await;
            self.workers.push(killed);
        }
        let mut worker = directory(&self.world, "1h").await;
        let bad = puts::bad();
        let numbered: Vec<_> = bad.iter().enumerate().map(|(number, bad)| bad.numbered(number)).collect();
        self.publisher.raw_all(&numbered).await;
        self.publish(&reused("bert")).await;
        let letters = self.dead[0].at_least(bad.len() + 8, PATIENCE).await;
        self.world.assert_parked(8).await;
        assert!(worker.terminate().await.success());
        self.workers.push(worker);
        letters.len()
    }

    /// What has waited is decided by another process; people withdraw and are paid. Returns anna's withdrawal.
    pub(super) async fn be_paid(&mut self) -> String {
        for name in ["commissions", "withdrawals"] {
            self.workers.push(self.world.quick(name).set("SALDO__LOG__FILTER", TRACE).ready().await);
        }
        self.workers.push(directory(&self.world, "1h").await);
        let events = self.events.clone();
        let later = of_merchant(person("person-later", "later"), "soon");
        self.publish(&[shop("soon", "soon"), later]).await;
        self.publish(&[credit("c-anna", "anna", "50.00"), credit("c-late", "late", "5.00")]).await;
        for id in ["late-4", "later-4"] {
            events.first(id, "payout-method.updated").await;
        }
        events.first("c-anna", "commission.credited").await;
        self.publish(&[request("w-1", "anna", Some("20.00"))]).await;
        let requested = events.first("w-1", "withdrawal.requested").await;
        self.publish(&[request("w-2", "anna", None)]).await;
        events.first("w-2", "withdrawal.requested").await;
        self.publish(&[request("w-3", "anna", Some("1.00"))]).await;
        events.first("w-3", "withdrawal.refused").await;
        self.publish(&[decide("pay", "d-1", "w-1"), decide("reject", "d-2", "w-2")]).await;
        events.first("d-1", "withdrawal.paid").await;
        events.first("d-2", "withdrawal.rejected").await;
        requested["data"]["withdrawal"].as_str().unwrap().to_owned()
    }

    /// People are mailed what became of it, by notifiers that are killed, through a server that refuses, puts off, and
    /// repeats whatever it knows. One event tells of what the ledger does not have.
    pub(super) async fn be_told(&mut self) {
        let server = MailServer::builder().tls(MailTls::StartTls).login(LOGIN[0], LOGIN[1]).start().await;
        let mut builder = self.world.notifier(&server);
        builder.set("SALDO__LOG__FILTER", TRACE);
        for point in ["committed", "leased", "handed"] {
            let mut victim = builder.clone();
            victim.set("SALDO__MAIL__CONNECTIONS", "1").dies_at(point, 1);
            if point == "committed" {
                // Between the commit and its death there may be time to send everything, to a server that is there.
                victim.set("SALDO__MAIL__PORT", "9");
            }
            let mut killed = victim.start();
            killed.ended(PATIENCE).await;
            self.workers.push(killed);
            mails::release_leases(&self.world).await;
        }
        server.at(Step::Login).times(1).answers(454, &chatty(RECIPIENT));
        server.at(Step::MailFrom).times(1).answers(451, &chatty(RECIPIENT));
        for (address, step, status) in [
            (RECIPIENT, Step::RcptTo, 451),
            (RECIPIENT, Step::RcptTo, 550),
            (ADDRESS, Step::RcptTo, 450),
            (ADDRESS, Step::Data, 451),
            (ADDRESS, Step::Message, 554),
        ] {
            server.at(step).of(address).times(1).answers(status, &chatty(address));
        }
        let unknown = json!({
            "specversion": "1.0", "type": "withdrawal.paid.v1",
            "data": { "merchant": MERCHANT, "withdrawal": "0".repeat(32) },
        });
        self.publisher.into_queue("saldo.notifier", unknown.to_string().as_bytes()).await;
        self.workers.push(builder.ready().await);
        mails::quiet(&self.world).await;
        self.dead[3].at_least(1, PATIENCE).await;
        eventually("two mails are given up", PATIENCE, || async {
            let failed = self.events.causes("notification.failed");
            if failed.len() == 2 { Ok(()) } else { Err(failed) }
        })
        .await;
        for mail in server.mails() {
            let read = parse(&mail.raw);
            let mut bytes = mail.raw;
            bytes.extend(format!("{:?}\n{}\n{}", read.headers, read.text, read.shown).into_bytes());
            self.mails.push(Trace::new("mail", bytes));
        }
    }

    /// The end of the workers that still run.
    pub(super) async fn stop(&mut self) {
        for worker in &mut self.workers {
            if worker.is_running() {
                assert!(worker.terminate().await.success());
            }
        }
    }

    /// Everything that was written down so far.
    pub(super) async fn traces(&self) -> Vec<Trace> {
        let mut messages = vec![("event", &self.events)];
        messages.extend(self.dead.iter().map(|dead| ("dead letter", dead)));
        self.world.traces(&self.workers, &messages).await
    }
}
