//! Malformed puts, one of each kind. What a person would not want to see in a log or a header is in all of them, in
//! the strangest places.

use contract::MAX_MESSAGE_BYTES;
use lapin::BasicProperties;
use serde_json::{Value, json};
use tests::Publisher;
use tests::message::{MERCHANT, customer, envelope, payout_method, preferences, routing_key};
use tests::secrets::Secrets;

pub(crate) const IBAN: &str = "GB29NWBK60161331926819";
/// The same with two digits in each other's place.
const MISTYPED: &str = "GB29NWBK60161331926891";
const BIC: &str = "NWBKGB2LXXX";
const HOLDER: &str = "Wilhelmine Zwetschgenknödel";
const EMAIL: &str = "geheimer.kurier@verborgen-post.example";
const NO_EMAIL: &str = "geheimer.kurier(at)verborgen-post.example";
const TEXT: &str = "Schließfach 4711 hinter dem Südbahnhof";

/// What is in them and must be seen nowhere.
pub(crate) fn secrets() -> Secrets {
    Secrets::of(&[IBAN, MISTYPED, BIC, HOLDER, EMAIL, NO_EMAIL, TEXT])
}

/// One way to be malformed.
#[derive(Debug, Clone)]
pub(crate) struct Bad {
    pub(crate) what: &'static str,
    pub(crate) routing_key: String,
    pub(crate) body: Vec<u8>,
    pub(crate) properties: BasicProperties,
    pub(crate) reason: &'static str,
    /// What the detail has to name.
    pub(crate) names: &'static str,
}

impl Bad {
    /// As it is published: numbered, so that it is known again.
    pub(crate) fn numbered(&self, number: usize) -> (String, Vec<u8>, BasicProperties) {
        let id = format!("bad-{number}");
        (self.routing_key.clone(), self.body.clone(), self.properties.clone().with_message_id(id.into()))
    }
}

/// All of them.
pub(crate) fn bad() -> Vec<Bad> {
    let mut kinds = Kinds(Vec::new());
    kinds.bank_accounts();
    kinds.other_ways();
    kinds.customers();
    kinds.preferences();
    kinds.envelopes();
    kinds.bodies();
    kinds.deliveries();
    kinds.0
}

/// A `payout-method.put` with all of a bank account.
pub(crate) fn account() -> Value {
    let mut message = payout_method("bad", "anna");
    message["data"]["bank_account"] = json!({ "iban": IBAN, "bic": BIC, "holder": HOLDER });
    message
}

fn paypal() -> Value {
    let data = json!({ "merchant": MERCHANT, "customer": "anna", "paypal": { "email": EMAIL } });
    envelope("payout-method.put.v1", "bad", data)
}

fn other() -> Value {
    let data = json!({ "merchant": MERCHANT, "customer": "anna", "other": { "text": TEXT } });
    envelope("payout-method.put.v1", "bad", data)
}

fn person() -> Value {
    let mut message = customer("bad", "anna", "customer");
    message["data"]["name"] = json!(HOLDER);
    message["data"]["email"] = json!(EMAIL);
    message
}

fn shop() -> Value {
    let mut message = preferences("bad", MERCHANT);
    message["data"]["notify"] = json!([EMAIL]);
    message["data"]["withdrawals"]["message_reached"] = json!({ "en": TEXT });
    message
}

/// With this in this place, whether there was something or not.
fn with(mut message: Value, place: &str, value: Value) -> Value {
    let (parent, name) = place.rsplit_once('/').unwrap();
    message.pointer_mut(parent).unwrap()[name] = value;
    message
}

fn without(mut message: Value, place: &str) -> Value {
    let (parent, name) = place.rsplit_once('/').unwrap();
    message.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    message
}

struct Kinds(Vec<Bad>);

impl Kinds {
    fn add(&mut self, what: &'static str, message: &Value, reason: &'static str, names: &'static str) {
        self.raw(what, &routing_key(message), message.to_string(), reason, names);
    }

    /// In its data.
    fn data(&mut self, what: &'static str, message: &Value, names: &'static str) {
        self.add(what, message, "invalid-data", names);
    }

    fn raw(
        &mut self,
        what: &'static str,
        routing_key: &str,
        body: impl Into<Vec<u8>>,
        reason: &'static str,
        names: &'static str,
    ) {
        let (routing_key, body) = (routing_key.to_owned(), body.into());
        let properties = Publisher::admin_properties();
        self.0.push(Bad { what, routing_key, body, properties, reason, names });
    }

    fn bank_accounts(&mut self) {
        let at = "/data/bank_account";
        let iban = "/data/bank_account/iban";
        let field = "data.bank_account.iban: ";
        let spaced = "GB29 NWBK 6016 1331 9268 19";
        self.data("a wrong checksum", &with(account(), iban, json!(MISTYPED)), field);
        self.data("an IBAN with spaces", &with(account(), iban, json!(spaced)), field);
        self.data("an IBAN in small letters", &with(account(), iban, json!(IBAN.to_lowercase())), field);
        self.data("a country without IBANs", &with(account(), iban, json!(IBAN.replace("GB", "US"))), field);
        self.data("an IBAN that is too long", &with(account(), iban, json!(format!("{IBAN}0"))), field);
        self.data("an IBAN in an array", &with(account(), iban, json!([IBAN])), field);
        self.data("a number", &with(account(), iban, json!(60_161_331_926_819_u64)), field);
        self.data("no IBAN", &without(account(), iban), "`iban`");
        self.data("no holder", &without(account(), "/data/bank_account/holder"), "`holder`");
        let holder = "/data/bank_account/holder";
        let two_lines = json!(format!("{HOLDER}\n{TEXT}"));
        self.data("two lines of holder", &with(account(), holder, two_lines), "bank_account.holder: ");
        self.data(
            "a long holder",
            &with(account(), holder, json!(HOLDER.repeat(9))),
            "bank_account.holder: ",
        );
        let bic = "/data/bank_account/bic";
        self.data("an IBAN as BIC", &with(account(), bic, json!(IBAN)), "data.bank_account.bic: ");
        self.data("no BIC", &with(account(), bic, Value::Null), "data.bank_account.bic: ");
        self.data("the IBAN alone", &with(account(), at, json!(IBAN)), "data.bank_account: ");
        self.data("an array", &with(account(), at, json!([IBAN, BIC, HOLDER])), "data.bank_account: ");
        let misspelt = with(account(), "/data/bank_account/ibann", json!(IBAN));
        self.data("a field that there is not", &misspelt, "`ibann`");
        for (what, name) in
            [("an IBAN", IBAN), ("a holder", HOLDER), ("an e-mail address", EMAIL), ("a text", TEXT)]
        {
            self.data(what, &with(account(), &format!("{at}/{name}"), json!(true)), "data.bank_account.");
            self.data(what, &with(account(), &format!("/data/{name}"), json!({})), "data.");
        }
        let twice = account().to_string().replace("\"iban\":", &format!("\"iban\":\"{IBAN}\",\"iban\":"));
        self.raw("an IBAN twice", "acme.payout-method.put", twice, "invalid-data", "`iban`");
    }

    fn other_ways(&mut self) {
        let email = "/data/paypal/email";
        let field = "data.paypal.email: ";
        self.data("no address", &with(paypal(), email, json!(NO_EMAIL)), field);
        self.data("an address with a name", &with(paypal(), email, json!(format!("A <{EMAIL}>"))), field);
        self.data("two addresses", &with(paypal(), email, json!(format!("{EMAIL}, {EMAIL}"))), field);
        let text = "/data/other/text";
        let field = "data.other.text: ";
        self.data("a control character", &with(other(), text, json!(format!("{TEXT}\u{7}"))), field);
        self.data("a long text", &with(other(), text, json!(TEXT.repeat(20))), field);
        self.data("no text", &with(other(), text, json!("")), field);
        let both = with(account(), "/data/paypal", json!({ "email": EMAIL }));
        self.data("two ways", &both, "data.paypal: ");
        let both = with(account(), "/data/other", json!({ "text": TEXT }));
        self.data("another two ways", &both, "data.other: ");
        self.data("no way", &without(account(), "/data/bank_account"), "data.bank_account: ");
    }

    fn customers(&mut self) {
        let id = "/data/customer";
        self.data(
            "a customer of many details",
            &with(account(), id, json!(TEXT.repeat(5))),
            "data.customer: ",
        );
        self.data("no customer", &without(account(), id), "`customer`");
        self.data("a kind", &with(person(), "/data/kind", json!(HOLDER)), "data.kind: ");
        self.data("no kind", &without(person(), "/data/kind"), "`kind`");
        self.data("a name", &with(person(), "/data/name", json!(format!("{HOLDER}\u{0}"))), "data.name: ");
        self.data("an address", &with(person(), "/data/email", json!(NO_EMAIL)), "data.email: ");
        self.data("a locale", &with(person(), "/data/locale", json!(HOLDER)), "data.locale: ");
        self.data("a null", &with(person(), "/data/name", Value::Null), "data.name: ");
        self.data("a phone", &with(person(), "/data/phone", json!(TEXT)), "`phone`");
    }

    fn preferences(&mut self) {
        let message = "/data/withdrawals/message_reached";
        for template in ["{iban}", "{balance", "balance}", "{{balance}}", "{Balance}", "{}", "{ balance }"] {
            let text = json!({ "en": format!("{TEXT} {template}") });
            let shop = with(shop(), message, text);
            self.data("a placeholder", &shop, "data.withdrawals.message_reached.en: ");
        }
        let not_reached = with(shop(), "/data/withdrawals/message_not_reached", json!({ "de": "{iban}" }));
        self.data("a placeholder", &not_reached, "data.withdrawals.message_not_reached.de: ");
        let field = "data.notify[0]: ";
        self.data("a recipient", &with(shop(), "/data/notify", json!([NO_EMAIL])), field);
        self.data("a recipient twice", &with(shop(), "/data/notify", json!([EMAIL, EMAIL])), "data.notify: ");
        let limit = with(shop(), "/data/negative_limit", json!({ "EUR": IBAN }));
        self.data("a limit", &limit, "data.negative_limit.EUR: ");
        let minimum = with(shop(), "/data/withdrawals/minimum", json!({ "EUR": "0.001" }));
        self.data("a fraction of a cent", &minimum, "withdrawals.minimum.EUR: has 3 decimals");
        let introduction = with(shop(), "/data/introduction", json!({ IBAN: TEXT }));
        self.data("a locale", &introduction, "data.introduction");
        let minimum = with(shop(), "/data/withdrawals/minimum", json!({ HOLDER: "1" }));
        self.data("a currency", &minimum, "data.withdrawals.minimum");
        self.data("a hold", &with(shop(), "/data/hold_days", json!(3651)), "data.hold_days: ");
        self.data("a rule", &with(shop(), "/data/withdrawals/minimum_rule", json!(TEXT)), "minimum_rule: ");
        self.data("nobody", &without(shop(), "/data/actor"), "`actor`");
    }

    fn envelopes(&mut self) {
        let (events, key) = ("not-cloudevents", "acme.payout-method.put");
        for (what, place, names) in [
            ("an IBAN as version", "/specversion", "specversion: "),
            ("an IBAN as time", "/time", "time: "),
            ("an IBAN as content type", "/datacontenttype", "datacontenttype: "),
            ("an IBAN as base64", "/data_base64", "data_base64: "),
        ] {
            self.add(what, &with(account(), place, json!(IBAN)), events, names);
        }
        self.add("no time", &without(account(), "/time"), events, "`time`");
        self.add("no id", &without(account(), "/id"), events, "`id`");
        let own = with(account(), "/source", json!("/saldo/directory"));
        self.add("a source of Saldo's", &own, events, "source: ");
        for name in ["payout-method.put.v2", "payout-method.replace.v1", IBAN] {
            let message = with(account(), "/type", json!(name)).to_string();
            self.raw("a type", key, message, "unknown-type", "type: ");
        }
        let ahead = time::OffsetDateTime::now_utc() + time::Duration::minutes(10);
        let ahead = ahead.format(&time::format_description::well_known::Rfc3339).unwrap();
        for (what, message) in [("method", account()), ("customer", person()), ("shop", shop())] {
            self.data(what, &with(message, "/time", json!(ahead)), "time: is more than 5 minutes ahead");
        }
        let data = with(account(), "/data", json!(format!("{IBAN} {HOLDER}")));
        self.raw("no data", key, data.to_string(), "invalid-data", "data: ");
    }

    fn bodies(&mut self) {
        let key = "acme.payout-method.put";
        let whole = account().to_string();
        for (what, upto) in [("half", whole.len() / 2), ("nearly all", whole.len() - 1)] {
            self.raw(what, key, &whole.as_bytes()[..upto], "not-json", "the body: ");
        }
        let unquoted = whole.replace(&format!("\"{IBAN}\""), IBAN);
        self.raw("an IBAN without quotes", key, unquoted, "not-json", "the body: ");
        self.raw("the IBAN and nothing else", key, IBAN, "not-json", "the body: ");
        self.raw("a JSON text", key, json!(IBAN).to_string(), "not-cloudevents", "the body: ");
        let mut bytes = whole.clone().into_bytes();
        bytes.push(0xff);
        self.raw("no UTF-8", key, bytes, "not-json", "UTF-8");
        let long = format!("{whole}{}", " ".repeat(MAX_MESSAGE_BYTES));
        self.raw("too long", key, long, "too-large", "bytes");
        self.raw("nothing", key, "", "not-json", "the body: ");
    }

    fn deliveries(&mut self) {
        let whole = || account().to_string();
        for key in ["acme.customer.put", "other.payout-method.put", "acme.payout-method.put.v1"] {
            let names = "acme.payout-method.put";
            self.raw("a routing key", key, whole(), "routing-key-mismatch", names);
        }
        let mut with = |what, message: &Value, properties, names| {
            self.add(what, message, "invalid-properties", names);
            if let Some(last) = self.0.last_mut() {
                last.properties = properties;
            }
        };
        let proper = Publisher::properties;
        with("no content type", &account(), BasicProperties::default(), "content_type");
        with(
            "another content type",
            &account(),
            proper().with_content_type("text/plain".into()),
            "content_type",
        );
        with("an expiry", &account(), proper().with_expiration("60000".into()), "expiration");
        with("nobody's preferences", &shop(), proper(), "user_id");
        with("copies", &account(), crate::hostile::copied("CC", &["acme.customer.put"]), "CC");
    }
}
