//! The main path.

use rust_decimal::Decimal;
use tests::{PATIENCE, World, credit};

#[tokio::test(flavor = "multi_thread")]
async fn a_commission_is_credited_and_told() {
    let world = World::new().await;
    let events = world.events().await;
    let mut worker = world.worker().ready().await;
    world.publisher().await.publish(&[credit("c-1", "anna", "12.5")]).await;
    let event = events.at_least(1, PATIENCE).await[0].json();
    assert_eq!(event["type"], "commission.credited.v1");
    assert_eq!(event["causationid"], "c-1");
    assert_eq!(event["data"]["account"]["balance"], "12.50");
    assert_eq!(event["data"]["account"]["version"], 1);
    assert_eq!(world.balance("anna").await, Decimal::new(1250, 2));
    assert!(worker.terminate().await.success());
}
