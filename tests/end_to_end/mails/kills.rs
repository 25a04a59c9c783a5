//! The same event more than once, and a notifier that dies in the middle of its work.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;

use futures_util::future::join_all;
use tests::parse_mail::parse;
use tests::{PATIENCE, Worker};

use super::{Office, STAFF};

const SIGKILL: i32 = 9;

/// How often each Message-ID came.
fn message_ids(office: &Office) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for mail in office.server.mails() {
        *ids.entry(parse(&mail.raw).header("Message-ID").to_owned()).or_default() += 1;
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_told_five_times_to_two_notifiers_makes_one_mail_for_each_of_the_staff() {
    let office = Office::new(&[("anna", "100.00")]).await;
    let event = office.asks("w-1", "anna").await;
    let builder = office.shop.world.notifier(&office.server);
    let mut notifiers: Vec<Worker> = join_all([builder.ready(), builder.ready()]).await;
    let body = serde_json::to_vec(&event).unwrap();
    for _ in 0..5 {
        office.shop.publisher.publish_event("acme.withdrawal.requested", &body).await;
    }
    office.server.wait_mails(2).await;
    office.shop.publisher.consumed("saldo.notifier").await;
    office.quiet().await;
    assert_eq!(office.recipients(), STAFF);
    for notifier in &mut notifiers {
        assert!(notifier.terminate().await.success());
    }
    assert_eq!(office.recipients(), STAFF, "and none on the way out");
}

/// Each of the points at which a notifier can die, and how often a mail may then arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_is_killed_loses_no_mail_and_repeats_at_most_the_one_it_had_handed_over() {
    for (point, most) in
        [("received", 1), ("committed", 1), ("published", 1), ("leasing", 1), ("leased", 1), ("handed", 2)]
    {
        let office = Office::new(&[("anna", "100.00")]).await;
        let mut builder = office.shop.world.notifier(&office.server);
        builder.set("SALDO__MAIL__CONNECTIONS", "1");
        office.asks("w-1", "anna").await;
        let mut victim = builder.clone().dies_at(point, 1).start();
        assert_eq!(victim.ended(PATIENCE).await.signal(), Some(SIGKILL), "{point}: {}", victim.log());
        office.release_leases().await;
        let notifier = builder.ready().await;
        office.server.wait_mails(2).await;
        office.quiet().await;
        drop(notifier);
        let ids = message_ids(&office);
        assert_eq!(ids.len(), 2, "{point}: {ids:?}");
        let copies: usize = ids.values().sum();
        assert!(copies <= 1 + most, "{point}: {ids:?}");
        if point == "handed" {
            assert_eq!(copies, 3, "one mail was handed over twice, under one name: {ids:?}");
        }
        let mut recipients = office.recipients();
        recipients.dedup();
        assert_eq!(recipients, STAFF, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_stays_leased_for_longer_than_an_attempt_may_take() {
    let office = Office::new(&[("anna", "100.00")]).await;
    let mut builder = office.shop.world.notifier(&office.server);
    builder.set("SALDO__MAIL__CONNECTIONS", "1");
    office.asks("w-1", "anna").await;
    let mut victim = builder.clone().dies_at("leased", 1).start();
    assert_eq!(victim.ended(PATIENCE).await.signal(), Some(SIGKILL));
    let leased = "SELECT count(*) FROM mail WHERE state = 'due' AND attempts = 1 AND next_attempt_at > statement_timestamp() + interval '60 seconds'";
    assert_eq!(office.shop.world.count(leased).await, 1);
    // Another notifier sends the other mail, and leaves this one alone.
    let notifier = builder.ready().await;
    office.server.wait_mails(1).await;
    assert_eq!(office.shop.world.count(leased).await, 1);
    drop(notifier);
    assert_eq!(office.server.mails().len(), 1);
}
