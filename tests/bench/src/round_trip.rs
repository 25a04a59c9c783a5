//! What nobody who keeps a promise can avoid: one durable commit, and one persistent message that a quorum queue
//! confirms, one after the other. Latencies are told as multiples of it.

use std::time::Instant;

use lapin::Confirmation;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use sqlx::Executor as _;
use tests::Publisher;

use crate::figures::RoundTrip;
use crate::stage::Stage;

const QUEUE: &str = "bench.round-trip";

const TIMES: usize = 500;

/// Measures both, one after the other.
pub(crate) async fn round_trip(stage: &mut Stage, round: usize) -> RoundTrip {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let channel = &stage.publisher.channel;
    channel.queue_declare(QUEUE.into(), options, arguments).await.unwrap();
    stage.database.execute("CREATE TABLE round_trip (n integer NOT NULL, text text NOT NULL)").await.unwrap();
    let body = "x".repeat(400);
    let (mut commits, mut confirms, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..TIMES {
        let began = Instant::now();
        sqlx::query("INSERT INTO round_trip VALUES ($1, $2)")
            .bind(i32::try_from(n).unwrap())
            .bind(&body)
            .execute(&mut stage.database)
            .await
            .unwrap();
        let committed = Instant::now();
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let confirm =
            channel.basic_publish("".into(), QUEUE.into(), options, body.as_bytes(), Publisher::properties());
        assert_eq!(confirm.await.unwrap().await.unwrap(), Confirmation::Ack(None));
        let confirmed = Instant::now();
        commits.push(committed.duration_since(began).as_secs_f64());
        confirms.push(confirmed.duration_since(committed).as_secs_f64());
        both.push(confirmed.duration_since(began).as_secs_f64());
    }
    RoundTrip { round, commit: median(commits), confirm: median(confirms), both: median(both) }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}
