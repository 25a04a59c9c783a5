use super::Invalid;

const CUSTOMER: &str = "customer.put.v1";

pub(super) const INVALID: &[Invalid] = &[
    (
        CUSTOMER,
        "invalid-email-null",
        "/data/email",
        "invalid-data: data.email: is null (what is absent is left out); expected a string: an e-mail address of at most 254 characters",
    ),
    (
        CUSTOMER,
        "invalid-email-too-long",
        "/data/email",
        "invalid-data: data.email: has 256 characters; expected 1 to 254",
    ),
    (
        CUSTOMER,
        "invalid-email-with-name",
        "/data/email",
        "invalid-data: data.email: is no e-mail address; expected an e-mail address of at most 254 characters",
    ),
    (
        CUSTOMER,
        "invalid-email-without-at",
        "/data/email",
        "invalid-data: data.email: is no e-mail address; expected an e-mail address of at most 254 characters",
    ),
    (
        CUSTOMER,
        "invalid-kind-capital",
        "/data/kind",
        "invalid-data: data.kind: is no such word; expected one of the words `customer` `affiliate` `reseller`",
    ),
    (
        CUSTOMER,
        "invalid-kind-number",
        "/data/kind",
        "invalid-data: data.kind: is a number; expected one of the words `customer` `affiliate` `reseller`",
    ),
    (
        CUSTOMER,
        "invalid-locale-small-region",
        "/data/locale",
        "invalid-data: data.locale: is no such language; expected a language such as de, pt-BR or zh-Hant-TW",
    ),
    (
        CUSTOMER,
        "invalid-locale-underscore",
        "/data/locale",
        "invalid-data: data.locale: is no such language; expected a language such as de, pt-BR or zh-Hant-TW",
    ),
    (
        CUSTOMER,
        "invalid-name-line-feed",
        "/data/name",
        "invalid-data: data.name: has a control character; expected 1 to 200 characters, none of them a control character",
    ),
    (
        CUSTOMER,
        "invalid-name-too-long",
        "/data/name",
        "invalid-data: data.name: has 201 characters; expected 1 to 200",
    ),
    (
        CUSTOMER,
        "invalid-time-date",
        "/time",
        "not-cloudevents: time: is no such time; expected an RFC 3339 time such as 2026-11-22T10:00:00Z, in the years 1970 to 9999",
    ),
    (
        CUSTOMER,
        "invalid-unknown-field",
        "/data",
        "invalid-data: data.phone: unknown field `phone`, expected one of `merchant`, `customer`, `kind`, `name`, `email`, `locale`",
    ),
    (CUSTOMER, "invalid-without-kind", "/data", "invalid-data: data: missing field `kind`"),
];
