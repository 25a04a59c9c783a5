use super::{Invalid, NOT_IN_SCHEMA};

const PAYOUT_METHOD: &str = "payout-method.put.v1";

pub(super) const INVALID: &[Invalid] = &[
    (
        PAYOUT_METHOD,
        "invalid-bank-account-array",
        "/data/bank_account",
        "invalid-data: data.bank_account: is an array; expected an object",
    ),
    (
        PAYOUT_METHOD,
        "invalid-bank-account-null",
        "/data/bank_account",
        "invalid-data: data.bank_account: is null (what is absent is left out); expected an object",
    ),
    (
        PAYOUT_METHOD,
        "invalid-bank-account-unknown-field",
        "/data/bank_account",
        "invalid-data: data.bank_account.bank: unknown field `bank`, expected one of `iban`, `bic`, `holder`",
    ),
    (
        PAYOUT_METHOD,
        "invalid-bank-account-without-holder",
        "/data/bank_account",
        "invalid-data: data.bank_account: missing field `holder`",
    ),
    (
        PAYOUT_METHOD,
        "invalid-bank-account-without-iban",
        "/data/bank_account",
        "invalid-data: data.bank_account: missing field `iban`",
    ),
    (
        PAYOUT_METHOD,
        "invalid-bic-null",
        "/data/bank_account/bic",
        "invalid-data: data.bank_account.bic: is null (what is absent is left out); expected a string: a BIC of 8 or 11 letters and digits",
    ),
    (
        PAYOUT_METHOD,
        "invalid-bic-small",
        "/data/bank_account/bic",
        "invalid-data: data.bank_account.bic: is no BIC; expected a BIC of 8 or 11 letters and digits",
    ),
    (
        PAYOUT_METHOD,
        "invalid-bic-too-short",
        "/data/bank_account/bic",
        "invalid-data: data.bank_account.bic: is no BIC; expected a BIC of 8 or 11 letters and digits",
    ),
    (
        PAYOUT_METHOD,
        "invalid-holder-empty",
        "/data/bank_account/holder",
        "invalid-data: data.bank_account.holder: is empty; expected 1 to 200 characters",
    ),
    (
        PAYOUT_METHOD,
        "invalid-iban-checksum",
        NOT_IN_SCHEMA,
        "invalid-data: data.bank_account.iban: has a typing error; expected an IBAN without spaces, whose checksum and country's format are right",
    ),
    (
        PAYOUT_METHOD,
        "invalid-iban-country-s-length",
        NOT_IN_SCHEMA,
        "invalid-data: data.bank_account.iban: has a typing error; expected an IBAN without spaces, whose checksum and country's format are right",
    ),
    (
        PAYOUT_METHOD,
        "invalid-iban-small",
        "/data/bank_account/iban",
        "invalid-data: data.bank_account.iban: is no IBAN; expected an IBAN without spaces, whose checksum and country's format are right",
    ),
    (
        PAYOUT_METHOD,
        "invalid-iban-spaces",
        "/data/bank_account/iban",
        "invalid-data: data.bank_account.iban: is no IBAN; expected an IBAN without spaces, whose checksum and country's format are right",
    ),
    (
        PAYOUT_METHOD,
        "invalid-other-control-character",
        "/data/other/text",
        "invalid-data: data.other.text: has a control character; expected 1 to 500 characters, no control characters but tab and line feed",
    ),
    (
        PAYOUT_METHOD,
        "invalid-other-empty",
        "/data/other/text",
        "invalid-data: data.other.text: is empty; expected 1 to 500 characters",
    ),
    (
        PAYOUT_METHOD,
        "invalid-other-too-long",
        "/data/other/text",
        "invalid-data: data.other.text: has 501 characters; expected 1 to 500",
    ),
    (
        PAYOUT_METHOD,
        "invalid-paypal-email-space",
        "/data/paypal/email",
        "invalid-data: data.paypal.email: is no e-mail address; expected an e-mail address of at most 254 characters",
    ),
    (
        PAYOUT_METHOD,
        "invalid-paypal-string",
        "/data/paypal",
        "invalid-data: data.paypal: is a string; expected an object",
    ),
    (
        PAYOUT_METHOD,
        "invalid-paypal-without-email",
        "/data/paypal",
        "invalid-data: data.paypal: missing field `email`",
    ),
    (
        PAYOUT_METHOD,
        "invalid-three-ways",
        "/data",
        "invalid-data: data.paypal: is one way too many; expected exactly one of `bank_account`, `paypal`, `other`",
    ),
    (
        PAYOUT_METHOD,
        "invalid-two-ways",
        "/data",
        "invalid-data: data.paypal: is one way too many; expected exactly one of `bank_account`, `paypal`, `other`",
    ),
    (
        PAYOUT_METHOD,
        "invalid-without-a-way",
        "/data",
        "invalid-data: data.bank_account: is missing; expected exactly one of `bank_account`, `paypal`, `other`",
    ),
];
