//! Refunds that take back what a withdrawal is about, or was.

use serde_json::json;
use tests::message::{cancel, decide, request};
use tests::{credit, reverse};

use crate::shop::{Shop, expected, figures};

async fn shop() -> Shop {
    let mut shop = Shop::new(json!({}), &[("anna", "100.00")]).await;
    shop.start(&["withdrawals"]).await;
    shop
}

/// The commission that [`Shop::affiliate`] credits.
const EARNED: &str = "earned-anna-EUR";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_refund_leaves_uncovered_stays_open_until_a_later_commission_covers_it() {
    let shop = shop().await;
    shop.done(request("w-1", "anna", Some("80.00")), "withdrawal.requested").await;
    let reversed = shop.done(reverse("r-1", EARNED, Some("30.00")), "commission.reversed").await;
    assert_eq!(figures(&reversed), expected("70.00", "80.00", "-10.00", 3));
    let before = shop.money().await;
    for (id, what) in [("d-1", "approve"), ("d-2", "pay"), ("d-3", "approve")] {
        let refused = shop.refused(decide(what, id, "w-1"), "insufficient-funds").await;
        assert_eq!(refused["data"]["message"], "The balance is 70.00 EUR; 80.00 EUR of it is held.");
        assert_eq!(figures(&refused), expected("70.00", "80.00", "-10.00", 3));
    }
    shop.refused(request("w-2", "anna", Some("0.01")), "insufficient-funds").await;
    assert_eq!(shop.money().await, before);
    assert_eq!(shop.history("w-1").await, [(1, "requested".to_owned(), "w-1".to_owned())]);

    // One cent is missing, and then none.
    shop.done(credit("c-2", "anna", "9.99"), "commission.credited").await;
    shop.refused(decide("approve", "d-4", "w-1"), "insufficient-funds").await;
    shop.refused(decide("pay", "d-5", "w-1"), "insufficient-funds").await;
    shop.done(credit("c-3", "anna", "0.01"), "commission.credited").await;
    let approved = shop.done(decide("approve", "d-6", "w-1"), "withdrawal.approved").await;
    assert_eq!(figures(&approved), expected("80.00", "80.00", "0.00", 6));
    // An approval is no payment: it can be uncovered again.
    shop.done(reverse("r-2", "c-3", None), "commission.reversed").await;
    shop.refused(decide("pay", "d-7", "w-1"), "insufficient-funds").await;
    shop.refused(decide("approve", "d-8", "w-1"), "invalid-transition").await;
    shop.done(credit("c-4", "anna", "0.01"), "commission.credited").await;
    let paid = shop.done(decide("pay", "d-9", "w-1"), "withdrawal.paid").await;
    assert_eq!(figures(&paid), expected("0.00", "0.00", "0.00", 9));
    assert_eq!(paid["data"]["entry"]["amount"], "-80.00");
    let history = shop.history("w-1").await;
    assert_eq!(
        history,
        [(1, "requested", "w-1"), (2, "approved", "d-6"), (3, "paid", "d-9")].map(|(number, state, id)| (
            number,
            state.to_owned(),
            id.to_owned()
        ))
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_refund_leaves_uncovered_can_still_be_rejected_or_cancelled() {
    let shop = shop().await;
    shop.done(request("w-1", "anna", Some("60.00")), "withdrawal.requested").await;
    shop.done(request("w-2", "anna", Some("30.00")), "withdrawal.requested").await;
    shop.done(request("w-3", "anna", Some("10.00")), "withdrawal.requested").await;
    shop.done(decide("approve", "d-1", "w-1"), "withdrawal.approved").await;
    shop.done(reverse("r-1", EARNED, Some("80.00")), "commission.reversed").await;
    for (id, request) in [("d-2", "w-1"), ("d-3", "w-2"), ("d-4", "w-3")] {
        shop.refused(decide("pay", id, request), "insufficient-funds").await;
    }
    let rejected = shop.done(decide("reject", "d-5", "w-1"), "withdrawal.rejected").await;
    assert_eq!(figures(&rejected), expected("20.00", "40.00", "-20.00", 7));
    let cancelled = shop.done(cancel("d-6", "anna", "w-2"), "withdrawal.cancelled").await;
    assert_eq!(figures(&cancelled), expected("20.00", "10.00", "10.00", 8));
    // What is left is covered now.
    shop.done(decide("pay", "d-7", "w-3"), "withdrawal.paid").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_after_the_payment_makes_the_balance_negative_and_later_commissions_carry_it_up() {
    let shop = shop().await;
    shop.done(request("w-1", "anna", None), "withdrawal.requested").await;
    shop.done(decide("pay", "d-1", "w-1"), "withdrawal.paid").await;
    let reversed = shop.done(reverse("r-1", EARNED, Some("70.00")), "commission.reversed").await;
    assert_eq!(figures(&reversed), expected("-70.00", "0.00", "-70.00", 4));
    let refused_now = async |id: &str| {
        let cent =
            shop.refused(request(&format!("{id}-cent"), "anna", Some("0.01")), "insufficient-funds").await;
        let all = shop.refused(request(&format!("{id}-all"), "anna", None), "insufficient-funds").await;
        assert_eq!(all["data"]["message"], "Nothing is available.");
        cent["data"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused_now("w-2").await, "0.01 EUR is more than the -70.00 EUR that is available.");
    let credited = shop.done(credit("c-2", "anna", "50.00"), "commission.credited").await;
    assert_eq!(figures(&credited), expected("-20.00", "0.00", "-20.00", 5));
    refused_now("w-3").await;
    shop.done(credit("c-3", "anna", "20.00"), "commission.credited").await;
    refused_now("w-4").await;
    let credited = shop.done(credit("c-4", "anna", "0.01"), "commission.credited").await;
    assert_eq!(figures(&credited), expected("0.01", "0.00", "0.01", 7));
    shop.refused(request("w-5", "anna", Some("0.02")), "insufficient-funds").await;
    let requested = shop.done(request("w-6", "anna", Some("0.01")), "withdrawal.requested").await;
    assert_eq!(figures(&requested), expected("0.01", "0.01", "0.00", 8));
    shop.close().await;
}
