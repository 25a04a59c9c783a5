//! What is no amount.

use super::{credit, read, refused};

#[test]
fn amounts_are_positive_decimal_strings() {
    let expected =
        "expected a decimal string above zero such as \"12.50\", below 10^12, digits and one point only";
    let deep = "[".repeat(200) + &"]".repeat(200);
    let long = format!("\"{}\"", "9".repeat(30_000));
    let cases = [
        (r#""1e3""#, "is not such a decimal"),
        (r#""1_000""#, "is not such a decimal"),
        (r#""1,5""#, "is not such a decimal"),
        (r#""+5""#, "is not such a decimal"),
        (r#""-5""#, "is not such a decimal"),
        (r#""5.""#, "is not such a decimal"),
        (r#"".5""#, "is not such a decimal"),
        (r#"".""#, "is not such a decimal"),
        (r#""1.2.3""#, "is not such a decimal"),
        (r#""""#, "is not such a decimal"),
        (r#"" 5""#, "is not such a decimal"),
        (r#""5\n""#, "is not such a decimal"),
        (r#""0x5""#, "is not such a decimal"),
        (r#""NaN""#, "is not such a decimal"),
        (r#""١٢""#, "is not such a decimal"),
        (r#""01""#, "has a leading zero"),
        (r#""00""#, "has a leading zero"),
        (r#""0""#, "is zero"),
        (r#""0.0000""#, "is zero"),
        (r#""12.50000""#, "has more than four decimals"),
        (r#""1000000000000""#, "is too large"),
        (&long, "is too large"),
        ("12.50", "is a number"),
        ("12", "is a number"),
        ("-12", "is a number"),
        ("true", "is a boolean"),
        ("null", "is null (what is absent is left out)"),
        (r#"{"value": "12.50"}"#, "is an object"),
        (r#"["12.50"]"#, "is an array"),
        (&deep, "is an array"),
    ];
    for (amount, problem) in cases {
        let expected = format!("invalid-data: data.amount: {problem}; {expected}");
        assert_eq!(refused(credit("\"12.50\"", amount)), expected, "{amount}");
    }
    for amount in ["0.01", "0.1", "1", "1.5", "999999999999.99"] {
        assert!(read(credit("12.50", amount).as_bytes()).is_ok(), "{amount}");
    }
}

#[test]
fn amounts_have_no_more_decimals_than_their_currency() {
    let cases = [("JPY", 0), ("EUR", 2), ("KWD", 3), ("CLF", 4)];
    for (currency, most) in cases {
        let of = |decimals: usize| {
            let amount =
                if decimals == 0 { "1250".to_owned() } else { format!("1.{}", "0".repeat(decimals)) };
            credit("\"12.50\"", &format!("\"{amount}\"")).replace("EUR", currency)
        };
        for decimals in 0..=4 {
            match read(of(decimals).as_bytes()) {
                Ok(_) => assert!(decimals <= most, "{currency} {decimals}"),
                Err(malformed) => assert_eq!(
                    malformed.to_string(),
                    format!(
                        "invalid-data: data.amount: has {decimals} decimals; expected at most the currency's {most}"
                    )
                ),
            }
        }
    }
}
