//! A store that has met no repeat for a while takes what it is given to be new: repeats cost it a detour then, and nothing
//! else is different.

use commissions::Commissions;
use contract::MalformedReason;
use ledger::store::{Settings, Waiters};
use ledger::{Failure, Settled, Store, Verdict};
use serde_json::Value;
use tests::message::{MERCHANT, item};
use tests::{PATIENCE, World, credit, reverse};

/// After so many batches without a repeat the next is taken to be new.
const DOUBTING: u32 = 2;

const RULES: Commissions = Commissions { patience: PATIENCE, reversal_patience: PATIENCE };

struct Lane {
    store: Store,
    new: u32,
}

/// Verdicts, events and how many detours it took.
type Done = (Vec<Verdict>, Vec<String>, usize);

impl Lane {
    async fn open(world: &World) -> Self {
        let url = world.database_url(Some("saldo_commissions"));
        let settings = Settings::from_url(&url, "lane", PATIENCE).unwrap().doubting(DOUBTING);
        Self { store: Store::open(&settings).await.unwrap(), new: 0 }
    }

    async fn carry_out(&mut self, messages: &[Value]) -> Done {
        let items: Vec<_> = messages.iter().map(|message| item(&message.to_string())).collect();
        let mut detours = 0;
        loop {
            let settled = self.store.carry_out(&RULES, &items, Waiters::Taken, &[]).await;
            if matches!(settled, Err(Failure::Raced)) && detours < 3 {
                detours += 1;
                continue;
            }
            let Settled { verdicts, events, .. } = settled.unwrap();
            return (verdicts, events.iter().map(|event| event.body.to_string()).collect(), detours);
        }
    }

    /// Until it trusts.
    async fn lull(&mut self) {
        for _ in 0..DOUBTING {
            self.new += 1;
            let (verdicts, _, detours) =
                self.carry_out(&[credit(&format!("new-{}", self.new), "bert", "1")]).await;
            assert_eq!((verdicts, detours), (vec![Verdict::Decided], 0));
        }
    }
}

fn is_conflict(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Dead(why) if why.reason == MalformedReason::IdempotencyConflict)
}

#[tokio::test]
async fn repeats_in_a_batch_that_is_taken_to_be_new_are_told_again_and_carried_out_once() {
    let world = World::without_broker().await;
    world.register(MERCHANT, 0).await;
    let mut lane = Lane::open(&world).await;
    let (_, told, _) = lane.carry_out(&[credit("k-1", "anna", "5")]).await;
    lane.lull().await;

    let (verdicts, events, detours) =
        lane.carry_out(&[credit("k-2", "anna", "7"), credit("k-1", "anna", "5")]).await;
    assert_eq!((&*verdicts, detours), (&[Verdict::Decided, Verdict::Repeated][..], 1));
    assert_eq!(events[1], told[0], "byte for byte");
    // Now it asks.
    let again = lane.carry_out(&[credit("k-1", "anna", "5")]).await;
    assert_eq!(again, (vec![Verdict::Repeated], told, 0));
    assert_eq!(world.balance("anna").await.normalize().to_string(), "12");
    assert_eq!(world.count("SELECT count(*) FROM inbox WHERE id LIKE 'k-%'").await, 2);
}

#[tokio::test]
async fn a_conflict_in_a_batch_that_is_taken_to_be_new_is_dead_and_leaves_nothing_behind() {
    let world = World::without_broker().await;
    world.register(MERCHANT, 0).await;
    let mut lane = Lane::open(&world).await;
    lane.carry_out(&[credit("k-1", "anna", "5")]).await;
    lane.lull().await;

    // An account that only the conflict would open.
    let (verdicts, _, detours) =
        lane.carry_out(&[credit("k-1", "carl", "5"), credit("k-2", "anna", "7")]).await;
    assert!(is_conflict(&verdicts[0]), "{verdicts:?}");
    assert_eq!((&verdicts[1], detours), (&Verdict::Decided, 1));
    assert_eq!(world.count("SELECT count(*) FROM account WHERE customer = 'carl'").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE id = 'carl'").await, 0);

    // Before the original it conflicts with, in the batch.
    lane.lull().await;
    let (verdicts, _, detours) =
        lane.carry_out(&[credit("k-2", "anna", "70"), credit("k-2", "anna", "7")]).await;
    assert!(is_conflict(&verdicts[0]), "{verdicts:?}");
    assert_eq!((&verdicts[1], detours), (&Verdict::Repeated, 1));
    assert_eq!(world.balance("anna").await.normalize().to_string(), "12");
}

#[tokio::test]
async fn a_copy_of_a_parked_command_in_a_batch_that_is_taken_to_be_new_waits_with_it() {
    let world = World::without_broker().await;
    world.register(MERCHANT, 0).await;
    let mut lane = Lane::open(&world).await;
    let reversal = reverse("r-1", "k-1", Some("2"));
    assert_eq!(lane.carry_out(std::slice::from_ref(&reversal)).await.0, [Verdict::Parked]);
    lane.lull().await;
    let done = lane.carry_out(std::slice::from_ref(&reversal)).await;
    assert_eq!(done, (vec![Verdict::Parked], vec![], 1));
    assert_eq!(world.count("SELECT count(*) FROM waiting").await, 1);

    // What it waits for comes with one more copy.
    lane.lull().await;
    let (verdicts, events, detours) = lane.carry_out(&[credit("k-1", "anna", "5"), reversal.clone()]).await;
    assert_eq!((&*verdicts, events.len(), detours), (&[Verdict::Decided, Verdict::Parked][..], 2, 1));
    assert_eq!(lane.carry_out(&[reversal]).await.0, [Verdict::Repeated]);
    assert_eq!(world.balance("anna").await.normalize().to_string(), "3");
}

/// What is written before the inbox can contradict what is there by then: nobody's fault.
#[tokio::test]
async fn a_repeat_that_contradicts_what_came_after_it_is_no_culprit() {
    let world = World::without_broker().await;
    world.register(MERCHANT, 3).await;
    let mut lane = Lane::open(&world).await;
    let commission = credit("k-1", "anna", "5");
    lane.carry_out(std::slice::from_ref(&commission)).await;
    // Pending, it is cancelled: it has no date any more, and cannot be pending without one.
    lane.carry_out(&[reverse("r-1", "k-1", None)]).await;
    lane.lull().await;
    let (verdicts, _, detours) = lane.carry_out(&[commission]).await;
    assert_eq!((verdicts, detours), (vec![Verdict::Repeated], 1));
    assert_eq!(world.count("SELECT count(*) FROM commission WHERE state = 'cancelled'").await, 1);
}
