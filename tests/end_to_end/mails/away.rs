//! A mail server that is away while it still has a mail: asked for all the same, and not waited for in a hurry.

use std::time::Duration;

use tests::{Happening, PATIENCE, Step, Worker, eventually};

use super::{Office, STAFF};

/// What a process has computed so far.
fn computed(worker: &Worker) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", worker.id())).unwrap();
    let (_, after) = stat.rsplit_once(')').unwrap();
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_hangs_keeps_nobody_from_finding_the_server_there_again() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.server.at(Step::Message).of(STAFF[0]).hangs();
    let mut builder = office.shop.world.notifier(&office.server);
    // The mail hangs for longer than the test waits for anything.
    builder.set("SALDO__MAIL__TIMEOUT", "5m");
    let notifier = builder.ready().await;
    office.asks("w-1", "anna").await;
    office.server.wait(Happening::Hanging(Step::Message), Some(STAFF[0])).await;
    office.server.wait(Happening::Accepted, Some(STAFF[1])).await;

    office.server.at(Step::Greeting).times(20).closes();
    office.asks("w-2", "anna").await;
    notifier.wait_not_ready(PATIENCE).await;
    let (began, before) = (std::time::Instant::now(), computed(&notifier));
    let mails = || office.server.mails().len();
    eventually("the other mail arrives", PATIENCE, || async {
        if mails() == 2 { Ok(()) } else { Err(mails()) }
    })
    .await;
    notifier.wait_ready(PATIENCE).await;
    let (lasted, computed) = (began.elapsed(), computed(&notifier).saturating_sub(before));
    assert!(computed < lasted / 2, "{computed:?} of {lasted:?}");
}
