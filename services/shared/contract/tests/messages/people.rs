//! Customers, how they are paid, and what their shops tell them.

use std::collections::BTreeMap;

use contract::notification::{
    Audience, DigestIntroduction, DigestSubject, FailureReason, MailIntroduction, MailSubject,
};
use contract::payout::{BankAccount, Bic, Iban, OtherMethod, Paypal};
use contract::preferences::{Localized, MessageTemplate, MinimumRule};
use contract::{
    Currency, CustomerKind, Email, Locale, MailKind, Note, PayoutKind, PayoutMethod, Preferences,
    WithdrawalState,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::example;

/// Every kind of mail; those to affiliates in the order of the states they tell of.
const KINDS: [&str; 7] = [
    "admin-requested",
    "admin-digest",
    "customer-requested",
    "customer-approved",
    "customer-paid",
    "customer-rejected",
    "customer-cancelled",
];

fn accepted<T: std::str::FromStr>(texts: &[&str]) -> Vec<String> {
    texts.iter().filter(|text| text.parse::<T>().is_ok()).map(|text| (*text).to_owned()).collect()
}

fn bank_account(iban: &str) -> PayoutMethod {
    let account = BankAccount { iban: iban.parse().unwrap(), bic: None, holder: "Erika".parse().unwrap() };
    PayoutMethod::BankAccount(account)
}

fn paypal(email: &str) -> PayoutMethod {
    PayoutMethod::Paypal(Paypal { email: email.parse().unwrap() })
}

fn other(text: &str) -> PayoutMethod {
    PayoutMethod::Other(OtherMethod { text: text.parse().unwrap() })
}

#[test]
fn ibans_have_the_right_checksum_and_their_country_s_format() {
    // From the SWIFT registry's examples: short, long, with letters.
    let good = [
        "DE89370400440532013000",
        "NO9386011117947",
        "GB29NWBK60161331926819",
        "MT84MALT011000012345MTLCAST001S",
        "LC55HEMM000100010012001200023015",
    ];
    assert_eq!(accepted::<Iban>(&good), good);
    let bad = [
        "",
        "DE89370400440532013001",
        "DE98370400440532013000",
        "ED89370400440532013000",
        // Right checksums, in a length or a form that the country does not have, or of no country.
        "DE5137040044053201300",
        "DE583704004405320130AB",
        "NO8086011117947A",
        "XX46370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "de89370400440532013000",
        "DE89370400440532013000 ",
        "DE8937040044053201300０",
    ];
    assert_eq!(accepted::<Iban>(&bad), [""; 0]);
}

#[test]
fn bics_have_eight_or_eleven_characters() {
    let all = [
        "COBADEFF",
        "COBADEFFXXX",
        "COBADEFF500",
        "COBADEF",
        "COBADEFFX",
        "COBADEFFXXXX",
        "C0BADEFF",
        "cobadeff",
    ];
    assert_eq!(accepted::<Bic>(&all), all[..3]);
}

#[test]
fn addresses_are_those_that_browsers_accept() {
    let good = [
        "a@b",
        "erika@mustermann.example",
        "o'hara+shop@mail-1.example.com",
        ".a..b.@c",
        "!#$%&'*+/=?^_`{|}~-@b",
    ];
    assert_eq!(accepted::<Email>(&good), good);
    let (label, longest) = ("b".repeat(63), format!("{}@b", "a".repeat(252)));
    let good = [format!("a@{label}"), format!("a@{label}.{label}"), longest.clone()];
    assert!(good.iter().all(|text| text.parse::<Email>().is_ok()));
    let bad = [
        "",
        "a",
        "@b",
        "a@",
        "a@b@c",
        "a b@c",
        "a@b c",
        "a@-b",
        "a@b-",
        "a@b..c",
        "a@b.",
        "a@.b",
        "ä@b",
        "a@ä",
        "\"a b\"@c",
        "a@[127.0.0.1]",
        "a@b\n",
        "<a@b>",
    ];
    assert_eq!(accepted::<Email>(&bad), [""; 0]);
    assert!([format!("a@b{label}"), format!("a{longest}")].iter().all(|text| text.parse::<Email>().is_err()));
}

#[test]
fn locales_have_a_language_and_may_have_script_and_region() {
    let good = ["de", "gsw", "pt-BR", "es-419", "zh-Hant", "zh-Hant-TW"];
    assert_eq!(accepted::<Locale>(&good), good);
    let bad =
        ["", "d", "DE", "de_DE", "de-de", "german", "zh-TW-Hant", "de-DE-1996", "de-", "de-DE-", "de-41"];
    assert_eq!(accepted::<Locale>(&bad), [""; 0]);
}

#[test]
fn payout_methods_are_masked() {
    assert_eq!(bank_account("DE89370400440532013000").masked(), "DE** **** … 3000");
    assert_eq!(bank_account("NO9386011117947").masked(), "NO** **** … 7947");
    assert_eq!(paypal("john@example.com").masked(), "j***@e***");
    assert_eq!(paypal("j@e").masked(), "j***@e***");
    assert_eq!(other("Cash, in the shop").masked(), "(17 characters)");
    assert_eq!(other("é").masked(), "(1 character)");
    let kinds =
        [bank_account("NO9386011117947"), paypal("a@b"), other("a")].map(|method| method.kind().as_str());
    assert_eq!(kinds, ["bank-account", "paypal", "other"]);
}

#[test]
fn what_is_sealed_is_read_again() {
    let account = r#"{"bank_account":{"iban":"DE89370400440532013000","bic":"COBADEFF","holder":"Erika"}}"#;
    for json in [account, r#"{"paypal":{"email":"a@b"}}"#, r#"{"other":{"text":"a"}}"#] {
        let method: PayoutMethod = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&method).unwrap(), json);
    }
}

#[test]
fn words_are_read_as_they_are_written() {
    for kind in [CustomerKind::Customer, CustomerKind::Affiliate, CustomerKind::Reseller] {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    for kind in [PayoutKind::BankAccount, PayoutKind::Paypal, PayoutKind::Other] {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    for rule in [MinimumRule::Balance, MinimumRule::Amount] {
        assert_eq!(serde_json::from_value::<MinimumRule>(json!(rule)).unwrap(), rule);
    }
    let states = ["requested", "approved", "paid", "rejected", "cancelled"];
    assert_eq!(accepted::<WithdrawalState>(&states), states);
    for (state, kind) in states.into_iter().zip(KINDS.into_iter().skip(2)) {
        assert_eq!(MailKind::for_customer(state.parse().unwrap()).as_str(), kind);
    }
    assert_eq!(accepted::<MailKind>(&KINDS), KINDS);
    let to_staff: Vec<_> = KINDS
        .into_iter()
        .filter(|kind| kind.parse::<MailKind>().unwrap().audience() == Audience::Admin)
        .collect();
    assert_eq!(to_staff, KINDS[..2]);
    assert_eq!(accepted::<WithdrawalState>(&["Paid", "canceled", ""]), [""; 0]);
    for reason in [FailureReason::Refused, FailureReason::Expired] {
        assert_eq!(reason.as_str().parse(), Ok(reason));
    }
}

#[test]
fn templates_have_known_placeholders_only() {
    let good = ["a", "{min-value}", "{balance}{missing}{balance}", "Tab\t and\nline", "100 %"];
    assert_eq!(accepted::<MessageTemplate>(&good), good);
    let bad = [
        "",
        "{",
        "}",
        "{}",
        "}{",
        "{balance",
        "balance}",
        "{Balance}",
        "{ balance }",
        "{{balance}}",
        "{balance}}",
        "{min_value}",
        "{missing",
        "{mis{balance}sing}",
        "\r",
    ];
    assert_eq!(accepted::<MessageTemplate>(&bad), [""; 0]);
    let longest = "é".repeat(1000);
    assert!(longest.parse::<MessageTemplate>().is_ok());
    assert!(format!("{longest}é").parse::<MessageTemplate>().is_err());
}

#[test]
fn each_mail_has_its_placeholders() {
    let good = ["a", "{shop}", "{customer}{amount}{customer}", "100 %"];
    assert_eq!(accepted::<MailSubject>(&good), good);
    assert_eq!(accepted::<MailIntroduction>(&good), good);
    let good = ["a", "{shop}", "{count}{shop}{count}"];
    assert_eq!(accepted::<DigestSubject>(&good), good);
    assert_eq!(accepted::<DigestIntroduction>(&good), good);
    let bad =
        ["", "{", "}", "{}", "}{", "{shop", "shop}", "{Shop}", "{shop}}", "{{shop}}", "{sh{shop}op}", "\r"];
    let of_a_digest = ["{customer}", "{shop} {amount}", "{balance}"];
    let of_one = ["{count}", "{shop} {count}", "{min-value}"];
    assert_eq!(accepted::<MailSubject>(&[&bad[..], &of_one].concat()), [""; 0]);
    assert_eq!(accepted::<MailIntroduction>(&[&bad[..], &of_one].concat()), [""; 0]);
    assert_eq!(accepted::<DigestSubject>(&[&bad[..], &of_a_digest].concat()), [""; 0]);
    assert_eq!(accepted::<DigestIntroduction>(&[&bad[..], &of_a_digest].concat()), [""; 0]);
    let lines = ["Two\nlines", "a\ttab", "{shop}\n", "{count}\n"];
    assert_eq!(accepted::<MailSubject>(&lines), [""; 0], "a subject is one line");
    assert_eq!(accepted::<DigestSubject>(&lines), [""; 0], "a subject is one line");
    assert_eq!(accepted::<MailIntroduction>(&lines), lines[..3]);
    let lengths = [150, 151, 1000, 1001].map(|length| "é".repeat(length));
    let lengths = lengths.each_ref().map(String::as_str);
    assert_eq!(accepted::<MailSubject>(&lengths), lengths[..1]);
    assert_eq!(accepted::<DigestSubject>(&lengths), lengths[..1]);
    assert_eq!(accepted::<MailIntroduction>(&lengths), lengths[..3]);
    assert_eq!(accepted::<DigestIntroduction>(&lengths), lengths[..3]);
}

/// A customer may be called anything.
#[test]
fn what_is_filled_in_is_not_read_again() {
    let subject: MailSubject = "{customer}: {amount} ({customer})".parse().unwrap();
    let filled = subject.fill(|name| match name {
        "customer" => "{amount}} {",
        "amount" => "{shop}",
        other => panic!("{other}"),
    });
    assert_eq!(filled, "{amount}} {: {shop} ({amount}} {)");
}

#[test]
fn templates_are_filled_in_once() {
    let fill = |text: &str, figures: [&str; 3]| {
        text.parse::<MessageTemplate>().unwrap().fill(|name| match name {
            "min-value" => figures[0],
            "balance" => figures[1],
            "missing" => figures[2],
            other => panic!("{other}"),
        })
    };
    let figures = ["50.00 EUR", "12.50 EUR", "37.50 EUR"];
    assert_eq!(fill("no figure", figures), "no figure");
    assert_eq!(fill("{missing}", figures), "37.50 EUR");
    assert_eq!(
        fill("From {min-value}: you have {balance},\n{missing} to go ({min-value}).", figures),
        "From 50.00 EUR: you have 12.50 EUR,\n37.50 EUR to go (50.00 EUR)."
    );
    assert_eq!(fill("{min-value} {balance}", ["{balance}", "{missing}", "x"]), "{balance} {missing}");
}

#[test]
fn a_text_is_chosen_by_language_then_by_the_shop_s() {
    let texts = |locales: &[&str]| {
        let text = |locale: &&str| (locale.parse().unwrap(), locale.parse::<Note>().unwrap());
        Localized(locales.iter().map(text).collect::<BTreeMap<Locale, _>>())
    };
    let choose = |of: &[&str], wanted: &str, default: &str| {
        let wanted = Some(wanted).filter(|wanted| !wanted.is_empty()).map(|wanted| wanted.parse().unwrap());
        let (texts, default) = (texts(of), default.parse().unwrap());
        texts.choose(wanted.as_ref(), &default).map(|(locale, text)| {
            assert_eq!(locale.as_str(), text.as_str(), "where it stands");
            text.as_str().to_owned()
        })
    };
    let all = ["de", "de-AT", "en", "zh-Hant", "pt-BR"];
    for (wanted, default, expected) in [
        ("de-AT", "en", Some("de-AT")),
        ("de-CH", "en", Some("de")),
        ("zh-Hant-TW", "en", Some("zh-Hant")),
        ("zh-Hans", "en", Some("en")),
        ("fr", "pt-BR", Some("pt-BR")),
        ("fr", "de-LI", Some("de")),
        ("", "en", Some("en")),
        ("pt", "fr", None),
        ("", "fr", None),
    ] {
        assert_eq!(choose(&all, wanted, default).as_deref(), expected, "{wanted}, {default}");
    }
    assert_eq!(choose(&[], "de", "en"), None);
}

#[test]
fn preferences_are_stored_without_what_is_default() {
    let read = |value: Value| serde_json::from_value::<Preferences>(value).unwrap();
    assert_eq!(json!(Preferences::default()), json!({}));
    assert_eq!(read(json!({})), Preferences::default());
    let mut data =
        serde_json::from_str::<Value>(&example("preferences.put.v1", "valid")).unwrap()["data"].take();
    for elsewhere in ["merchant", "name", "actor", "hold_days"] {
        data.as_object_mut().unwrap().shift_remove(elsewhere);
    }
    let preferences = read(data.clone());
    assert_eq!(json!(preferences), data);
    let (eur, jpy) = ("EUR".parse::<Currency>().unwrap(), "JPY".parse::<Currency>().unwrap());
    assert_eq!(preferences.negative_limit[&eur].to_string(), "100.00");
    assert_eq!(preferences.negative_limit[&jpy], Decimal::ZERO);
    assert_eq!(preferences.withdrawals.minimum.get(&jpy), None);
    assert_eq!(preferences.withdrawals.minimum_rule, MinimumRule::Amount);
    assert!(!preferences.section_shown && preferences.withdrawals.enabled);
}

#[test]
fn mails_are_stored_without_what_is_not_said() {
    let data = serde_json::from_str::<Value>(&example("preferences.put.v1", "valid-mails")).unwrap();
    let mails = &data["data"]["mails"];
    let preferences: Preferences = serde_json::from_value(json!({ "mails": mails })).unwrap();
    assert_eq!(json!(preferences), json!({ "mails": mails }));
    let fields: Vec<_> = mails.as_object().unwrap().keys().map(|field| field.replace('_', "-")).collect();
    assert_eq!(fields, KINDS, "each kind of mail has its texts");
    let said = json!({ "mails": {
        "admin_digest": {}, "customer_paid": { "subject": {}, "introduction": { "it": "Grazie." } }
    } });
    let preferences: Preferences = serde_json::from_value(said).unwrap();
    assert_eq!(
        json!(preferences),
        json!({ "mails": { "customer_paid": { "introduction": { "it": "Grazie." } } } })
    );
    let nothing = json!({ "notify_customer": [], "mails": { "customer_paid": { "subject": {} } } });
    assert_eq!(serde_json::from_value::<Preferences>(nothing).unwrap(), Preferences::default());
}

/// Whoever makes preferences without a message need not know that amounts stand at the exponent.
#[test]
fn amounts_of_preferences_are_written_at_the_exponent() {
    let mut preferences = Preferences::default();
    preferences.negative_limit.insert("EUR".parse().unwrap(), Decimal::from(100));
    preferences.withdrawals.minimum.insert("KWD".parse().unwrap(), Decimal::new(25, 1));
    assert_eq!(
        json!(preferences),
        json!({ "negative_limit": { "EUR": "100.00" }, "withdrawals": { "minimum": { "KWD": "2.500" } } })
    );
}
