//! An event is the fast path; the ledger is the truth.

use serde_json::json;
use tests::message::decide;
use tests::{PATIENCE, eventually};

use super::{Office, STAFF, telling};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_event_is_lost_is_found_in_the_ledger_and_mailed_once() {
    let office = Office::new(&[("anna", "100.00")]).await;
    let event = office.asks("w-1", "anna").await;
    let world = &office.shop.world;
    eventually("the event waits", PATIENCE, || async {
        let queued = office.shop.publisher.queued("saldo.notifier").await.ready;
        if queued == 1 { Ok(()) } else { Err(queued) }
    })
    .await;
    world.manage("DELETE", &format!("queues/{}/saldo.notifier/contents", world.name), None).await;
    assert_eq!(office.shop.publisher.queued("saldo.notifier").await.ready, 0);

    let notifier = office.notifier().await;
    office.server.wait_mails(2).await;
    // The event after all, and several rounds of the sweep.
    let body = serde_json::to_vec(&event).unwrap();
    office.shop.publisher.publish_event("acme.withdrawal.requested", &body).await;
    office.shop.publisher.consumed("saldo.notifier").await;
    office.quiet().await;
    assert_eq!(office.recipients(), STAFF);
    drop(notifier);
    assert_eq!(world.count("SELECT count(*) FROM delivery").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_a_shop_that_tells_nobody_is_looked_at_once() {
    let office = Office::with(telling("acme", &[], &["paid"]), &[("anna", "100.00")]).await;
    office.asks("w-1", "anna").await;
    office.shop.done(decide("pay", "p-1", "w-1"), "withdrawal.paid").await;
    let _notifier = office.notifier().await;
    office.quiet().await;
    assert_eq!(office.shop.world.count("SELECT count(*) FROM notice").await, 2);
    assert_eq!(office.server.mails().len(), 0, "and the affiliate has no address");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_what_the_ledger_does_not_have_tells_nobody_anything() {
    let office = Office::new(&[("anna", "100.00")]).await;
    let event = office.asks("w-1", "anna").await;
    office.other_shop("rival", &["spy@rival.example"]).await;
    let dead = office.shop.world.dead_letters_of("notifier").await;
    let _notifier = office.notifier().await;
    office.server.wait_mails(2).await;

    let mut never = event.clone();
    never["data"]["withdrawal"] = json!("00112233445566778899aabbccddeeff");
    let mut unpaid = event.clone();
    unpaid["type"] = json!("withdrawal.paid.v1");
    let mut stolen = event.clone();
    stolen["data"]["merchant"] = json!("rival");
    let mut later = event.clone();
    later["type"] = json!("withdrawal.requested.v2");
    for forged in [&never, &unpaid, &stolen, &later] {
        let body = serde_json::to_vec(forged).unwrap();
        office.shop.publisher.publish_event("acme.withdrawal.requested", &body).await;
    }
    office.shop.publisher.publish_event("acme.withdrawal.requested", b"not JSON").await;
    let letters = dead.at_least(5, PATIENCE).await;
    let reasons: Vec<_> = letters.iter().map(|letter| letter.header("saldo-reason").unwrap()).collect();
    assert_eq!(reasons, ["invalid-data", "invalid-data", "invalid-data", "unknown-type", "not-json"]);
    office.quiet().await;
    assert_eq!(office.recipients(), STAFF);
}
