//! A command that no queue is bound for is confirmed by the broker: so it is looked first whether one is.

use tests::{COMMISSIONS, Publisher, World, credit};
use worker::topology::{UNROUTABLE, dead_queue};

use super::{dead, deeds, holds, list, put, texts, user};

/// A world whose commissions worker has lost its binding, with a stray and a letter of that worker.
async fn unbound() -> (World, Publisher) {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let binding = format!("bindings/{}/e/saldo.commands/q/saldo.commissions/*.commission.%23", world.name);
    world.manage("DELETE", &binding, None).await;
    publisher.publish(&[credit("c-1", "anna", "1.00")]).await;
    put(&publisher, "commissions", &credit("c-2", "anna", "1.00"), "culprit", &[]).await;
    holds(&publisher, UNROUTABLE, 1).await;
    holds(&publisher, &dead_queue("commissions"), 1).await;
    (world, publisher)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_queue_lost_its_binding_stays_until_it_has_it_again() {
    let (world, publisher) = unbound().await;
    // As little as reads bindings.
    let (name, management) = user(&world, "management", ["^$", "^$", "^$"]).await;
    let settings = [("SALDO__BROKER__MANAGEMENT_URL", management.as_str())];
    let before = list(&world, &[]).await;
    for more in [&["--dry-run"][..], &[]] {
        let arguments = [&["dead", "replay", "--all", "--actor", "anna"], more].concat();
        let ran = world.saldo_at_broker_with(&settings, &arguments).await;
        assert_eq!((ran.status, ran.output.as_str()), (1, ""), "{ran:?}");
        let told = "stays: saldo.commissions is not bound to saldo.commands for its routing key";
        assert_eq!(ran.messages.matches(told).count(), 2, "{ran:?}");
        assert!(ran.messages.contains("run `saldo topology apply`"), "{ran:?}");
    }
    assert_eq!(texts(&list(&world, &[]).await, "letter"), texts(&before, "letter"));
    assert!(deeds(&world).await.is_empty());

    let applied = world.saldo_at_broker(&["topology", "apply"]).await;
    assert_eq!(applied.status, 0, "{applied:?}");
    let ran = world.saldo_at_broker_with(&settings, &["dead", "replay", "--all", "--actor", "anna"]).await;
    assert_eq!((ran.status, ran.output.matches(" replayed as ").count()), (0, 2), "{ran:?}");
    holds(&publisher, COMMISSIONS, 2).await;
    assert!(list(&world, &[]).await.is_empty());
    world.manage("DELETE", &format!("users/{name}"), None).await;
}

/// Whoever has no management API hears what that means.
#[tokio::test(flavor = "multi_thread")]
async fn where_bindings_cannot_be_looked_at_it_is_said_once_and_where_they_should_be_nothing_is_replayed() {
    let (world, publisher) = unbound().await;
    let replay = ["dead", "replay", "--all", "--actor", "anna"];
    let gone = [("SALDO__BROKER__MANAGEMENT_URL", "http://127.0.0.1:9")];
    let ran = world.saldo_at_broker_with(&gone, &replay).await;
    assert_eq!((ran.status, ran.output.as_str()), (1, ""), "{ran:?}");
    assert!(ran.messages.contains("the bindings of the workers' queues are not known"), "{ran:?}");
    assert_eq!((list(&world, &[]).await.len(), deeds(&world).await.len()), (2, 0));

    let broker = world.amqp_url();
    let settings = [("SALDO__BROKER__URL", broker.as_str())];
    let ran = world.saldo_with(&settings, &replay).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.messages.matches("comes back to saldo.unroutable").count(), 1, "{ran:?}");
    holds(&publisher, UNROUTABLE, 2).await;
    let nothing = dead(&world, &["replay", "--reason", "culprit"]).await;
    assert!(!nothing.messages.contains("comes back"), "{nothing:?}");
}
