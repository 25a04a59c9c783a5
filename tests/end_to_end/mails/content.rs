//! What mails say, through the whole path from a command to a mail that somebody reads.

use serde_json::json;
use tests::message::{MERCHANT, cancel, decide, request};

use super::{Office, STAFF, holds, telling};

/// A shop's language, and how it is told of a request of 1,234.50 EUR.
const TOLD: [(&str, [&str; 3]); 4] = [
    ("en", ["1,234.50\u{a0}EUR", "5,000.00\u{a0}EUR", "3,765.50\u{a0}EUR"]),
    ("it", ["1234,50\u{a0}EUR", "5000,00\u{a0}EUR", "3765,50\u{a0}EUR"]),
    ("pt", ["1.234,50\u{a0}EUR", "5.000,00\u{a0}EUR", "3.765,50\u{a0}EUR"]),
    ("es", ["1234,50\u{a0}EUR", "5000,00\u{a0}EUR", "3765,50\u{a0}EUR"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_told_to_each_of_the_staff_in_the_shops_language() {
    for (locale, figures) in TOLD {
        let mut put = telling(MERCHANT, &STAFF, &[]);
        put["data"]["default_locale"] = json!(locale);
        put["data"]["withdrawals"]["minimum"] = json!({ "EUR": "50.00" });
        let office = Office::with(put, &[("anna", "5000.00")]).await;
        office.known_as("anna", "Anna Schmidt", "anna@example.org", "de").await;
        let mut builder = office.shop.world.notifier(&office.server);
        builder.set("SALDO__MAIL__LINK", "https://admin.example/{merchant}/w/{withdrawal}");
        let _notifier = builder.ready().await;
        let mut asked = request("w-1", "anna", Some("1234.50"));
        asked["data"]["note"] = json!("Grazie mille");
        let event = office.shop.done(asked, "withdrawal.requested").await;
        office.server.wait_mails(2).await;
        office.quiet().await;
        assert_eq!(office.recipients(), STAFF, "{locale}");
        let link = format!("https://admin.example/acme/w/{}", event["data"]["withdrawal"].as_str().unwrap());
        for (to, mail) in office.mails() {
            assert_eq!(mail.defects, [] as [&str; 0], "{mail:#?}");
            assert_eq!(mail.header("To"), to);
            assert_eq!(mail.header("Content-Language"), locale);
            holds(&mail, &figures);
            holds(&mail, &["Anna Schmidt", "anna", "DE** **** … 3000", "Grazie mille", &link]);
            for figure in figures {
                assert!(mail.html.contains(figure), "{locale}: no {figure} in {}", mail.html);
            }
            assert!(mail.html.contains(&link), "{}", mail.html);
            assert!(!mail.text.contains(tests::message::IBAN) && !mail.html.contains(tests::message::IBAN));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_affiliate_is_told_of_what_the_shop_wants_in_its_own_language() {
    let all = ["requested", "approved", "paid", "rejected", "cancelled"];
    let office = Office::with(telling(MERCHANT, &[], &all), &[("anna", "1000.00")]).await;
    office.known_as("anna", "Anna", "anna@example.org", "it-CH").await;
    let _notifier = office.notifier().await;
    for n in 1..=3 {
        office.asks(&format!("w-{n}"), "anna").await;
    }
    office.shop.done(decide("approve", "a-1", "w-1"), "withdrawal.approved").await;
    let mut pay = decide("pay", "p-1", "w-1");
    pay["data"]["payment_reference"] = json!("SEPA-42");
    office.shop.done(pay, "withdrawal.paid").await;
    office.shop.done(decide("reject", "r-2", "w-2"), "withdrawal.rejected").await;
    office.shop.done(cancel("c-3", "anna", "w-3"), "withdrawal.cancelled").await;
    let mails = office.server.wait_mails(7).await;
    office.quiet().await;
    assert_eq!(mails.len(), 7);
    let mails = office.mails();
    assert!(
        mails.iter().all(|(to, mail)| to == "anna@example.org" && mail.header("Content-Language") == "it")
    );
    let of = |part: &str| mails.iter().filter(|(_, mail)| mail.text.contains(part)).count();
    assert_eq!(of("SEPA-42"), 1, "the payment's reference");
    assert_eq!(of("Wrong account"), 1, "why it was rejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shops_own_words_stand_in_the_place_of_the_built_in_ones() {
    let mut put = telling(MERCHANT, &STAFF[..1], &["requested"]);
    put["data"]["mails"] = json!({
        "admin_requested": { "subject": { "en": "{customer} wants {amount}" } },
        "customer_requested": {
            "subject": { "it": "Ciao da {shop}" },
            "introduction": { "it": "Abbiamo la tua richiesta di {amount}.", "en": "We have it." }
        }
    });
    let office = Office::with(put, &[("anna", "1000.00")]).await;
    office.known_as("anna", "Anna", "anna@example.org", "it").await;
    let _notifier = office.notifier().await;
    office.asks("w-1", "anna").await;
    office.server.wait_mails(2).await;
    let mails = office.mails();
    let of = |address: &str| &mails.iter().find(|(to, _)| to == address).unwrap().1;
    assert_eq!(of(STAFF[0]).header("Subject").replace('\u{a0}', " "), "Anna wants 10.00 EUR");
    assert_eq!(of("anna@example.org").header("Subject"), "Ciao da Acme");
    holds(of("anna@example.org"), &["Abbiamo la tua richiesta di 10,00\u{a0}EUR."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_language_nobody_writes_is_told_in_the_shops() {
    let mut put = telling(MERCHANT, &[], &["requested"]);
    put["data"]["default_locale"] = json!("es");
    let office = Office::with(put, &[("anna", "1000.00")]).await;
    office.known_as("anna", "Anna", "anna@example.org", "fr").await;
    let _notifier = office.notifier().await;
    office.asks("w-1", "anna").await;
    office.server.wait_mails(1).await;
    assert_eq!(office.mails()[0].1.header("Content-Language"), "es");
}
