//! What an operator sees of mails, and does about them.

use tests::message::decide;
use tests::parse_mail::parse;
use tests::{PATIENCE, Step, eventually};

use super::{Office, STAFF, states, telling};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_mail_can_be_sent_again_and_goes_to_the_address_that_is_known_now() {
    let office = Office::with(telling("acme", &[], &["requested"]), &[("anna", "100.00")]).await;
    office.known_as("anna", "Anna", "wrong@example.org", "en").await;
    office.server.at(Step::RcptTo).of("wrong@example.org").answers(550, "5.1.1 no such user");
    office.asks("w-1", "anna").await;
    let _notifier = office.notifier().await;
    office.quiet().await;
    assert_eq!(states(&office.shop.world).await, [("failed".to_owned(), 1)]);
    let put =
        tests::message::at(tests::message::customer("right", "anna", "affiliate"), "2026-11-22T12:00:00Z");
    let mut put = put;
    put["data"]["email"] = serde_json::json!("right@example.org");
    office.shop.done(put, "customer.updated").await;

    let world = &office.shop.world;
    let failed = world.saldo(&["mails", "--failed", "--json"]).await.lines();
    let id = failed[0]["id"].to_string();
    let ran = world.saldo(&["mails", "resend", &id]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    office.server.wait_mails(1).await;
    office.quiet().await;
    assert_eq!(office.recipients(), ["right@example.org"]);
    assert_eq!(states(world).await, [("sent".to_owned(), 1)]);
    assert!(world.saldo(&["mails", "--failed", "--json"]).await.lines().is_empty());

    // Once more, although it was sent: another name, so that no mailbox takes it for a repetition.
    assert_eq!(world.saldo(&["mails", "resend", &id]).await.status, 0);
    let mails = office.server.wait_mails(2).await;
    office.quiet().await;
    let ids: Vec<_> = mails.iter().map(|mail| parse(&mail.raw).header("Message-ID").to_owned()).collect();
    assert_ne!(ids[0], ids[1]);
    let unknown = world.saldo(&["mails", "resend", "999999"]).await;
    assert_eq!(unknown.status, 1);
    assert!(unknown.messages.contains("does not exist"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_still_tried_cannot_be_sent_again() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.server.at(Step::RcptTo).answers(451, "4.7.1 later");
    office.asks("w-1", "anna").await;
    let _notifier = office.notifier().await;
    let world = &office.shop.world;
    let due = eventually("mails are tried", PATIENCE, || async {
        let due = world.saldo(&["mails", "--due", "--json"]).await.lines();
        if due.len() == 2 && due.iter().all(|mail| mail["attempts"].as_i64() > Some(1)) {
            Ok(due)
        } else {
            Err(due)
        }
    })
    .await;
    assert_eq!(due[0]["status"], 451);
    let ran = world.saldo(&["mails", "resend", &due[0]["id"].to_string()]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.messages.contains("still being tried"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_mails_of_a_shop_that_are_given_up_can_be_sent_again_at_once() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.server.at(Step::RcptTo).answers(554, "5.7.1 relay access denied");
    office.asks("w-1", "anna").await;
    office.asks("w-2", "anna").await;
    let _notifier = office.notifier().await;
    office.quiet().await;
    let world = &office.shop.world;
    assert_eq!(states(world).await, [("failed".to_owned(), 4)]);
    office.server.behave();
    let none = world.saldo(&["mails", "resend", "--failed", "--merchant", "other"]).await;
    assert_eq!((none.status, none.output.as_str()), (0, ""), "{none:?}");
    assert_eq!(world.saldo(&["mails", "resend"]).await.status, 2, "which mails?");
    let ran = world.saldo(&["mails", "resend", "--failed", "--merchant", "acme"]).await;
    assert_eq!((ran.status, ran.output.lines().count()), (0, 4), "{ran:?}");
    office.server.wait_mails(4).await;
    office.quiet().await;
    assert_eq!(states(world).await, [("sent".to_owned(), 4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_listed_by_shop_with_what_they_tell_of() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.asks("w-1", "anna").await;
    office.shop.done(decide("pay", "p-1", "w-1"), "withdrawal.paid").await;
    let _notifier = office.notifier().await;
    office.quiet().await;
    let world = &office.shop.world;
    let ran = world.saldo(&["mails", "--merchant", "acme"]).await;
    for wanted in ["admin-requested", "sent", STAFF[0], STAFF[1]] {
        assert!(ran.output.contains(wanted), "{ran:?}");
    }
    assert!(world.saldo(&["mails", "--merchant", "other", "--json"]).await.lines().is_empty());
    assert_eq!(
        world.saldo(&["mails", "--merchant", "acme", "--limit", "1", "--json"]).await.lines().len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mail_can_be_previewed_in_every_language_without_any_server() {
    let world = tests::World::without_broker().await;
    for kind in contract::MailKind::ALL {
        let kind = kind.as_str();
        for locale in ["en", "it", "pt", "es"] {
            let text = world.saldo(&["mails", "preview", kind, "--locale", locale]).await;
            assert_eq!(text.status, 0, "{text:?}");
            assert!(text.output.starts_with("Subject: "), "{text:?}");
            let html = world.saldo(&["mails", "preview", kind, "--locale", locale, "--html"]).await;
            assert!(html.output.contains(&format!("lang=\"{locale}\"")), "{kind} {locale}: {html:?}");
        }
    }
    let unknown = world.saldo(&["mails", "preview", "admin-paid"]).await;
    assert_eq!(unknown.status, 2);
    assert!(unknown.messages.contains("admin-digest"), "{unknown:?}");
}
