//! Every e-mail that was due was sent, and nothing else was.
//!
//! Each shop tells `staff@<merchant>.example` of requests, and nobody else of anything. A mail can arrive more than once,
//! always under the same `Message-ID`: a crash, or a lost answer, between the server's 250 and the row.

use std::collections::{BTreeMap, BTreeSet};

use contract::MailKind;
use notifier::message::message_id;
use serde_json::Value;
use sqlx::PgConnection;
use tests::parse_mail::parse_all;
use tests::{ParsedMail, ReceivedMail};

use crate::problems::Problems;

/// So many mails are parsed at once.
const CHUNK: usize = 2_000;

/// Where every withdrawal is shown; to be set as `mail.link`.
pub(crate) const LINK: &str = "https://shop.example/{merchant}/{withdrawal}";

/// What the mails' sender's address ends with.
const DOMAIN: &str = "example.org";

/// What the run came to.
#[derive(Debug, Default)]
pub(crate) struct Mailed {
    /// For people.
    pub(crate) problems: Vec<String>,
    /// Requests of which somebody was told.
    pub(crate) requests: usize,
    /// Different mails.
    pub(crate) mails: usize,
    /// Mails that came once more than they had to.
    pub(crate) copies: usize,
}

/// A withdrawal, and who is told that it was requested.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Request {
    withdrawal: String,
    merchant: String,
    is_noticed: bool,
    recipients: Vec<String>,
}

/// A mail with what it tells of.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Mail {
    id: i64,
    merchant: String,
    kind: String,
    recipient: String,
    state: String,
    resent: i32,
    withdrawals: Vec<String>,
    /// The first thing that it tells of, and the outcome that tells of that.
    first_state: String,
    first_outcome: String,
}

/// A mail as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arrived {
    message_id: String,
    to: Vec<String>,
    links: BTreeSet<String>,
}

/// Checks all of it. `withdrawals` are those of the model.
///
/// # Errors
/// The database's.
pub(crate) async fn check_mails(
    database: &mut PgConnection,
    withdrawals: &BTreeSet<String>,
    received: &[ReceivedMail],
) -> sqlx::Result<Mailed> {
    let requests: Vec<Request> = sqlx::query_as(REQUESTS).fetch_all(&mut *database).await?;
    let mails: Vec<Mail> = sqlx::query_as(MAILS).fetch_all(&mut *database).await?;
    let arrived: Vec<_> = received.chunks(CHUNK).flat_map(open).collect();
    Ok(judge(&requests, &mails, withdrawals, &arrived))
}

fn open(received: &[ReceivedMail]) -> Vec<Arrived> {
    let raw: Vec<&[u8]> = received.iter().map(|mail| &mail.raw[..]).collect();
    let parsed = parse_all(&raw);
    received.iter().zip(parsed).map(|(mail, parsed)| Arrived::read(mail.to.clone(), &parsed)).collect()
}

impl Arrived {
    fn read(to: Vec<String>, mail: &ParsedMail) -> Self {
        let (before, _) = LINK.split_once('{').unwrap();
        let words = mail.text.split_whitespace().filter(|word| word.starts_with(before));
        Self {
            message_id: mail.header("Message-ID").to_owned(),
            to,
            links: words.map(str::to_owned).collect(),
        }
    }
}

impl Mail {
    /// As the notifier derives it.
    fn message_id(&self) -> Option<String> {
        let wanted = format!("withdrawal.{}.v1", self.first_state);
        let events = self.first_outcome.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let event = events.into_iter().find(|event| event["type"] == wanted.as_str())?;
        let kind: MailKind = self.kind.parse().ok()?;
        Some(message_id(kind, event["id"].as_str()?, &self.recipient, self.resent, DOMAIN))
    }
}

fn link(merchant: &str, withdrawal: &str) -> String {
    LINK.replace("{merchant}", merchant).replace("{withdrawal}", withdrawal)
}

fn judge(
    requests: &[Request],
    mails: &[Mail],
    withdrawals: &BTreeSet<String>,
    arrived: &[Arrived],
) -> Mailed {
    let mut problems = Problems::default();
    let mut problem = |what, which: String| problems.add(what, which);

    let known: BTreeSet<String> = requests.iter().map(|request| request.withdrawal.clone()).collect();
    for id in known.symmetric_difference(withdrawals) {
        problem("withdrawals of the ledger or of the model only", id.clone());
    }
    for request in requests {
        if !request.is_noticed {
            problem("requests without a notice", request.withdrawal.clone());
        }
        if request.recipients != [format!("staff@{}.example", request.merchant)] {
            problem("requests that others are told of than should be", format!("{request:?}"));
        }
    }

    let mut copies: BTreeMap<&str, Vec<&Arrived>> = BTreeMap::new();
    for mail in arrived {
        copies.entry(&mail.message_id).or_default().push(mail);
    }
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for link in copies.values().flat_map(|copies| &copies[0].links) {
        *told.entry(link).or_default() += 1;
    }
    let more = arrived.len() - copies.len();
    for request in requests {
        match told.get(&link(&request.merchant, &request.withdrawal)[..]) {
            Some(1) => {}
            Some(_) => problem("requests that more than one mail tells of", request.withdrawal.clone()),
            None => problem("requests that no mail tells of", request.withdrawal.clone()),
        }
    }
    for mail in mails {
        let name = format!("{} ({}) to {}", mail.id, mail.kind, mail.recipient);
        if mail.state != "sent" {
            problem("mails that are not sent", format!("{name}: {}", mail.state));
        }
        let Some(id) = mail.message_id() else {
            problem("mails that tell of nothing", name);
            continue;
        };
        let came = copies.remove(&id[..]).unwrap_or_default();
        if came.is_empty() && mail.state == "sent" {
            problem("mails that are sent and never came", name.clone());
        }
        let links = mail.withdrawals.iter().map(|withdrawal| link(&mail.merchant, withdrawal)).collect();
        for mail in came.iter().filter(|came| came.to != [mail.recipient.clone()] || came.links != links) {
            problem("mails that came to others or tell of other requests", format!("{name}: {mail:?}"));
        }
    }
    for id in copies.keys() {
        problem("mails that came and that nobody sent", (*id).to_owned());
    }
    Mailed { problems: problems.told(), requests: requests.len(), mails: mails.len(), copies: more }
}

const REQUESTS: &str = "
SELECT encode(w.key, 'hex') AS withdrawal, a.merchant,
       EXISTS (SELECT FROM notice n WHERE n.withdrawal = w.key AND n.state = 'requested') AS is_noticed,
       ARRAY(SELECT d.recipient FROM delivery d
             WHERE d.withdrawal = w.key AND d.state = 'requested' AND d.audience = 'admin'
             ORDER BY d.recipient) AS recipients
FROM withdrawal w JOIN account a ON a.id = w.account_id";

const MAILS: &str = "
SELECT m.id, m.merchant, m.kind, m.recipient, m.state, m.resent,
       array_remove(array_agg(encode(d.withdrawal, 'hex')), NULL) AS withdrawals,
       coalesce((array_agg(d.state ORDER BY t.recorded_at, d.withdrawal))[1], '') AS first_state,
       coalesce((array_agg(i.outcome ORDER BY t.recorded_at, d.withdrawal))[1], '') AS first_outcome
FROM mail m
LEFT JOIN delivery d ON d.mail_id = m.id
LEFT JOIN withdrawal_transition t ON (t.withdrawal, t.state) = (d.withdrawal, d.state)
LEFT JOIN inbox i ON i.key = t.command
GROUP BY m.id";

#[cfg(test)]
mod claims {
    use super::*;

    /// Two requests, one in a mail of its own and one in a digest.
    struct Case {
        requests: Vec<Request>,
        mails: Vec<Mail>,
        withdrawals: BTreeSet<String>,
        arrived: Vec<Arrived>,
    }

    fn case() -> Case {
        let request = |withdrawal: &str| Request {
            withdrawal: withdrawal.to_owned(),
            merchant: "s1-a".to_owned(),
            is_noticed: true,
            recipients: vec!["staff@s1-a.example".to_owned()],
        };
        let mail = |id: i64, kind: &str, withdrawal: &str| Mail {
            id,
            merchant: "s1-a".to_owned(),
            kind: kind.to_owned(),
            recipient: "staff@s1-a.example".to_owned(),
            state: "sent".to_owned(),
            resent: 0,
            withdrawals: vec![withdrawal.to_owned()],
            first_state: "requested".to_owned(),
            first_outcome: format!(r#"{{"id":"event-{id}","type":"withdrawal.requested.v1"}}"#),
        };
        let mails = vec![mail(1, "admin-requested", "aa"), mail(2, "admin-digest", "bb")];
        let arrived = mails.iter().map(|mail| Arrived {
            message_id: mail.message_id().unwrap(),
            to: vec![mail.recipient.clone()],
            links: mail.withdrawals.iter().map(|withdrawal| link("s1-a", withdrawal)).collect(),
        });
        Case {
            requests: vec![request("aa"), request("bb")],
            arrived: arrived.collect(),
            mails,
            withdrawals: ["aa", "bb"].map(str::to_owned).into(),
        }
    }

    fn judged(case: &Case) -> Mailed {
        judge(&case.requests, &case.mails, &case.withdrawals, &case.arrived)
    }

    #[test]
    fn what_came_once_is_fine_and_copies_are_counted() {
        let mut case = case();
        let copy = case.arrived[0].clone();
        case.arrived.push(copy);
        let mailed = judged(&case);
        assert_eq!(mailed.problems, Vec::<String>::new());
        assert_eq!((mailed.requests, mailed.mails, mailed.copies), (2, 2, 1));
    }

    #[test]
    fn whatever_is_not_as_it_should_be_is_told() {
        type Spoil = fn(&mut Case);
        let spoilt: [(&str, Spoil); 12] = [
            ("of the model only", |case| drop(case.withdrawals.pop_first())),
            ("without a notice", |case| case.requests[0].is_noticed = false),
            ("told of than should", |case| case.requests[0].recipients.push("eve@example.org".to_owned())),
            ("told of than should", |case| case.requests[0].recipients.clear()),
            ("more than one mail", |case| {
                case.arrived[1].links.insert(link("s1-a", "aa"));
            }),
            ("no mail tells of", |case| drop(case.arrived.pop())),
            ("not sent", |case| case.mails[0].state = "due".to_owned()),
            ("not sent", |case| case.mails[0].state = "failed".to_owned()),
            ("tell of nothing", |case| case.mails[0].first_outcome.clear()),
            ("never came", |case| drop(case.arrived.remove(0))),
            ("came to others", |case| case.arrived[0].to = vec!["eve@example.org".to_owned()]),
            ("nobody sent", |case| case.arrived[0].message_id = "<other@example.org>".to_owned()),
        ];
        for (wanted, spoil) in spoilt {
            let mut case = case();
            spoil(&mut case);
            let problems = judged(&case).problems;
            assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted}: {problems:?}");
        }
    }
}
