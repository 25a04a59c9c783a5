//! How somebody is paid stands nowhere in clear, and opens where it belongs and for whom it is meant only.

mod run;

use std::collections::BTreeSet;

use contract::{Actor, PayoutMethod, WithdrawalId};
use ledger::treasury::{self, TreasuryError};
use ledger::vault::{OpenError, Vault};
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use tests::World;
use tests::message::{MERCHANT, at, credit, customer, of_merchant, payout_method, preferences, request};
use tests::secrets::{Secrets, Trace, places};
use tests::worker_process::PAYOUT_KEYS;

use crate::directory::puts;
use run::{ADDRESS, LOGIN, PERSON, RECIPIENT, Run, methods};

/// Accepted and malformed puts, keys used twice, puts that wait, and are decided or refused in the end, workers that
/// are killed, requests, payments, a person who is shown where the money goes, mails that are refused.
#[tokio::test(flavor = "multi_thread")]
async fn no_payout_detail_stands_in_clear_anywhere_and_addresses_only_where_they_belong() {
    let mut run = Run::new().await;
    run.wait_in_vain().await;
    let letters = run.be_killed_and_malformed().await;
    // While some of it waits.
    assert_eq!(run.world.count("SELECT count(*) FROM waiting WHERE key_id = 'test'").await, 8);
    run.secrets.assert_nowhere(&run.traces().await);
    let withdrawal = run.be_paid().await;
    let revealed = reveal(&run.world, &withdrawal).await.unwrap().unwrap();
    assert_eq!(revealed, methods("anna")[3]["data"]["bank_account"]["iban"]);
    run.be_told().await;
    run.stop().await;
    run.world.assert_told(&run.events).await;

    // Statistics are copies of values.
    run.world.superuser().await.execute("ANALYZE").await.unwrap();
    let traces = run.traces().await;
    let bytes: usize = traces.iter().map(|trace| trace.bytes.len()).sum();
    let secrets = run.secrets.count();
    eprintln!("{secrets} secrets; {} traces, {bytes} bytes; {letters} dead letters", traces.len());
    run.secrets.assert_nowhere(&traces);
    let persons = Secrets::of(&[PERSON, ADDRESS, RECIPIENT, LOGIN[0], LOGIN[1]]);
    let found = persons.find(&traces);
    let own = ["customer", "merchant", "mail", "delivery"].map(|table| format!("table saldo.{table}: "));
    let own = own.into_iter().chain(["table pg_catalog.pg_statistic: ".to_owned()]).collect::<Vec<_>>();
    let elsewhere = |found: &&String| !own.iter().any(|own| found.starts_with(own));
    let elsewhere: Vec<_> = found.iter().filter(elsewhere).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
    for own in own {
        assert!(
            found.iter().any(|found| found.starts_with(&own)),
            "what may be there is found there: {found:#?}"
        );
    }
    persons.assert_nowhere(&but_recipients(&run.world).await);

    // Mails tell people what they are called, and how they are paid as they know it again.
    run.secrets.assert_nowhere(&run.mails);
    assert!(run.mails.len() >= 4, "{}", run.mails.len());
    for shown in [PERSON, "AT** **** … 3201"] {
        assert!(!places(shown, &run.mails).is_empty(), "{shown}");
    }

    // It was looked through: what may be seen is found everywhere it stands, and what is planted as well.
    let masked = places("AT** **** … 3201", &traces);
    for place in ["event", "table saldo.inbox", "table saldo.payout_method"] {
        assert!(masked.contains(place), "{masked:?}");
    }
    let logs = places("started", &traces).into_iter().filter(|place| place.starts_with("log "));
    assert_eq!(logs.count(), run.workers.len());
    assert!(places("batch settled", &traces).len() >= 3, "with all that is logged");
    for place in ["event", "table saldo.inbox"] {
        assert!(places("b***@l***", &traces).contains(place), "{place}");
    }
    assert!(places("refused, says", &traces).contains("table saldo.mail"), "the server's words, with holes");
    assert!(places("the mail server is away", &traces).iter().any(|place| place.starts_with("log ")));
    assert!(places("idempotency-conflict", &traces).contains("dead letter"));
    let unsealed = format!(
        "UPDATE payout_method SET sealed = convert_to('{{\"iban\":\"{}\"}}', 'UTF8') WHERE customer = 'bert'",
        puts::IBAN
    );
    run.world.superuser().await.execute(AssertSqlSafe(unsealed)).await.unwrap();
    let found = run.secrets.find(&run.world.table_traces().await);
    let found: BTreeSet<_> = found.iter().filter_map(|found| found.split(": ").next()).collect();
    assert_eq!(found, BTreeSet::from(["bytes saldo.payout_method.sealed", "table saldo.payout_method"]));
}

/// The rows of the tables of mails, without the two columns that are there for addresses.
async fn but_recipients(world: &World) -> Vec<Trace> {
    let mut traces = Vec::new();
    for (table, rows) in [
        ("notice", "SELECT n::text FROM notice n"),
        ("mail", "SELECT (to_jsonb(m) - 'recipient')::text FROM mail m"),
        ("delivery", "SELECT (to_jsonb(d) - 'recipient')::text FROM delivery d"),
    ] {
        let rows: Vec<String> =
            sqlx::query_scalar(rows).fetch_all(&mut world.superuser().await).await.unwrap();
        assert!(!rows.is_empty(), "{table}");
        traces.push(Trace::new(table, rows.join("\n")));
    }
    traces
}

/// The IBAN that a withdrawal is paid to, as the treasurer sees it.
async fn reveal(world: &World, withdrawal: &str) -> Result<Option<String>, TreasuryError> {
    let vault: Vault = PAYOUT_KEYS.parse().unwrap();
    let (id, actor): (WithdrawalId, Actor) = (withdrawal.parse().unwrap(), "maria".parse().unwrap());
    let mut treasurer = world.connect_as("saldo_treasurer").await;
    let revealed = treasury::reveal(&mut treasurer, &vault, id, &actor).await?;
    Ok(revealed.map(|revealed| match revealed.method {
        PayoutMethod::BankAccount(account) => account.iban.as_str().to_owned(),
        other => format!("{:?}", other.kind()),
    }))
}

/// Two customers of acme and one of another shop, who has the name of one of them. Anna has two methods, and a
/// withdrawal with each. Returns the withdrawals: anna's two, bert's, the other anna's.
async fn paid_to(world: &World) -> [String; 4] {
    let (events, publisher) = (world.events().await, world.publisher().await);
    let mut workers = Vec::new();
    for name in ["directory", "commissions", "withdrawals"] {
        workers.push(world.quick(name).ready().await);
    }
    let ibans =
        ["DE89370400440532013000", "GB29NWBK60161331926819", "NL91ABNA0417164300", "AT611904300234573201"];
    let put = |n: usize, who: &str| {
        let mut message = at(payout_method(&format!("m-{n}"), who), &crate::directory::moment(n));
        message["data"]["bank_account"] = json!({ "iban": ibans[n], "holder": "Anna" });
        message
    };
    let other = |message| of_merchant(message, "other");
    publisher.publish(&[preferences("s-1", MERCHANT), preferences("s-2", "other")]).await;
    let people = [customer("anna", "anna", "affiliate"), customer("bert", "bert", "affiliate")];
    publisher.publish(&people).await;
    publisher.publish(&[other(customer("other", "anna", "affiliate")), put(0, "anna"), put(2, "bert")]).await;
    publisher.publish(&[other(put(3, "anna"))]).await;
    for id in ["m-0", "m-2", "m-3"] {
        events.first(id, "payout-method.updated").await;
    }
    publisher.publish(&[credit("c-1", "anna", "9.00"), credit("c-2", "bert", "9.00")]).await;
    publisher.publish(&[other(credit("c-3", "anna", "9.00"))]).await;
    for id in ["c-1", "c-2", "c-3"] {
        events.first(id, "commission.credited").await;
    }
    publisher.publish(&[request("w-0", "anna", Some("1.00")), request("w-2", "bert", None)]).await;
    publisher.publish(&[other(request("w-3", "anna", None))]).await;
    events.first("w-0", "withdrawal.requested").await;
    publisher.publish(&[put(1, "anna")]).await;
    events.first("m-1", "payout-method.updated").await;
    publisher.publish(&[request("w-1", "anna", Some("1.00"))]).await;
    let mut withdrawals = Vec::new();
    for id in ["w-0", "w-1", "w-2", "w-3"] {
        let requested = events.first(id, "withdrawal.requested").await;
        withdrawals.push(requested["data"]["withdrawal"].as_str().unwrap().to_owned());
    }
    withdrawals.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ciphertext_moved_to_another_row_does_not_open_and_who_looks_is_written_down() {
    let world = World::new().await;
    let withdrawals = paid_to(&world).await;
    let ibans =
        ["DE89370400440532013000", "GB29NWBK60161331926819", "NL91ABNA0417164300", "AT611904300234573201"];
    for (withdrawal, iban) in withdrawals.iter().zip(ibans) {
        assert_eq!(reveal(&world, withdrawal).await.unwrap().as_deref(), Some(iban));
    }
    let mut database = world.superuser().await;
    let rows = "SELECT merchant, customer, version, sealed FROM payout_method
                ORDER BY merchant, customer, version";
    let rows = sqlx::query(rows).fetch_all(&mut database).await.unwrap();
    let rows: Vec<(String, String, i32, Vec<u8>)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    assert_eq!(rows.len(), 4, "anna's two, bert's, the other anna's");
    let write = async |to: usize, sealed: &[u8]| {
        let (merchant, customer, version, _) = &rows[to];
        sqlx::query(
            "UPDATE payout_method SET sealed = $4 WHERE (merchant, customer, version) = ($1, $2, $3)",
        )
        .bind(merchant)
        .bind(customer)
        .bind(version)
        .bind(sealed)
        .execute(&mut world.superuser().await)
        .await
        .unwrap();
    };
    let mut moved = 0;
    for from in 0..4 {
        for to in (0..4).filter(|to| *to != from) {
            // Swapped, so that both are where they do not belong.
            write(to, &rows[from].3).await;
            write(from, &rows[to].3).await;
            for place in [from, to] {
                let error = reveal(&world, &withdrawals[place]).await.unwrap_err();
                let TreasuryError::Sealed { error, .. } = &error else { panic!("{error:?}") };
                assert_eq!(*error, OpenError::Refused, "{from} to {to}");
            }
            for place in [from, to] {
                write(place, &rows[place].3).await;
                assert_eq!(reveal(&world, &withdrawals[place]).await.unwrap().as_deref(), Some(ibans[place]));
            }
            moved += 2;
        }
    }
    // One bit of it, and a key's id that stands for no key.
    let mut damaged = rows[0].3.clone();
    damaged[30] ^= 1;
    write(0, &damaged).await;
    assert!(reveal(&world, &withdrawals[0]).await.is_err());
    write(0, &rows[0].3).await;
    database.execute("UPDATE payout_method SET key_id = 'lost'").await.unwrap();
    assert!(reveal(&world, &withdrawals[0]).await.unwrap_err().to_string().contains("acme's customer anna"));
    assert_eq!(reveal(&world, &"0".repeat(32)).await.unwrap(), None);
    let seen = "SELECT count(*) FROM revelation WHERE (role, actor) = ('saldo_treasurer', 'maria')";
    assert_eq!(world.count(seen).await, 4 + 2 * moved + 2, "also of what did not open");
    assert_eq!(moved, 24);
}

/// Insufficient privilege.
const REFUSED: &str = "42501";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_treasurer_reads_what_is_sealed() {
    let world = World::new().await;
    let [withdrawal, ..] = paid_to(&world).await;
    reveal(&world, &withdrawal).await.unwrap();
    let sealed = [
        "SELECT sealed FROM payout_method",
        "SELECT * FROM payout_method",
        "SELECT p FROM payout_method p",
        "SELECT p::text FROM payout_method p",
        "SELECT to_jsonb(p) FROM payout_method p",
        "SELECT masked FROM payout_method WHERE length(sealed) > 0",
        "SELECT masked FROM payout_method ORDER BY sealed",
        "UPDATE payout_method SET sealed = '' RETURNING masked",
        "DELETE FROM payout_method",
        "TRUNCATE payout_method",
        "INSERT INTO revelation (withdrawal, actor) SELECT key, 'maria' FROM withdrawal",
        "DELETE FROM revelation",
        "SET ROLE saldo_treasurer",
        "SET ROLE saldo_owner",
    ];
    let others = [
        "SELECT sealed FROM payout_method WHERE false; UPDATE payout_method SET masked = 'x'",
        "UPDATE payout_method SET put_at = now()",
        "DELETE FROM payout_method",
        "INSERT INTO payout_method SELECT merchant, customer, 9, kind, masked, key_id, sealed, put_at, recorded_at, command FROM payout_method",
        "UPDATE revelation SET actor = 'nobody'",
        "DELETE FROM revelation",
        "TRUNCATE revelation",
        "UPDATE account SET balance = 0",
        "UPDATE withdrawal SET state = 'rejected'",
        "DELETE FROM waiting",
    ];
    let roles =
        ["saldo_commissions", "saldo_adjustments", "saldo_directory", "saldo_withdrawals", "saldo_operator"];
    let cases = roles.iter().map(|role| (*role, &sealed[..])).chain([("saldo_treasurer", &others[..])]);
    let mut allowed = Vec::new();
    for (role, statements) in cases {
        let mut connection = world.connect_as(role).await;
        for statement in statements {
            let result = connection.execute(*statement).await;
            let code = result.err().and_then(|error| error.as_database_error()?.code().map(String::from));
            if code.as_deref() != Some(REFUSED) {
                allowed.push(format!("{role}: {statement}: {code:?}"));
            }
        }
    }
    assert!(allowed.is_empty(), "{}", allowed.join("\n"));
    let mut treasurer = world.connect_as("saldo_treasurer").await;
    let all = treasurer.fetch_all("SELECT sealed FROM payout_method").await.unwrap();
    assert_eq!(all.len(), 4);
    // Nor by changing what was written down, whoever it is.
    let mut superuser = world.superuser().await;
    for statement in
        ["UPDATE revelation SET actor = 'nobody'", "DELETE FROM revelation", "TRUNCATE revelation"]
    {
        let error = superuser.execute(statement).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{statement}: {error}");
    }
    assert_eq!(world.count("SELECT count(*) FROM revelation").await, 1);
}

#[test]
fn the_search_finds_a_secret_in_every_form_and_in_part() {
    use base64::Engine as _;
    let (iban, text) = ("DE89370400440532013000", "Schließfach am Südbahnhof");
    let secrets = Secrets::of(&[iban, text]);
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let planted = [
        format!("log: iban={iban}."),
        format!("{{\"iban\":\"{}\"}}", iban.to_lowercase()),
        "pay to DE89 3704 0044 0532 0130 00 today".to_owned(),
        "DE89-3704-0044-0532-0130-00".to_owned(),
        format!("part {}", &iban[3..18]),
        format!("\\x{}", tests::secrets::hex(iban.as_bytes())),
        format!("\\x00{}", tests::secrets::hex(&iban.as_bytes()[4..20]).to_uppercase()),
        format!("{:?}", iban.as_bytes()),
        base64(&format!("{{\"iban\":\"{iban}\"}}")),
        base64(&format!("{{\"iban\": \"{iban}\"}}")),
        base64(&format!("{{\"iban\":  \"{iban}\"}}")),
        format!("{text:?}"),
        text.to_uppercase().replace("SS", "ß"),
        "Schlie\\u00dffach am S\\u00fcdbahnhof".to_owned(),
        format!("{}", text.as_bytes().escape_ascii()),
        base64(text),
        tests::secrets::hex(text.as_bytes()),
    ];
    for planted in planted {
        let found = secrets.find(&[Trace::new("here", planted.clone())]);
        assert_eq!(found.len(), 1, "{planted}: {found:?}");
    }
    let harmless = [
        "DE** **** … 3000",
        "370400440",
        "(25 characters)",
        "Schlie\u{df}",
        &tests::secrets::hex(&[0xde, 0x89, 0x37, 0x04]),
        &base64("nothing of it, however long this text may be, and whatever it says of anybody"),
    ];
    for harmless in harmless {
        assert!(secrets.find(&[Trace::new("here", harmless)]).is_empty(), "{harmless}");
    }
}
