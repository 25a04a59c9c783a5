//! Two decisions about one withdrawal at the same time.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::message::{cancel, decide, request};
use tests::{PATIENCE, eventually};

use crate::shop::Shop;

const PAIRS: [[&str; 2]; 6] = [
    ["approve", "approve"],
    ["pay", "pay"],
    ["pay", "reject"],
    ["pay", "cancel"],
    ["approve", "pay"],
    ["reject", "cancel"],
];
/// How many withdrawals each pair meets on.
const EACH: usize = 60;
const CUSTOMERS: usize = 12;
/// Commands in a batch, at most.
const BATCH: usize = 5;

/// One withdrawal and the two decisions about it.
struct Contest {
    pair: [&'static str; 2],
    customer: String,
    request: String,
    amount: Decimal,
    /// Which of the two is published first.
    first: usize,
}

impl Contest {
    fn all() -> Vec<Self> {
        (0..PAIRS.len() * EACH)
            .map(|n| Self {
                pair: PAIRS[n / EACH],
                customer: format!("customer-{}", n % CUSTOMERS),
                request: format!("w-{n}"),
                amount: Decimal::new(i64::try_from(n).unwrap() + 1, 2),
                first: n % 2,
            })
            .collect()
    }

    fn id(&self, which: usize) -> String {
        format!("{}-{which}", self.request)
    }

    /// The decision, by the request's key or by Saldo's id.
    fn command(&self, which: usize, withdrawal: Option<&Value>) -> Value {
        let id = self.id(which);
        let mut command = match self.pair[which] {
            "cancel" => cancel(&id, &self.customer, &self.request),
            what => decide(what, &id, &self.request),
        };
        if let Some(withdrawal) = withdrawal {
            command["data"]["withdrawal"] = withdrawal.clone();
        }
        command
    }
}

fn state(what: &str) -> &'static str {
    match what {
        "approve" => "approved",
        "pay" => "paid",
        "reject" => "rejected",
        _ => "cancelled",
    }
}

/// Two processes of two lanes each, of which one or two get the decisions, now the one first, now the other.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_decisions_at_once_one_is_carried_out_and_the_other_is_an_invalid_transition() {
    let contests = Contest::all();
    let customers: Vec<_> = (0..CUSTOMERS).map(|n| format!("customer-{n}")).collect();
    let affiliates: Vec<_> = customers.iter().map(|customer| (customer.as_str(), "100.00")).collect();
    let mut shop = Shop::new(json!({}), &affiliates).await;
    shop.stop().await;
    let mut builder = shop.world.worker_of("withdrawals");
    builder.set("SALDO__WORKER__BATCH_COUNT", BATCH.to_string()).set("SALDO__WORKER__LANES", "2");
    let workers = vec![builder.ready().await, builder.ready().await];
    let requests: Vec<_> = contests
        .iter()
        .map(|contest| request(&contest.request, &contest.customer, Some(&contest.amount.to_string())))
        .collect();
    shop.publisher.publish(&requests).await;
    let ids = eventually("all are requested", PATIENCE, || async {
        let events = shop.events.events_by_id().into_values();
        let requested = events.filter(|event| event["type"] == "withdrawal.requested.v1");
        let ids: BTreeMap<_, _> = requested
            .map(|event| {
                (event["causationid"].as_str().unwrap().to_owned(), event["data"]["withdrawal"].clone())
            })
            .collect();
        if ids.len() == contests.len() { Ok(ids) } else { Err(ids.len()) }
    })
    .await;

    // A lane is handed about a batch of neighbours: now the two decisions are neighbours, now a batch apart.
    let decisions: Vec<_> = contests
        .chunks(BATCH)
        .enumerate()
        .flat_map(|(block, contests)| {
            let command = |n: usize, place: usize| {
                let contest = &contests[n];
                let by_id = n.is_multiple_of(3).then(|| &ids[&contest.request]);
                contest.command(if place == 0 { contest.first } else { 1 - contest.first }, by_id)
            };
            let neighbours = block % 2 == 0;
            let commands = (0..2 * contests.len()).map(|n| {
                if neighbours {
                    command(n / 2, n % 2)
                } else {
                    command(n % contests.len(), n / contests.len())
                }
            });
            commands.collect::<Vec<_>>()
        })
        .collect();
    shop.publisher.publish(&decisions).await;
    eventually("all are decided", PATIENCE, || async {
        let decided =
            shop.world.count("SELECT count(*) FROM inbox WHERE id ~ '^w-.*-' AND outcome IS NOT NULL");
        let decided = usize::try_from(decided.await).unwrap();
        if decided == decisions.len() { Ok(()) } else { Err(decided) }
    })
    .await;
    shop.world.drain(workers, &builder, &shop.events).await;

    let mut outcomes = BTreeMap::new();
    for event in shop.events.events_by_id().into_values() {
        let cause = event["causationid"].as_str().unwrap().to_owned();
        assert!(outcomes.insert(cause, event.clone()).is_none(), "two outcomes: {event}");
    }
    let mut wins: BTreeMap<String, usize> = BTreeMap::new();
    let (mut held, mut paid) = (BTreeMap::new(), BTreeMap::new());
    for contest in &contests {
        let states = judge(&shop, contest, &outcomes).await;
        *wins.entry(format!("{:?}: {}", contest.pair, states.join(", then "))).or_default() += 1;
        let sums = match states.last().unwrap().as_str() {
            "paid" => &mut paid,
            "approved" => &mut held,
            _ => continue,
        };
        *sums.entry(contest.customer.as_str()).or_insert(Decimal::ZERO) += contest.amount;
    }
    for customer in &customers {
        let account = shop.account(customer, "EUR").await.unwrap();
        let figure = |name: &str| account[name].to_string().parse::<Decimal>().unwrap();
        let of = |sums: &BTreeMap<&str, Decimal>| sums.get(customer.as_str()).copied().unwrap_or_default();
        assert_eq!(figure("balance"), Decimal::from(100) - of(&paid), "{customer}");
        assert_eq!(figure("held"), of(&held), "{customer}");
    }
    let apart = shop.world.count(
        "SELECT count(*) FROM inbox a JOIN inbox b ON b.id = regexp_replace(a.id, '-0$', '-1')
         WHERE a.id ~ '^w-.*-0$' AND a.batch_id <> b.batch_id",
    );
    let apart = apart.await;
    eprintln!("{wins:#?}\n{apart} of {} pairs were decided in two transactions", contests.len());
    assert!(apart > 0, "no two decisions met in different lanes");
    for [one, other] in PAIRS.into_iter().filter(|[one, other]| one != other) {
        for what in [one, other] {
            let won = format!("[{one:?}, {other:?}]: {}", state(what));
            let won = wins.iter().filter(|(name, _)| name.starts_with(&won)).map(|(_, times)| times);
            assert!(won.sum::<usize>() > 0, "{what} never came before its rival: {wins:?}");
        }
    }
    shop.close().await;
}

/// Fails unless exactly one of the two was carried out (or an approval and then the payment), and history and entries
/// say so. Returns the states that followed the request.
async fn judge(shop: &Shop, contest: &Contest, outcomes: &BTreeMap<String, Value>) -> Vec<String> {
    let outcome = |which: usize| &outcomes[&contest.id(which)];
    let version = |which: &usize| outcome(*which)["data"]["account"]["version"].as_i64().unwrap();
    let (mut done, refused): (Vec<usize>, Vec<usize>) =
        (0..2).partition(|which| outcome(*which)["type"] != "withdrawal.refused.v1");
    done.sort_by_key(version);
    let steps: Vec<_> = done.iter().map(|which| contest.pair[*which]).collect();
    assert!(done.len() == 1 || steps == ["approve", "pay"], "{:?} of {}", steps, contest.request);
    for which in refused {
        let data = &outcome(which)["data"];
        assert_eq!(data["reason"], "invalid-transition", "{data}");
        assert_eq!(data["command"], format!("withdrawal.{}", contest.pair[which]));
        let winner = state(steps.last().unwrap());
        assert_eq!(data["message"], format!("The withdrawal is {winner} already."));
    }
    let requested = (1, "requested".to_owned(), contest.request.clone());
    let entered = done
        .iter()
        .zip(2..)
        .map(|(which, number)| (number, state(contest.pair[*which]).to_owned(), contest.id(*which)));
    let history: Vec<_> = [requested].into_iter().chain(entered).collect();
    assert_eq!(shop.history(&contest.request).await, history);
    let entries: Vec<(Decimal, String)> = sqlx::query_as(
        "SELECT e.amount, e.kind FROM entry e JOIN inbox i ON i.key = e.command WHERE i.id LIKE $1 || '-%'",
    )
    .bind(&contest.request)
    .fetch_all(&mut shop.world.superuser().await)
    .await
    .unwrap();
    let payments =
        steps.iter().filter(|step| **step == "pay").map(|_| (-contest.amount, "withdrawal".to_owned()));
    assert_eq!(entries, payments.collect::<Vec<_>>(), "{}", contest.request);
    history.into_iter().skip(1).map(|(_, state, _)| state).collect()
}
