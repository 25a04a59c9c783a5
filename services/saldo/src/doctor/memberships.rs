//! Who acts for whom in the database: Saldo's own roles are members of none, and every login is a member of the one that it
//! works for. Pure; a login that comes by a role over others counts as one that has it.

use std::collections::BTreeSet;

use ledger::inspect::{Member, RoleState};
use ledger::privileges::{self, OPERATOR, OWNER, ROLES, TREASURER};

use super::advice::as_superuser;
use super::finding::Finding;
use super::roles::ABOUT;

/// How the names of roles begin that come with the server, and can do a lot.
const PREDEFINED: &str = "pg_";

fn is_worker(name: &str) -> bool {
    privileges::is_role(name) && name != OPERATOR && name != TREASURER
}

/// The roles of Saldo's that somebody acts for: not those that it comes by because one of them is a member of another, which is
/// a finding of that one's.
fn acts_for<'a>(name: &str, members: &'a [Member]) -> Vec<&'a Member> {
    let is_member =
        |of: &str, name: &str| members.iter().any(|member| member.role == of && member.name == name);
    let own = |member: &&Member| {
        let over_another = |(role, _): &(&str, _)| is_member(&member.role, role) && is_member(role, name);
        member.name == name && privileges::is_role(&member.role) && !ROLES.iter().any(over_another)
    };
    members.iter().filter(own).collect()
}

/// What is wrong with memberships.
pub(super) fn judge(roles: &[RoleState], members: &[Member]) -> Vec<Finding> {
    let mut bad = Vec::new();
    for role in roles {
        if privileges::is_role(&role.name) {
            bad.extend(judge_service(role));
        } else {
            bad.extend(judge_session(role, members));
        }
    }
    let logins = members.iter().filter(|member| member.logs_in && !privileges::is_role(&member.name));
    let names: BTreeSet<_> = logins.map(|login| login.name.as_str()).collect();
    bad.extend(names.into_iter().filter_map(|name| judge_login(name, members)));
    bad
}

fn judge_service(RoleState { name, member_of, .. }: &RoleState) -> Option<Finding> {
    let granted = member_of.join(", ");
    (!member_of.is_empty()).then(|| {
        Finding::bad(
            ABOUT,
            format!("{name} is a member of {granted}, and so may whatever that may"),
            as_superuser(&format!("REVOKE {granted} FROM {name};")),
        )
    })
}

/// The login of `database.url`, if it is none of Saldo's roles.
fn judge_session(role: &RoleState, members: &[Member]) -> Vec<Finding> {
    let RoleState { name, attributes, member_of, .. } = role;
    let mut bad = Vec::new();
    let has = |of: &str| members.iter().any(|member| member.role == of && member.name == *name);
    let mut more: Vec<_> =
        member_of.iter().map(String::as_str).filter(|of| of.starts_with(PREDEFINED)).collect();
    if has(OWNER) {
        more.push(OWNER);
    }
    if !more.is_empty() {
        let more = more.join(", ");
        bad.push(Finding::bad(
            ABOUT,
            format!("database.url logs in as {name}, who is a member of {more}: more than anybody needs to look after Saldo"),
            "let database.url log in as saldo_operator, or as a member of it alone",
        ));
    }
    if attributes.is_empty() && more.is_empty() && acts_for(name, members).is_empty() {
        bad.push(Finding::bad(
            ABOUT,
            format!("database.url logs in as {name}, which is none of Saldo's roles"),
            format!(
                "let it log in as saldo_operator, or {}",
                as_superuser(&format!("GRANT saldo_operator TO {name};"))
            ),
        ));
    }
    bad
}

/// Whoever works as a worker works as nobody else. A person may look after it and see payout details.
fn judge_login(name: &str, members: &[Member]) -> Option<Finding> {
    let roles = acts_for(name, members);
    let works = roles.iter().any(|member| is_worker(&member.role));
    if !works || roles.len() < 2 {
        return None;
    }
    let revokes = roles.iter().map(|member| {
        if member.direct {
            format!("REVOKE {} FROM {name};", member.role)
        } else {
            format!("REVOKE {} from the role by which {name} has it;", member.role)
        }
    });
    let revokes = revokes.collect::<Vec<_>>().join(" or ");
    let names: Vec<_> = roles.iter().map(|member| member.role.as_str()).collect();
    Some(Finding::bad(
        ABOUT,
        format!("{name} is a member of {}: each service has a login of its own", names.join(" and ")),
        format!("leave it one of them, {}", as_superuser(&revokes)),
    ))
}

/// Who logs in as a role: the role itself, if it can, and its members.
fn logins<'a>(role: &'a str, roles: &[RoleState], members: &'a [Member]) -> Vec<&'a str> {
    let itself = roles.iter().any(|state| state.name == role && state.logs_in).then_some(role);
    let others = members
        .iter()
        .filter(|member| member.role == role && member.logs_in && !privileges::is_role(&member.name));
    itself.into_iter().chain(others.map(|member| member.name.as_str())).collect()
}

/// Who logs in as which role, as far as that needs to be said.
pub(super) fn list(roles: &[RoleState], members: &[Member]) -> Vec<Finding> {
    let people =
        [(TREASURER, ", who sees payout details in clear"), (OPERATOR, ""), (OWNER, ", who migrates")];
    let workers = ROLES.iter().map(|(role, _)| (*role, "")).filter(|(role, _)| is_worker(role));
    let told = people.into_iter().chain(workers).filter_map(|(role, what)| {
        let logins = logins(role, roles, members);
        let alone = logins.iter().all(|login| *login == role);
        if logins.is_empty() {
            return (role != OWNER).then(|| Finding::good(ABOUT, format!("nobody logs in as {role}{what}")));
        }
        (!alone || !is_worker(role))
            .then(|| Finding::good(ABOUT, format!("as {role}{what}: {}", logins.join(", "))))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn role(name: &str, member_of: &[&str]) -> RoleState {
        RoleState {
            name: name.to_owned(),
            member_of: member_of.iter().map(|of| (*of).to_owned()).collect(),
            logs_in: true,
            enters: true,
            ..RoleState::default()
        }
    }

    fn services() -> Vec<RoleState> {
        ROLES.iter().map(|(name, _)| role(name, &[])).collect()
    }

    fn member(of: &str, name: &str) -> Member {
        Member { role: of.to_owned(), name: name.to_owned(), logs_in: true, direct: true }
    }

    fn told(findings: &[Finding]) -> Vec<String> {
        let one = |finding: &Finding| match &finding.advice {
            Some(advice) => format!("{} → {advice}", finding.what),
            None => finding.what.clone(),
        };
        findings.iter().map(one).collect()
    }

    #[test]
    fn people_and_workers_with_logins_of_their_own_are_listed() {
        let members = [
            member(OWNER, "admin"),
            member("saldo_commissions", "eu_commissions"),
            member(OPERATOR, "otto"),
            // A person may look after it and see payout details.
            member(OPERATOR, "maria"),
            member(TREASURER, "maria"),
        ];
        assert_eq!(judge(&services(), &members), []);
        let listed = list(&services(), &members);
        assert!(listed.iter().all(|finding| finding.state == State::Good));
        assert_eq!(
            told(&listed),
            [
                "as saldo_treasurer, who sees payout details in clear: saldo_treasurer, maria",
                "as saldo_operator: saldo_operator, otto, maria",
                "as saldo_owner, who migrates: admin",
                "as saldo_commissions: saldo_commissions, eu_commissions",
            ]
        );
    }

    #[test]
    fn a_service_that_is_a_member_of_another_role_is_one_finding() {
        let roles = [role("saldo_commissions", &[OWNER])];
        // Its own login comes by the owner over it.
        let members =
            [member(OWNER, "saldo_commissions"), member("saldo_commissions", "eu"), member(OWNER, "eu")];
        assert_eq!(
            told(&judge(&roles, &members)),
            ["saldo_commissions is a member of saldo_owner, and so may whatever that may → \
              as a superuser: REVOKE saldo_owner FROM saldo_commissions;"]
        );
    }

    #[test]
    fn a_login_of_two_services_is_told_and_not_for_what_comes_of_another_finding() {
        let two = [member("saldo_commissions", "eu"), member("saldo_withdrawals", "eu")];
        assert_eq!(
            told(&judge(&services(), &two)),
            [
                "eu is a member of saldo_commissions and saldo_withdrawals: each service has a login of its own → leave it \
              one of them, as a superuser: REVOKE saldo_commissions FROM eu; or REVOKE saldo_withdrawals FROM eu;"
            ]
        );
        let over = [
            member("saldo_withdrawals", "saldo_commissions"),
            member("saldo_commissions", "eu"),
            member("saldo_withdrawals", "eu"),
        ];
        assert_eq!(judge(&services(), &over), []);
        let group = Member { direct: false, ..member(OPERATOR, "eu") };
        let found = told(&judge(&services(), &[member("saldo_commissions", "eu"), group]));
        assert!(found[0].contains("REVOKE saldo_operator from the role by which eu has it"), "{found:?}");
    }

    #[test]
    fn who_database_url_logs_in_as_has_one_of_the_roles_and_not_the_owners() {
        let judged = |name: &str, members: &[Member], member_of: &[&str]| {
            told(&judge(&[role(name, member_of)], members))
        };
        assert_eq!(judged("maria", &[member(OPERATOR, "maria")], &[OPERATOR, "staff"]), Vec::<String>::new());
        let stranger = judged("maria", &[], &[]);
        assert!(
            stranger[0].contains(
                "none of Saldo's roles → let it log in as saldo_operator, or as a superuser: GRANT"
            )
        );
        let owner = judged("maria", &[member(OPERATOR, "maria"), member(OWNER, "maria")], &[OPERATOR, OWNER]);
        assert!(owner.len() == 1 && owner[0].contains("is a member of saldo_owner"), "{owner:?}");
        let reader = judged("maria", &[member(OPERATOR, "maria")], &[OPERATOR, "pg_read_all_data"]);
        assert!(reader.len() == 1 && reader[0].contains("pg_read_all_data"), "{reader:?}");
    }
}
