//! Values that are made by the ledger, not read from a message.

use contract::{
    Amount, AmountOrZero, CommandKey, Currency, EntryId, Money, Name, SignedAmount, Timestamp, WithdrawalId,
};
use rust_decimal::Decimal;
use time::Duration;

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn money_stands_at_its_currency_s_exponent() {
    let of = |amount: &str, code| {
        let money = Money::new(amount.parse::<Amount>().unwrap(), currency(code));
        money.map(|money| money.amount().to_string())
    };
    assert_eq!(of("12.5", "EUR").unwrap(), "12.50");
    assert_eq!(of("12", "KWD").unwrap(), "12.000");
    assert_eq!(of("12", "JPY").unwrap(), "12");
    assert_eq!(of("12.0", "JPY").unwrap_err(), "amount: has 1 decimals; expected at most the currency's 0");
}

/// Postgres may return `12.5000` where `12.50` was stored, and a difference may be zero or below.
#[test]
fn the_rest_of_a_commission_is_money_where_it_is_positive_and_exact() {
    let of =
        |amount| Money::positive(decimal(amount), currency("EUR")).map(|money| money.amount().to_string());
    assert_eq!(of("12.5000").as_deref(), Some("12.50"));
    assert_eq!(of("12").as_deref(), Some("12.00"));
    assert_eq!(of("12.505"), None);
    assert_eq!(of("0.00"), None);
    assert_eq!(of("-0.01"), None);
}

#[test]
fn figures_of_events_are_written_with_all_decimals_and_no_negative_zero() {
    let of = |figure, code| SignedAmount::new(figure, currency(code)).to_string();
    assert_eq!(of(decimal("12.5"), "EUR"), "12.50");
    assert_eq!(of(decimal("-12.5000"), "EUR"), "-12.50");
    assert_eq!(of(Decimal::ZERO, "KWD"), "0.000");
    assert_eq!(of(-Decimal::ZERO, "EUR"), "0.00");
    assert_eq!(of(decimal("12.50") - decimal("12.5"), "EUR"), "0.00");
    assert_eq!(of(decimal("-1000"), "JPY"), "-1000");
    assert_eq!(of(decimal("9999999999999999.9999"), "CLF"), "9999999999999999.9999");
}

#[test]
fn currencies_are_those_of_iso_4217_with_an_exponent() {
    let codes: Vec<_> = Currency::all().map(Currency::code).collect();
    assert!(codes.is_sorted() && codes.len() > 150, "{}", codes.len());
    for code in ["XAU", "XXX", "XTS", "eur", " EUR", "EURO", ""] {
        assert!(code.parse::<Currency>().is_err(), "{code}");
    }
    let exponents = ["JPY", "EUR", "KWD", "CLF"].map(|code| currency(code).exponent());
    assert_eq!(exponents, [0, 2, 3, 4]);
    assert!(Currency::all().all(|currency| currency.exponent() <= 4), "amounts have at most four decimals");
}

#[test]
fn times_are_in_utc_and_whole_microseconds() {
    let of = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(of("2026-11-22T11:30:00.123456789+01:30").to_string(), "2026-11-22T10:00:00.123456Z");
    assert_eq!(of("1970-01-01T00:00:00.000001Z").as_micros(), 1);
    assert_eq!(of("1970-01-01T00:00:00.0000009Z").as_micros(), 0);
    assert_eq!(of("9999-12-31T23:59:59.999999Z").as_micros(), 253_402_300_799_999_999);
    assert_eq!(of("2026-11-22T10:00:00Z").plus(Duration::days(30)), of("2026-12-22T10:00:00Z"));
    assert_eq!(of("9999-12-01T00:00:00Z").plus(Duration::days(3_650)), of("9999-12-31T23:59:59Z"));
}

#[test]
fn limits_may_be_zero_and_amounts_may_not() {
    for (text, limit, amount) in [
        ("0", true, false),
        ("0.0000", true, false),
        ("1.5", true, true),
        ("-1", false, false),
        ("01", false, false),
    ] {
        assert_eq!(text.parse::<AmountOrZero>().is_ok(), limit, "{text}");
        assert_eq!(text.parse::<Amount>().is_ok(), amount, "{text}");
    }
}

#[test]
fn ids_of_entries_have_one_text() {
    let id = EntryId { account: 1042, number: 7 };
    assert_eq!(id.to_string(), "1042-7");
    assert_eq!("1042-7".parse(), Ok(id));
    assert_eq!("999999999999999999-1".parse(), Ok(EntryId { account: 999_999_999_999_999_999, number: 1 }));
    for text in [
        "",
        "-",
        "1042",
        "1042-",
        "-7",
        "0-7",
        "1042-0",
        "01042-7",
        "1042-07",
        "+1042-7",
        "1042--7",
        "1042-7 ",
        "1042-7-1",
        "1042-1000000000000000000",
        "1042-9223372036854775808",
        "１-1",
    ] {
        let refused = text.parse::<EntryId>().unwrap_err();
        assert_eq!(refused, "is no such id; expected an entry's id such as 1042-7", "{text}");
    }
}

#[test]
fn the_id_of_a_withdrawal_is_the_key_of_its_request() {
    let (merchant, source, id) = ("acme".parse(), "/shop/acme".parse(), "withdrawal-77".parse());
    let key = CommandKey { merchant: merchant.unwrap(), source: source.unwrap(), id: id.unwrap() };
    let id = WithdrawalId(key.hash());
    assert_eq!(id.to_string(), "eaeeb1b67a532101a54c8511f4ad659b");
    assert_eq!("eaeeb1b67a532101a54c8511f4ad659b".parse(), Ok(id));
    for text in [
        "",
        "eaeeb1b67a532101a54c8511f4ad659",
        "eaeeb1b67a532101a54c8511f4ad659b0",
        "EAEEB1B67A532101A54C8511F4AD659B",
        "gaeeb1b67a532101a54c8511f4ad659b",
    ] {
        assert!(text.parse::<WithdrawalId>().is_err(), "{text}");
    }
}

#[test]
fn what_exists_is_named_by_its_command_or_by_its_id() {
    let read = |json: &str| serde_json::from_str::<Name<EntryId>>(json);
    assert_eq!(read(r#""1042-7""#).unwrap(), Name::Id(EntryId { account: 1042, number: 7 }));
    let by_command = r#"{"source":"/a","id":"b"}"#;
    let Name::Command(reference) = read(by_command).unwrap() else { panic!("an id") };
    assert_eq!((reference.source.as_str(), reference.id.as_str()), ("/a", "b"));
    assert_eq!(serde_json::to_string(&Name::<EntryId>::Command(reference)).unwrap(), by_command);
    assert_eq!(serde_json::to_string(&read(r#""1042-7""#).unwrap()).unwrap(), r#""1042-7""#);
}
