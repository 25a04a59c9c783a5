//! Names and notes that try to be more than text.

use serde_json::json;
use tests::message::{MERCHANT, request};

use super::{Office, telling};

/// What a mail to the staff has, and nothing else.
const HEADERS: [&str; 11] = [
    "Message-ID",
    "Date",
    "From",
    "To",
    "Subject",
    "Content-Language",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_people_call_themselves_is_shown_and_does_nothing() {
    let mut put = telling(MERCHANT, &["ada@shop.example"], &["requested"]);
    put["data"]["name"] = json!("Shop \"&\" <Söhne>, =?utf-8?Q?Bcc:_x?=");
    let office = Office::with(put, &[("anna", "1000.00")]).await;
    let names = [
        "<script>alert(1)</script> & {{ 7 * 7 }} {$amount}",
        "=?utf-8?B?QmNjOiBldmlsQGV2aWwuZXhhbXBsZQ==?=",
        "\u{202e}gnp.exe\u{2066} מלכה",
        "x: y; z=\"@evil.example>\"",
    ];
    let long = "long ".repeat(99);
    let note = format!("line one\nBcc: evil@evil.example\n\n.\n<img src=x onerror=alert(1)>\t{long}");
    let note: String = note.chars().take(500).collect();
    let _notifier = office.notifier().await;
    for (n, name) in names.iter().enumerate() {
        let mut put = tests::message::customer(&format!("known-{n}"), "anna", "affiliate");
        put["time"] = json!(format!("2026-11-22T11:0{n}:00Z"));
        put["data"]["name"] = json!(name);
        put["data"]["email"] = json!("anna@example.org");
        office.shop.done(put, "customer.updated").await;
        let mut asked = request(&format!("w-{n}"), "anna", Some("10.00"));
        asked["data"]["note"] = json!(note);
        office.shop.done(asked, "withdrawal.requested").await;
        office.server.wait_mails(2 * (n + 1)).await;
        office.quiet().await;
    }
    let mails = office.mails();
    assert_eq!(mails.len(), 8);
    for (to, mail) in &mails {
        assert_eq!(mail.defects, [] as [&str; 0], "{mail:#?}");
        for (header, _) in &mail.headers {
            assert!(HEADERS.iter().any(|known| known.eq_ignore_ascii_case(header)), "{header}: {mail:#?}");
        }
        assert_eq!(mail.header("To"), to);
        assert_eq!(mail.header("From"), "Saldo <saldo@example.org>");
        assert!(!mail.html.contains("<script>") && !mail.html.contains("<img"), "{}", mail.html);
    }
    let staff: Vec<_> = mails.iter().filter(|(to, _)| to == "ada@shop.example").collect();
    for ((_, mail), name) in staff.iter().zip(names) {
        for part in name.split(['\u{202e}', '\u{2066}']) {
            assert!(mail.text.contains(part), "no {part:?} in {}", mail.text);
        }
        for line in ["line one", "Bcc: evil@evil.example", "<img src=x onerror=alert(1)>"] {
            assert!(mail.text.contains(line), "no {line:?} in {}", mail.text);
        }
        assert!(mail.text.contains(long.trim_end().get(..300).unwrap()), "the note is whole: {}", mail.text);
        assert!(mail.html.contains("&lt;img src=x onerror=alert(1)&gt;"), "{}", mail.html);
    }
}

/// The contract lets none of this in; the mail would be right all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_books_against_all_rules_breaks_no_mail() {
    let office = Office::with(telling(MERCHANT, &["ada@shop.example"], &[]), &[("anna", "1000.00")]).await;
    let name = "Anna\r\nBcc: evil@evil.example\r\n\r\n<b>";
    sqlx::query("UPDATE customer SET name = $1 WHERE id = 'anna'")
        .bind(name)
        .execute(&mut office.shop.world.superuser().await)
        .await
        .unwrap();
    office.asks("w-1", "anna").await;
    let _notifier = office.notifier().await;
    office.server.wait_mails(1).await;
    let (_, mail) = &office.mails()[0];
    assert_eq!(mail.defects, [] as [&str; 0]);
    for (header, value) in &mail.headers {
        assert!(HEADERS.iter().any(|known| known.eq_ignore_ascii_case(header)), "{header}: {mail:#?}");
        assert!(!value.contains(['\r', '\n']), "{header}: {value:?}");
    }
    assert!(mail.text.contains("Bcc: evil@evil.example"), "shown, as text: {}", mail.text);
    assert!(mail.html.contains("&lt;b&gt;"), "{}", mail.html);
}
