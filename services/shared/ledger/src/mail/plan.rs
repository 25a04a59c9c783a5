//! Who is told of what, and in which mail: at once, or with others in a digest.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use contract::notification::Audience;
use contract::{Email, MailKind, MerchantId, Preferences, WithdrawalState};

use super::Notice;

/// When requests are collected instead of mailed one by one.
#[derive(Debug, Clone, Copy)]
pub struct DigestRule {
    /// So many requests of a shop are mailed to an address at once, within the window.
    pub after: i64,
    /// How far back they count, and how long further ones are collected.
    pub window: Duration,
    /// So many requests at most are told of in one mail.
    pub most: i64,
}

/// A notice with what decides who is told.
#[derive(Debug)]
pub(super) struct Noticed {
    pub(super) notice: Notice,
    pub(super) preferences: Preferences,
    /// The affiliate's address.
    pub(super) customer: Option<Email>,
}

/// One address that is told of one notice.
#[derive(Debug, PartialEq)]
pub(super) struct Planned {
    /// Which of the notices.
    pub(super) notice: usize,
    pub(super) audience: Audience,
    pub(super) recipient: Email,
    pub(super) mail: Place,
}

/// The mail that tells it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// One that exists and still collects.
    Open(i64),
    /// Which of the new ones.
    New(usize),
}

/// A mail that has to be made.
#[derive(Debug, PartialEq)]
pub(super) struct NewMail {
    pub(super) merchant: MerchantId,
    pub(super) kind: MailKind,
    pub(super) recipient: Email,
}

/// What an address of a shop's staff got lately.
#[derive(Debug, Default, Clone)]
pub(super) struct Lately {
    /// Requests it was, or is going to be, told of within the window.
    pub(super) requests: i64,
    /// The digest that collects for it, and how many requests that holds.
    pub(super) open: Option<(i64, i64)>,
}

/// A shop and one address of its staff.
pub(super) type Mailbox = (MerchantId, Email);

/// The addresses of staff that are told of requests.
pub(super) fn staff(noticed: &[Noticed]) -> HashSet<Mailbox> {
    let requests = noticed.iter().filter(|noticed| noticed.notice.state == WithdrawalState::Requested);
    requests
        .flat_map(|noticed| {
            let merchant = &noticed.notice.merchant;
            noticed.preferences.notify.iter().map(|email| (merchant.clone(), email.clone()))
        })
        .collect()
}

/// Plans the mails for notices, in their order.
pub(super) fn plan(
    noticed: &[Noticed],
    lately: &HashMap<Mailbox, Lately>,
    rule: DigestRule,
) -> (Vec<Planned>, Vec<NewMail>) {
    let (mut planned, mut new) = (Vec::new(), Vec::new());
    let mut collected: HashMap<Mailbox, Collecting> = HashMap::new();
    for (index, Noticed { notice, preferences, customer }) in noticed.iter().enumerate() {
        if notice.state == WithdrawalState::Requested {
            for recipient in &preferences.notify {
                let mailbox = (notice.merchant.clone(), recipient.clone());
                let collecting = collected
                    .entry(mailbox)
                    .or_insert_with_key(|mailbox| lately.get(mailbox).cloned().unwrap_or_default().into());
                let mail = collecting.place(rule, |kind| {
                    let (merchant, recipient) = (notice.merchant.clone(), recipient.clone());
                    new.push(NewMail { merchant, kind, recipient });
                    Place::New(new.len() - 1)
                });
                let recipient = recipient.clone();
                planned.push(Planned { notice: index, audience: Audience::Admin, recipient, mail });
            }
        }
        if let Some(recipient) =
            customer.as_ref().filter(|_| preferences.notify_customer.contains(&notice.state))
        {
            let (merchant, kind) = (notice.merchant.clone(), MailKind::for_customer(notice.state));
            new.push(NewMail { merchant, kind, recipient: recipient.clone() });
            let (recipient, mail) = (recipient.clone(), Place::New(new.len() - 1));
            planned.push(Planned { notice: index, audience: Audience::Customer, recipient, mail });
        }
    }
    (planned, new)
}

/// [`Lately`], with what is planned.
struct Collecting {
    requests: i64,
    open: Option<(Place, i64)>,
}

impl From<Lately> for Collecting {
    fn from(lately: Lately) -> Self {
        Self { requests: lately.requests, open: lately.open.map(|(mail, holds)| (Place::Open(mail), holds)) }
    }
}

impl Collecting {
    /// The mail for one more request.
    fn place(&mut self, rule: DigestRule, mut make: impl FnMut(MailKind) -> Place) -> Place {
        self.requests += 1;
        let (mail, holds) = match self.open.take().filter(|(_, holds)| *holds < rule.most) {
            Some((mail, holds)) => (mail, holds + 1),
            None if self.requests <= rule.after => return make(MailKind::AdminRequested),
            None => (make(MailKind::AdminDigest), 1),
        };
        self.open = Some((mail, holds));
        mail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: DigestRule = DigestRule { after: 2, window: Duration::from_mins(10), most: 3 };

    fn noticed(state: WithdrawalState, merchant: &str, customer: Option<&str>) -> Noticed {
        let preferences = serde_json::json!({
            "notify": ["a@shop.example", "b@shop.example"], "notify_customer": ["requested", "paid"]
        });
        Noticed {
            notice: Notice {
                merchant: merchant.parse().unwrap(),
                withdrawal: "00112233445566778899aabbccddeeff".parse().unwrap(),
                state,
            },
            preferences: serde_json::from_value(preferences).unwrap(),
            customer: customer.map(|address| address.parse().unwrap()),
        }
    }

    fn requests(count: usize) -> Vec<Noticed> {
        (0..count).map(|_| noticed(WithdrawalState::Requested, "acme", None)).collect()
    }

    /// The kinds of the mails to one address, and for each of its requests which of them.
    fn told(
        noticed: &[Noticed],
        lately: &HashMap<Mailbox, Lately>,
        address: &str,
    ) -> (Vec<MailKind>, Vec<Place>) {
        let (planned, new) = plan(noticed, lately, RULE);
        let kinds = new.iter().filter(|mail| mail.recipient.as_str() == address).map(|mail| mail.kind);
        let places = planned.iter().filter(|one| one.recipient.as_str() == address).map(|one| one.mail);
        (kinds.collect(), places.collect())
    }

    #[test]
    fn each_address_gets_a_mail_for_each_request_until_there_are_too_many() {
        use MailKind::{AdminDigest, AdminRequested};
        let (kinds, places) = told(&requests(7), &HashMap::new(), "a@shop.example");
        assert_eq!(kinds, [AdminRequested, AdminRequested, AdminDigest, AdminDigest]);
        assert_eq!(places.len(), 7);
        assert_eq!(places[2], places[4], "three in one digest");
        assert_ne!(places[4], places[5], "and no more");
    }

    #[test]
    fn what_came_lately_counts_and_an_open_digest_goes_on_collecting() {
        let mailbox = ("acme".parse().unwrap(), "a@shop.example".parse().unwrap());
        let lately = HashMap::from([(mailbox, Lately { requests: 1, open: Some((42, 2)) })]);
        let (kinds, places) = told(&requests(3), &lately, "a@shop.example");
        assert_eq!(kinds, [MailKind::AdminDigest]);
        let [Place::Open(42), Place::New(one), Place::New(other)] = places[..] else { panic!("{places:?}") };
        assert_eq!(one, other);
        let (kinds, _) = told(&requests(3), &lately, "b@shop.example");
        assert_eq!(kinds.len(), 3, "another address counts by itself");
    }

    #[test]
    fn another_shop_counts_by_itself() {
        let mut all = requests(5);
        all.push(noticed(WithdrawalState::Requested, "other", None));
        let (kinds, _) = told(&all, &HashMap::new(), "b@shop.example");
        assert_eq!(kinds.last(), Some(&MailKind::AdminRequested));
    }

    #[test]
    fn the_affiliate_is_told_of_what_the_shop_wants_it_to_be_told_of_and_never_in_a_digest() {
        for (state, expected) in [
            (WithdrawalState::Requested, Some(MailKind::CustomerRequested)),
            (WithdrawalState::Approved, None),
            (WithdrawalState::Paid, Some(MailKind::CustomerPaid)),
        ] {
            let all: Vec<_> = (0..4).map(|_| noticed(state, "acme", Some("anna@example.org"))).collect();
            let (kinds, places) = told(&all, &HashMap::new(), "anna@example.org");
            assert_eq!(kinds, vec![expected; 4].into_iter().flatten().collect::<Vec<_>>());
            assert_eq!(kinds.len(), places.len());
            assert!(told(&[noticed(state, "acme", None)], &HashMap::new(), "anna@example.org").0.is_empty());
        }
    }
}
