//! A burst of requests.

use futures_util::future::join_all;
use tests::message::request;
use tests::{PATIENCE, eventually};

use super::{Office, STAFF, quiet};

const REQUESTS: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_are_told_in_digests_and_every_one_once() {
    let office = Office::new(&[("anna", "100000.00")]).await;
    let mut builder = office.shop.world.notifier(&office.server);
    builder.set("SALDO__DIGEST__WINDOW", "3s").set("SALDO__DIGEST__AFTER", "5");
    let notifiers = join_all([builder.ready(), builder.ready()]).await;
    let requests: Vec<_> = (0..REQUESTS).map(|n| request(&format!("w-{n}"), "anna", Some("10.00"))).collect();
    office.shop.publisher.publish(&requests).await;
    eventually("all are requested", PATIENCE * 2, || async {
        let count = office.shop.world.count("SELECT count(*) FROM withdrawal").await;
        if usize::try_from(count) == Ok(REQUESTS) { Ok(()) } else { Err(count) }
    })
    .await;
    quiet(&office.shop.world).await;
    drop(notifiers);
    let mails = office.mails();
    assert!(mails.len() <= 2 * 20, "{} mails", mails.len());
    let singles = "SELECT count(*) FROM mail WHERE kind = 'admin-requested'";
    assert!(office.shop.world.count(singles).await >= 10);

    // Every request is told to each of the staff exactly once: by what the mails say, and by the books.
    let ids: Vec<String> = sqlx::query_scalar("SELECT encode(key, 'hex') FROM withdrawal")
        .fetch_all(&mut office.shop.world.superuser().await)
        .await
        .unwrap();
    for address in STAFF {
        let texts: Vec<_> =
            mails.iter().filter(|(to, _)| to == address).map(|(_, mail)| mail.text.as_str()).collect();
        let told = texts.join("\n");
        for id in &ids {
            assert_eq!(told.matches(id.as_str()).count(), 1, "{id} to {address}");
        }
    }
    let twice =
        "SELECT count(*) FROM (SELECT FROM delivery GROUP BY withdrawal, recipient HAVING count(*) > 1) AS d";
    assert_eq!(office.shop.world.count(twice).await, 0);
    assert_eq!(
        office.shop.world.count("SELECT count(*) FROM delivery").await,
        i64::try_from(2 * REQUESTS).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_tells_what_was_asked_and_how_much_in_all() {
    let office = Office::new(&[("anna", "1000.00"), ("ben", "1000.00")]).await;
    office.known_as("anna", "Anna <b>Schmidt</b>", "anna@example.org", "de").await;
    let mut builder = office.shop.world.notifier(&office.server);
    builder.set("SALDO__DIGEST__WINDOW", "2s").set("SALDO__DIGEST__AFTER", "1");
    builder.set("SALDO__MAIL__LINK", "https://admin.example/{merchant}/w/{withdrawal}");
    let requests = [
        request("w-1", "anna", Some("10.00")),
        request("w-2", "anna", Some("20.50")),
        request("w-3", "ben", Some("30.00")),
    ];
    for request in requests {
        office.shop.done(request, "withdrawal.requested").await;
    }
    let _notifier = builder.ready().await;
    office.server.wait_mails(4).await;
    office.quiet().await;
    let mails = office.mails();
    let digests: Vec<_> = mails.iter().filter(|(_, mail)| mail.text.contains("50.50")).collect();
    assert_eq!(digests.len(), 2, "{mails:#?}");
    for (_, digest) in digests {
        super::holds(digest, &["Anna <b>Schmidt</b>", "20.50", "30.00", "https://admin.example/acme/w/"]);
        assert!(digest.html.contains("Anna &lt;b&gt;Schmidt"), "{}", digest.html);
        assert!(digest.defects.is_empty(), "{digest:?}");
    }
}
