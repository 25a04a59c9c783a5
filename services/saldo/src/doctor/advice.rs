//! What to do, by the kind of what went wrong: by variants and SQLSTATE, never by an error's words. Pure.

use std::borrow::Cow;

use sqlx::error::DatabaseError;
use worker::broker::BrokerError;
use worker::management::ManagementError;

use crate::ledger_access::LedgerError;

/// Something to be done on the broker's machine.
pub(super) fn rabbitmqctl(arguments: &str) -> String {
    format!("rabbitmqctl {arguments} (as root on the broker's machine)")
}

/// Something to be done with SQL by somebody who may.
pub(super) fn as_superuser(statements: &str) -> String {
    format!("as a superuser: {statements}")
}

/// The same as the schema's owner, who cannot log in.
pub(super) fn as_owner(statements: &str) -> String {
    as_superuser(&format!("SET ROLE {}; {statements}", ledger::privileges::OWNER))
}

/// Why the management API cannot be asked at all.
pub(super) fn unreached(error: &ManagementError) -> Cow<'static, str> {
    match error {
        ManagementError::Forbidden(_) => {
            "see whether user and password of broker.management_url are right, and whether the \
                                          user has the tag administrator (rabbitmqctl set_user_tags)"
                .into()
        }
        _ => management(error),
    }
}

/// Why one question was not answered, where others are.
pub(super) fn management(error: &ManagementError) -> Cow<'static, str> {
    match error {
        ManagementError::Url(_) => "correct it in the environment or in the file of --config".into(),
        ManagementError::Tls(_) => {
            "let broker.management_url name the host that the certificate is for, and broker.ca_file the authority that \
             signed it; http:// is for a port without TLS"
                .into()
        }
        ManagementError::Unreachable(_) => {
            "see whether RabbitMQ runs, whether its management plugin is on (rabbitmq-plugins enable rabbitmq_management), and \
             whether host and port of broker.management_url are right"
                .into()
        }
        ManagementError::Silent => {
            "see whether a firewall drops what goes to host and port of broker.management_url, and how busy the broker is".into()
        }
        ManagementError::Garbled(_) => {
            "let broker.management_url lead to RabbitMQ's management plugin, usually port 15672, or 15671 with TLS".into()
        }
        ManagementError::Forbidden(_) => {
            "let broker.management_url log in as a user with the tag administrator (rabbitmqctl set_user_tags) and permissions in \
             the virtual host of broker.url"
                .into()
        }
        ManagementError::NoVhost(vhost) => format!(
            "correct the virtual host of broker.url, or make it: {}, then saldo topology apply",
            rabbitmqctl(&format!("add_vhost {vhost}"))
        )
        .into(),
        ManagementError::Unexpected { status, .. } if status.as_u16() == NOT_FOUND => {
            "see whether broker.management_url has the path under which the plugin is served (management.path_prefix), and \
             whether the virtual host of broker.url exists"
                .into()
        }
        ManagementError::Refused { .. } | ManagementError::Unexpected { .. } => {
            "see in RabbitMQ's log what happened, and run saldo doctor again".into()
        }
    }
}

const NOT_FOUND: u16 = 404;

/// Why there is no connection to the broker.
pub(super) fn broker(error: &BrokerError) -> &'static str {
    match error {
        BrokerError::Login(_) => {
            "see whether user and password of broker.url are right; guest may log in from the broker's own machine only"
        }
        BrokerError::NoEntry(_) => {
            "see whether the virtual host of broker.url exists (the one called / is written %2f), whether the user has \
             permissions there (rabbitmqctl list_permissions), and whether it takes more connections (list_vhost_limits)"
        }
        BrokerError::Tls(_) => {
            "let broker.url name the host that the certificate is for, and broker.ca_file the authority that signed it; amqp:// \
             is for a port without TLS"
        }
        BrokerError::Silent { .. } => {
            "see whether a firewall drops what goes to host and port of broker.url, and whether RabbitMQ is short of memory or disk"
        }
        _ => "see whether RabbitMQ runs, and whether host and port of broker.url are right",
    }
}

/// Why there is no connection to the database.
pub(super) fn database(error: &LedgerError) -> &'static str {
    match error {
        LedgerError::Tls(_) => {
            "let database.url name the host that the certificate is for, and database.ca_file the authority that signed it"
        }
        LedgerError::Refused(error) => {
            let code = error.as_database_error().and_then(DatabaseError::code);
            sqlstate(code.as_deref().unwrap_or_default())
        }
        LedgerError::Silent => {
            "see whether a firewall drops what goes to host and port of database.url, and how busy PostgreSQL is"
        }
        _ => "see whether PostgreSQL runs, and whether host and port of database.url are right",
    }
}

/// Why the database refuses a session (appendix A of its documentation).
fn sqlstate(code: &str) -> &'static str {
    match code {
        "28P01" => "see whether role and password of database.url are right (ALTER ROLE … PASSWORD)",
        "28000" => {
            "see whether the role of database.url exists and may log in, and whether pg_hba.conf lets it in from here"
        }
        "3D000" => "see whether the database that database.url names is there (createdb), then saldo migrate",
        "42501" => "let the role of database.url into the database: GRANT CONNECT ON DATABASE … TO …",
        "53300" => "raise max_connections, or find out in pg_stat_activity who has so many",
        "57P03" => "wait until PostgreSQL has started or recovered, and run saldo doctor again",
        _ => "see in PostgreSQL's log what happened",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_refusal_has_advice_of_its_own() {
        let codes = ["28P01", "28000", "3D000", "42501", "53300", "57P03", "XX000"];
        let advice: std::collections::BTreeSet<_> = codes.map(sqlstate).into();
        assert_eq!(advice.len(), codes.len());

        let status = |code: u16| code.try_into().unwrap();
        let unexpected =
            |code| ManagementError::Unexpected { object: "a thing".to_owned(), status: status(code) };
        let tag = ManagementError::Forbidden(status(401));
        for (advice, says) in [
            (unreached(&tag), "user and password"),
            (management(&tag), "with the tag administrator"),
            (unreached(&ManagementError::Silent), "firewall"),
            (management(&ManagementError::Tls(String::new())), "broker.ca_file"),
            (management(&ManagementError::NoVhost("eu".to_owned())), "rabbitmqctl add_vhost eu"),
            (management(&unexpected(404)), "management.path_prefix"),
            (management(&unexpected(500)), "RabbitMQ's log"),
        ] {
            assert!(advice.contains(says), "{advice}");
        }
        // A user is not told that it lacks a tag where nobody has asked it for one.
        for error in [unexpected(500), unexpected(404), ManagementError::Silent] {
            assert!(!management(&error).contains("administrator"), "{error}");
        }
        let silent = BrokerError::Silent { after: std::time::Duration::from_secs(1), blocked: false };
        assert!(broker(&silent).contains("firewall") && broker(&BrokerError::Unconfirmed).contains("runs"));
        assert!(
            database(&LedgerError::Silent).contains("firewall")
                && database(&LedgerError::Url).contains("runs")
        );
    }
}
