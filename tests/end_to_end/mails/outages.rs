//! The broker or the ledger goes away, or the notifier is told to stop, while mails are under way.

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor as _};
use tests::message::MERCHANT;
use tests::{Happening, PATIENCE, Step, Worker, World, eventually};

use super::{Office, STAFF, states, telling};

/// The user of the notifier at the broker.
const USER: &str = "saldo_notifier_test";

/// What troubles it, once that is for this reason.
async fn troubled(notifier: &Worker, what: &str, because: &str) {
    eventually(&format!("{what} is in trouble because of {because}"), PATIENCE, || async {
        match notifier.readiness().await {
            Some((false, told)) if told["troubles"][what].to_string().contains(because) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

/// A shop that tells one person, who has not been told yet.
async fn one_mail() -> Office {
    let office = Office::with(telling(MERCHANT, &STAFF[..1], &[]), &[("anna", "100.00")]).await;
    office.asks("w-1", "anna").await;
    office
}

/// A notifier whose mail the server has got and does not answer.
async fn at_the_server(office: &Office, more: &[(&str, &str)]) -> Worker {
    office.server.at(Step::Message).times(1).hangs();
    let mut builder = office.shop.world.notifier(&office.server);
    for (name, value) in more {
        builder.set(name, *value);
    }
    let notifier = builder.ready().await;
    office.server.wait(Happening::Hanging(Step::Message), None).await;
    notifier
}

/// Takes the notifier's rights at the broker, and ends its session.
async fn lock_out(world: &World) {
    let path = format!("permissions/{}/{USER}", world.name);
    world.manage("DELETE", &path, None).await;
    let session = eventually("the broker lists the session", PATIENCE, || async {
        let all = world.manage("GET", &format!("vhosts/{}/connections", world.name), None).await;
        let mut all = all.as_array().unwrap().iter();
        let ours = all.find(|one| one["client_properties"]["connection_name"] == "notifier consume");
        ours.and_then(|one| one["name"].as_str().map(str::to_owned)).ok_or(())
    })
    .await;
    let session = session.replace(' ', "%20").replace('>', "%3E");
    world.manage("DELETE", &format!("connections/{session}"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_mails_that_are_due_are_sent() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.server.at(Step::RcptTo).answers(451, "4.7.1 later");
    office.asks("w-1", "anna").await;
    let notifier = office.notifier().await;
    for address in STAFF {
        office.server.wait(Happening::Refused(Step::RcptTo, 451), Some(address)).await;
    }
    let world = &office.shop.world;
    let rights = world.manage("GET", &format!("permissions/{}/{USER}", world.name), None).await;
    lock_out(world).await;
    let told = notifier.wait_not_ready(PATIENCE).await;
    for fine in ["mails", "mail server"] {
        assert!(told["troubles"].get(fine).is_none(), "{told}");
    }
    assert_eq!(office.server.mails().len(), 0);
    office.server.behave();
    office.server.wait_mails(2).await;
    office.quiet().await;
    assert_eq!(office.recipients(), STAFF);
    let told = notifier.readiness().await.unwrap();
    assert!(!told.0, "the broker is still away: {told:?}");

    let rights =
        json!({ "configure": rights["configure"], "write": rights["write"], "read": rights["read"] });
    world.manage("PUT", &format!("permissions/{}/{USER}", world.name), Some(rights)).await;
    notifier.wait_ready(PATIENCE).await;
    office.asks("w-2", "anna").await;
    office.server.wait_mails(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_finds_no_broker_sends_the_mails_that_are_due() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.server.at(Step::RcptTo).answers(451, "4.7.1 later");
    office.asks("w-1", "anna").await;
    let mut builder = office.shop.world.notifier(&office.server);
    let mut first = builder.ready().await;
    for address in STAFF {
        office.server.wait(Happening::Refused(Step::RcptTo, 451), Some(address)).await;
    }
    assert!(first.terminate().await.success());
    office.server.behave();
    assert_eq!(states(&office.shop.world).await, [("due".to_owned(), 2)]);
    // Nobody listens there.
    builder.set("SALDO__BROKER__URL", "amqp://nobody:nothing@127.0.0.1:1/nowhere");
    let notifier = builder.start();
    office.server.wait_mails(2).await;
    office.quiet().await;
    assert_eq!(office.recipients(), STAFF);
    assert!(matches!(notifier.readiness().await, Some((false, _))));
}

/// While a mail is at the server the ledger goes away; then the server says that it has the mail.
async fn taken_while_the_ledger_is_away(away: &str, back: &str, because: &str) {
    let office = one_mail().await;
    let world = &office.shop.world;
    let mut notifier = at_the_server(&office, &[]).await;
    let mut admin = world.superuser().await;
    let alter = |change: &str| AssertSqlSafe(format!("ALTER DATABASE {} {change}", world.name));
    admin.execute(alter(away)).await.unwrap();
    admin
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND usename = 'saldo_notifier'",
        )
        .await
        .unwrap();
    office.server.release();
    office.server.wait_mails(1).await;
    troubled(&notifier, "mails", because).await;
    let unsettled = "SELECT count(*) FROM mail WHERE state = 'due' AND attempts = 1 AND status IS NULL";
    assert_eq!(world.count(unsettled).await, 1);
    admin.execute(alter(back)).await.unwrap();
    office.quiet().await;
    let settled = "SELECT count(*) FROM mail WHERE state = 'sent' AND attempts = 1 AND status = 250";
    assert_eq!(world.count(settled).await, 1);
    notifier.wait_ready(PATIENCE).await;
    assert!(notifier.terminate().await.success());
    assert_eq!(office.recipients(), STAFF[..1], "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_taken_while_the_ledger_is_read_only_is_settled_later_and_sent_once() {
    let (away, back) = ("SET default_transaction_read_only = on", "RESET default_transaction_read_only");
    taken_while_the_ledger_is_away(away, back, "25006").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_taken_while_the_ledger_cannot_be_reached_is_settled_later_and_sent_once() {
    taken_while_the_ledger_is_away("CONNECTION LIMIT 0", "CONNECTION LIMIT -1", "53300").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_told_to_stop_finishes_and_settles_what_is_at_the_server_and_begins_nothing() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.asks("w-1", "anna").await;
    let mut notifier = at_the_server(&office, &[("SALDO__MAIL__CONNECTIONS", "1")]).await;
    notifier.signal("TERM");
    let told = notifier.wait_not_ready(PATIENCE).await;
    assert!(told.to_string().contains("stopping"), "{told}");
    assert!(notifier.is_running());
    office.server.release();
    assert!(notifier.ended(PATIENCE).await.success());
    assert_eq!(office.server.mails().len(), 1);
    let world = &office.shop.world;
    let settled = "SELECT count(*) FROM mail WHERE state = 'sent' AND attempts = 1 AND status = 250";
    assert_eq!(world.count(settled).await, 1);
    let untouched = "SELECT count(*) FROM mail WHERE state = 'due' AND attempts = 0";
    assert_eq!(world.count(untouched).await, 1);
    let _next = office.notifier().await;
    office.server.wait_mails(2).await;
    office.quiet().await;
    assert_eq!(office.recipients(), STAFF);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_the_server_for_longer_than_the_grace_period_is_left_to_its_next_attempt() {
    let office = one_mail().await;
    let mut notifier = at_the_server(&office, &[("SALDO__WORKER__SHUTDOWN_GRACE", "500ms")]).await;
    assert!(notifier.terminate().await.success());
    assert!(notifier.log().contains("left to their next attempt"), "{}", notifier.log());
    office.server.wait(Happening::Dropped, None).await;
    let leased = "SELECT count(*) FROM mail WHERE state = 'due' AND attempts = 1
                  AND next_attempt_at > statement_timestamp() + interval '30 seconds'";
    assert_eq!(office.shop.world.count(leased).await, 1);
    office.release_leases().await;
    let _next = office.notifier().await;
    office.server.wait_mails(1).await;
    office.quiet().await;
    assert_eq!(office.recipients(), STAFF[..1]);
}
