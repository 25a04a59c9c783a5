//! A mail server that is away, slow, picky or broken: nothing is lost and nobody waits for somebody else's trouble.

use serde_json::json;
use tests::message::MERCHANT;
use tests::{Happening, MailEvent, PATIENCE, Step, eventually};

use super::{Office, STAFF, states, telling};

/// Somebody of another shop.
const OTHER: &str = "zoe@other.example";

/// Where this happened first.
fn place(events: &[MailEvent], happening: Happening, recipient: &str) -> Option<usize> {
    events
        .iter()
        .position(|event| event.happening == happening && event.recipient.as_deref() == Some(recipient))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_down_mails_wait_and_the_notifier_is_not_ready() {
    let mut office = Office::new(&[("anna", "100.00")]).await;
    office.server.stop().await;
    let notifier = office.shop.world.notifier(&office.server).start();
    let troubles = notifier.wait_not_ready(PATIENCE).await;
    assert!(troubles["troubles"].get("mail server").is_some(), "{troubles}");
    office.asks("w-1", "anna").await;
    office.asks("w-2", "anna").await;
    eventually("the mails are due", PATIENCE, || async {
        let states = states(&office.shop.world).await;
        if states == [("due".to_owned(), 4)] { Ok(()) } else { Err(states) }
    })
    .await;
    office.server.start_again().await;
    office.server.wait_mails(4).await;
    notifier.wait_ready(PATIENCE).await;
    office.quiet().await;
    assert_eq!(states(&office.shop.world).await, [("sent".to_owned(), 4)]);

    // And in the middle of its life.
    office.server.stop().await;
    office.asks("w-3", "anna").await;
    notifier.wait_not_ready(PATIENCE).await;
    office.server.start_again().await;
    office.server.wait_mails(6).await;
    notifier.wait_ready(PATIENCE).await;
    office.quiet().await;
    assert_eq!(office.server.mails().len(), 6, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_refused_fails_no_mail_and_the_notifier_says_so() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.server.at(Step::MailFrom).answers(550, "5.7.1 sender not allowed");
    let notifier = office.shop.world.notifier(&office.server).start();
    let troubles = notifier.wait_not_ready(PATIENCE).await;
    office.asks("w-1", "anna").await;
    eventually("the mails are due", PATIENCE, || async {
        let states = states(&office.shop.world).await;
        if states == [("due".to_owned(), 2)] { Ok(()) } else { Err(states) }
    })
    .await;
    assert!(notifier.readiness().await.is_some_and(|(ready, _)| !ready), "{troubles}");
    // Its owner repairs what is wrong.
    office.server.behave();
    office.server.wait_mails(2).await;
    notifier.wait_ready(PATIENCE).await;
    office.quiet().await;
    assert_eq!(office.recipients(), STAFF);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greylisted_mail_is_sent_when_the_server_wants_it() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.server.at(Step::RcptTo).of(STAFF[0]).times(3).answers(451, "4.7.1 greylisted, come back later");
    office.asks("w-1", "anna").await;
    let _notifier = office.notifier().await;
    office.server.wait_mails(2).await;
    office.quiet().await;
    assert_eq!(office.recipients(), STAFF);
    let tries: Vec<i32> = sqlx::query_scalar("SELECT attempts FROM mail ORDER BY attempts")
        .fetch_all(&mut office.shop.world.superuser().await)
        .await
        .unwrap();
    assert_eq!(tries, [1, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_after_data_delays_no_other_shop() {
    let office = Office::new(&[("anna", "1000.00")]).await;
    office.other_shop("other", &[OTHER]).await;
    for address in STAFF {
        office.server.at(Step::Message).of(address).hangs();
    }
    let mut builder = office.shop.world.notifier(&office.server);
    builder.set("SALDO__MAIL__TIMEOUT", "2s").set("SALDO__MAIL__CONNECTIONS", "4");
    let notifier = builder.ready().await;
    for n in 0..5 {
        office.asks(&format!("w-{n}"), "anna").await;
    }
    office.server.wait(Happening::Hanging(Step::Message), Some(STAFF[0])).await;
    office.other_asks("other").await;
    office.server.wait(Happening::Accepted, Some(OTHER)).await;
    // Ten mails hang for ever, and more are due than there are connections: the other shop's was taken while they hung.
    let events = office.server.events();
    let taken = place(&events, Happening::Accepted, OTHER).unwrap();
    let counted = |happening| events[..taken].iter().filter(|event| event.happening == happening).count();
    let hanging = counted(Happening::Hanging(Step::Message)) - counted(Happening::Dropped);
    assert!((1..=2).contains(&hanging), "a shop has two connections: {events:#?}");
    // What timed out is given up with its connection, and tried again on another one.
    office.server.wait(Happening::Dropped, None).await;
    office.server.behave();
    office.server.release();
    office.server.wait_mails(11).await;
    office.quiet().await;
    let sent = states(&office.shop.world).await;
    assert_eq!(sent, [("sent".to_owned(), 11)]);
    drop(notifier);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_recipient_of_three_fails_alone_and_an_event_says_so() {
    let three = ["ada@shop.example", "nobody@shop.example", "bea@shop.example"];
    let office = Office::with(telling(MERCHANT, &three, &[]), &[("anna", "100.00")]).await;
    let refusal = "5.1.1 <nobody@shop.example> no such user";
    office.server.at(Step::RcptTo).of("nobody@shop.example").answers(550, refusal);
    let request = office.asks("w-1", "anna").await;
    let notifier = office.notifier().await;
    office.quiet().await;
    assert_eq!(office.recipients(), STAFF);
    let counted = states(&office.shop.world).await;
    assert_eq!(counted, [("failed".to_owned(), 1), ("sent".to_owned(), 2)]);

    let failed = office.given_up().await;
    let data = &failed["data"];
    assert_eq!(data["reason"], "refused");
    assert_eq!((&data["status"], &data["attempts"]), (&json!(550), &json!(1)));
    assert_eq!(data["recipient"], "n***@s***");
    assert_eq!(data["withdrawals"], json!([request["data"]["withdrawal"]]));

    // Whoever looks sees the server's words, and nobody's address in them.
    let listed = office.shop.world.saldo(&["mails", "--failed", "--json"]).await.lines();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["recipient"], "nobody@shop.example");
    let answer = listed[0]["answer"].as_str().unwrap();
    assert!(answer.contains("no such user") && !answer.contains("nobody@"), "{answer}");
    let log = notifier.log();
    for address in three {
        assert!(!log.contains(address), "{log}");
    }
    assert!(!failed.to_string().contains("nobody"), "{failed}");
    // The failure's outcome is one of the inbox's, and the ledger holds with it.
    office.shop.world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_closed_at_any_step_delays_its_mail_alone() {
    let steps =
        [Step::Greeting, Step::Hello, Step::MailFrom, Step::RcptTo, Step::Data, Step::Message, Step::Quit];
    let office = Office::new(&[("anna", "1000.00")]).await;
    office.other_shop("other", &[OTHER]).await;
    let notifier = office.notifier().await;
    for (n, step) in steps.into_iter().enumerate() {
        let (before, seen) = (office.server.mails().len(), office.server.events().len());
        // Of one address where it is known by then.
        if matches!(step, Step::RcptTo | Step::Data | Step::Message) {
            office.server.at(step).of(STAFF[0]).times(2).closes();
        } else {
            office.server.at(step).times(1).closes();
        }
        office.asks(&format!("w-{n}"), "anna").await;
        office.server.wait_mails(before + 2).await;
        office.quiet().await;
        let events = &office.server.events()[seen..];
        assert!(events.iter().any(|event| event.happening == Happening::Cut(step)), "{step:?}: {events:#?}");
        if matches!(step, Step::RcptTo | Step::Data | Step::Message) {
            let (other, cut) =
                (place(events, Happening::Accepted, STAFF[1]), place(events, Happening::Accepted, STAFF[0]));
            assert!(other < cut, "{step:?}: {events:#?}");
        }
        // After the message was taken, how the farewell goes is nobody's loss.
        assert_eq!(office.server.mails().len(), before + 2, "{step:?}: {events:#?}");
    }
    drop(notifier);
    assert!(states(&office.shop.world).await.iter().all(|(state, _)| state == "sent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_nobody_takes_in_time_is_given_up_and_an_event_says_so() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.server.at(Step::RcptTo).of(STAFF[0]).answers(450, "4.2.1 mailbox busy");
    let mut builder = office.shop.world.notifier(&office.server);
    builder.set("SALDO__MAIL__GIVE_UP_AFTER", "1s");
    office.asks("w-1", "anna").await;
    let _notifier = builder.ready().await;
    office.quiet().await;
    let failed = office.given_up().await;
    assert_eq!(failed["data"]["reason"], "expired");
    assert_eq!(failed["data"]["status"], 450, "the server's last word");
    assert!(failed["data"]["attempts"].as_i64().unwrap() > 2, "{failed}");
    assert_eq!(office.recipients(), [STAFF[1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_has_used_up_its_rate_waits_alone() {
    let office = Office::with(telling(MERCHANT, &STAFF[..1], &[]), &[("anna", "1000.00")]).await;
    office.other_shop("other", &[OTHER]).await;
    let mut builder = office.shop.world.notifier(&office.server);
    builder.set("SALDO__MAIL__MERCHANT_PER_MINUTE", "3").set("SALDO__DIGEST__AFTER", "100");
    let _notifier = builder.ready().await;
    for n in 0..6 {
        office.asks(&format!("w-{n}"), "anna").await;
    }
    office.server.wait_mails(3).await;
    office.other_asks("other").await;
    office.server.wait(Happening::Accepted, Some(OTHER)).await;
    assert_eq!(office.server.mails().len(), 4, "three of six, and the other shop's");
    let due = states(&office.shop.world).await;
    assert_eq!(due, [("due".to_owned(), 3), ("sent".to_owned(), 4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_shops_together_send_no_more_than_the_server_is_to_get() {
    let office = Office::with(telling(MERCHANT, &STAFF[..1], &[]), &[("anna", "1000.00")]).await;
    office.other_shop("other", &[OTHER]).await;
    let mut builder = office.shop.world.notifier(&office.server);
    builder.set("SALDO__MAIL__PER_MINUTE", "3");
    for n in 0..4 {
        office.asks(&format!("w-{n}"), "anna").await;
    }
    office.other_asks("other").await;
    let _notifier = builder.ready().await;
    office.server.wait_mails(3).await;
    eventually("three are sent, and two wait", PATIENCE, || async {
        let states = states(&office.shop.world).await;
        if states == [("due".to_owned(), 2), ("sent".to_owned(), 3)] { Ok(()) } else { Err(states) }
    })
    .await;
    assert_eq!(office.server.mails().len(), 3, "the next one may go in twenty seconds");
}
