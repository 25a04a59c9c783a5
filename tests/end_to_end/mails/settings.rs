//! A notifier with wrong settings.

use tests::{PATIENCE, WorkerBuilder, World};

/// It ends at once with these problems, all of them and each once, and without these secrets.
async fn refuses(builder: &WorkerBuilder, settings: &[&str], secrets: &[&str]) {
    let mut notifier = builder.start();
    let status = notifier.ended(PATIENCE).await;
    let log = notifier.log();
    assert_eq!(status.code(), Some(1), "{log}");
    for setting in settings {
        assert_eq!(log.matches(&format!("- {setting}: ")).count(), 1, "{setting} in:\n{log}");
    }
    assert_eq!(log.matches("the settings are not usable").count(), 1, "{log}");
    assert_eq!(log.lines().count(), settings.len() + 1, "one message:\n{log}");
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} in:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_end_a_notifier_at_once_and_are_all_listed_without_secrets() {
    let world = World::without_broker().await;
    let wrong = [
        ("BROKER__URL", "amqp//user:broker-secret@host"),
        ("DATABASE__URL", "mysql://user:database-secret@host/saldo"),
        ("MAIL__HOST", "smtps://user:host-secret@mail.example:465"),
        ("MAIL__PORT", "0"),
        ("MAIL__TLS", "ssl"),
        ("MAIL__CA_FILE", "/nowhere/ca.pem"),
        ("MAIL__PASSWORD", "mail-secret"),
        ("MAIL__HELLO_NAME", "not a name"),
        ("MAIL__FROM", "Saldo"),
        ("MAIL__REPLY_TO", "help@"),
        ("MAIL__LINK", "javascript:alert({withdrawal})"),
        ("MAIL__TIME_ZONE", "Moon/Tycho"),
        ("MAIL__CONNECTIONS", "0"),
        ("MAIL__MERCHANT_CONNECTIONS", "all"),
        ("MAIL__TIMEOUT", "soon"),
        ("MAIL__RETRY_MIN", "30m"),
        ("MAIL__RETRY_MAX", "1m"),
        ("MAIL__GIVE_UP_AFTER", "never"),
        ("MAIL__PROBE_INTERVAL", "0s"),
        ("MAIL__CHECK_INTERVAL", "1 fortnight"),
        ("MAIL__INTERVAL", "1"),
        ("MAIL__PER_MINUTE", "0"),
        ("MAIL__MERCHANT_PER_MINUTE", "-1"),
        ("DIGEST__AFTER", "0"),
        ("DIGEST__WINDOW", "ten minutes"),
        ("DIGEST__MOST", "1000000"),
        ("NOTICES__AGE", "old"),
        ("NOTICES__WINDOW", "9999d"),
        ("MAIL__PASWORD", "stray-secret"),
    ];
    let mut builder = world.worker_of("notifier");
    for (name, value) in wrong {
        builder.set(&format!("SALDO__{name}"), value);
    }
    // It is the first pause that is too long for the longest, and the user that is missing.
    let listed: Vec<_> = wrong
        .map(|(name, _)| name.to_lowercase().replace("__", "."))
        .into_iter()
        .filter(|name| name != "mail.retry_max")
        .map(|name| if name == "mail.password" { "mail.user".to_owned() } else { name })
        .collect();
    let listed: Vec<_> = listed.iter().map(String::as_str).collect();
    let secrets = ["broker-secret", "database-secret", "host-secret", "mail-secret", "stray-secret"];
    refuses(&builder, &listed, &secrets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_notifier_cannot_do_without_is_asked_for() {
    let world = World::without_broker().await;
    refuses(&world.worker_of("notifier"), &["mail.host", "mail.from"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_would_be_sent_in_clear_is_refused_and_not_shown() {
    let world = World::without_broker().await;
    let mut builder = world.worker_of("notifier");
    builder
        .set("SALDO__MAIL__HOST", "mail.example.org")
        .set("SALDO__MAIL__TLS", "none")
        .set("SALDO__MAIL__FROM", "saldo@example.org")
        .set("SALDO__MAIL__USER", "user-secret@example.org")
        .set("SALDO__MAIL__PASSWORD", "mail-secret");
    refuses(&builder, &["mail.password"], &["user-secret", "mail-secret"]).await;
}
