//! The broker: whether it can be reached, its version and nodes, the topology, and who consumes.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;
use worker::broker::{Address, Purpose, connect as connect_to};
use worker::management::{
    ConnectionState, Difference, Management, ManagementError, Node, QueueState, Remedy,
};
use worker::topology::{self, Limits, Topology};

use super::advice;
use super::configuration::NOT_SET;
use super::finding::Finding;
use crate::output::{self, counted};
use crate::settings::BROKER_TIMEOUT;

pub(super) const ABOUT: &str = "broker";
pub(super) const TOPOLOGY: &str = "topology";
pub(super) const ALARMS: &str = "alarms";
pub(super) const QUEUES: &str = "queues";
pub(super) const CONSUMERS: &str = "consumers";

/// What is the matter with a queue for longer than this is no election, and no dead letter on its way: statistics are 5 s old.
const PASSING: Duration = Duration::from_secs(6);

/// The oldest version with all that Saldo uses: at-least-once dead-lettering.
const OLDEST: (u32, u32) = (3, 10);

/// Above this share of its file descriptors, in percent, a node soon takes no connections.
const FULL_PERCENT: u64 = 80;

/// Over AMQP, as the commands of this program connect.
pub(super) async fn connect(address: Result<&Address, &&'static str>) -> Vec<Finding> {
    let address = match address {
        Ok(address) => address,
        Err(because) => return vec![Finding::unseen(ABOUT, because)],
    };
    match connect_to(address, "saldo doctor", Purpose::Publish, BROKER_TIMEOUT).await {
        Ok(connection) => {
            // It is gone with this process anyway.
            let _ = connection.close(0, "done".into()).await;
            vec![Finding::good(ABOUT, format!("lets {} of broker.url in", address.user()))]
        }
        Err(error) => vec![Finding::bad(ABOUT, output::chain(&error), advice::broker(&error))],
    }
}

/// Through the management API; which is returned where it answers, for who has further questions, or why it does not.
pub(super) async fn look(
    management: Result<Management, &'static str>,
) -> (Vec<Finding>, Result<Management, &'static str>) {
    let (first, because) = match management {
        Ok(management) => match management.version().await {
            Ok(version) => {
                let mut findings = vec![judge_version(&version)];
                findings.extend(look_further(&management).await);
                return (findings, Ok(management));
            }
            Err(error) => (
                Finding::bad(ABOUT, output::chain(&error), advice::unreached(&error)),
                "there is no answer from the management API",
            ),
        },
        Err(NOT_SET) => (
            Finding::unknown(
                ABOUT,
                format!("management API not asked: {NOT_SET}"),
                "set it, as a user with the tag administrator; or leave out what it would tell, with --skip",
            ),
            NOT_SET,
        ),
        // What is wrong with it is a finding already.
        Err(because) => (Finding::unseen(ABOUT, because), because),
    };
    let unseen = [ALARMS, TOPOLOGY, QUEUES, CONSUMERS].map(|about| Finding::unseen(about, because));
    (std::iter::once(first).chain(unseen).collect(), Err(because))
}

async fn look_further(management: &Management) -> Vec<Finding> {
    let mut findings = match management.nodes().await {
        Ok(nodes) => match management.connections().await {
            Ok(connections) => judge_nodes(&nodes, &connections),
            Err(error) => vec![unanswered(ALARMS, &error)],
        },
        Err(error) => vec![unanswered(ALARMS, &error)],
    };
    let topology = Topology::new(Limits::default());
    match management.check(&topology).await {
        Ok(differences) => match management.foreign_ways(&topology).await {
            Ok(foreign) => findings.extend(judge_topology(&differences, &foreign)),
            Err(error) => findings.push(unanswered(TOPOLOGY, &error)),
        },
        Err(error @ ManagementError::NoVhost(_)) => {
            findings.push(Finding::bad(TOPOLOGY, output::chain(&error), advice::management(&error)));
            let unseen =
                [QUEUES, CONSUMERS].map(|about| Finding::unseen(about, "there is no such virtual host"));
            findings.extend(unseen);
            return findings;
        }
        Err(error) => findings.push(unanswered(TOPOLOGY, &error)),
    }
    findings.extend(look_at_queues(management).await);
    findings
}

async fn look_at_queues(management: &Management) -> Vec<Finding> {
    match two_looks(management).await {
        Ok((first, second)) => [judge_queues(&first, &second), judge_consumers(&second)].concat(),
        Err(error) => [QUEUES, CONSUMERS].map(|about| unanswered(about, &error)).into(),
    }
}

/// At the workers' queues; the second look is the first, where nothing is the matter that may pass.
async fn two_looks(management: &Management) -> Result<(Vec<QueueState>, Vec<QueueState>), ManagementError> {
    let first = workers_queues(management).await?;
    if !first.iter().any(is_in_trouble) {
        return Ok((first.clone(), first));
    }
    sleep(PASSING).await;
    Ok((first, workers_queues(management).await?))
}

async fn workers_queues(management: &Management) -> Result<Vec<QueueState>, ManagementError> {
    let mut queues = management.queues().await?;
    queues.retain(|queue| topology::workers().any(|worker| topology::queue(worker) == queue.name));
    Ok(queues)
}

/// What a login without enough rights, or a broker that is going down, makes of a question.
pub(super) fn unanswered(about: &'static str, error: &ManagementError) -> Finding {
    Finding::unknown(about, format!("not looked at: {}", output::chain(error)), advice::management(error))
}

fn judge_version(version: &str) -> Finding {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if (major, minor) < OLDEST {
        let (major, minor) = OLDEST;
        let what = format!("RabbitMQ {version} is older than {major}.{minor}, which Saldo needs");
        return Finding::bad(ABOUT, what, "upgrade RabbitMQ");
    }
    Finding::good(ABOUT, format!("RabbitMQ {version}"))
}

fn judge_nodes(nodes: &[Node], connections: &[ConnectionState]) -> Vec<Finding> {
    let mut bad = Vec::new();
    for node in nodes {
        let name = &node.name;
        let mut add = |what: String, advice: &str| bad.push(Finding::bad(ALARMS, what, advice));
        if !node.running {
            add(format!("node {name} does not run"), "start it, or take it out of the cluster");
            continue;
        }
        if node.mem_alarm {
            add(
                format!("node {name} is short of memory, and takes no messages from anybody"),
                "see with saldo queues what fills it; give it more memory, or raise vm_memory_high_watermark",
            );
        }
        if node.disk_free_alarm {
            add(
                format!("node {name} is short of disk space, and takes no messages from anybody"),
                "make room where its data is, or lower disk_free_limit",
            );
        }
        if !node.partitions.is_empty() {
            add(
                format!("node {name} has lost sight of {}", node.partitions.join(", ")),
                "mend the network between them, and restart the smaller side",
            );
        }
        if node.fd_total > 0 && node.fd_used * 100 > node.fd_total * FULL_PERCENT {
            add(
                format!("node {name} uses {} of {} file descriptors", node.fd_used, node.fd_total),
                "raise its limit (LimitNOFILE), or find out who opens so many connections",
            );
        }
    }
    let blocked: Vec<_> =
        connections.iter().filter(|connection| connection.state.starts_with("block")).collect();
    if !blocked.is_empty() {
        let users: BTreeSet<_> = blocked.iter().map(|connection| connection.user.as_str()).collect();
        let users = users.into_iter().collect::<Vec<_>>().join(", ");
        let are = if blocked.len() == 1 { "is" } else { "are" };
        bad.push(Finding::bad(
            ALARMS,
            format!("{} {are} blocked, of {users}", counted(blocked.len(), "connection")),
            "they go on when the alarm is over",
        ));
    }
    let all = [counted(nodes.len(), "node"), counted(connections.len(), "connection")].join(", ");
    Finding::all_or(bad, ALARMS, format!("none; {all}"))
}

fn judge_topology(differences: &[Difference], foreign: &[Difference]) -> Vec<Finding> {
    let bad = differences.iter().chain(foreign).map(|difference| match difference.remedy {
        Remedy::Apply => Finding::bad(TOPOLOGY, difference.to_string(), "saldo topology apply"),
        Remedy::Remake => Finding::bad(
            TOPOLOGY,
            difference.to_string(),
            "its arguments are fixed: when it is empty and nobody uses it, delete it, then saldo topology apply",
        ),
        Remedy::Yield => Finding::bad(
            TOPOLOGY,
            difference.to_string(),
            "lower the priority of the policy that is not Saldo's, or narrow its pattern; operator policies count, too",
        ),
        Remedy::Remove => Finding::bad(
            TOPOLOGY,
            format!("{difference}: what comes that way passes by topic permissions"),
            "find out who made it, and remove it in the management pages",
        ),
    });
    Finding::all_or(bad.collect(), TOPOLOGY, "exchanges, queues, bindings and policies are as they should be")
}

fn is_in_trouble(queue: &QueueState) -> bool {
    !queue.has_leader || queue.handing_on > 0
}

/// What is the matter with the workers' queues in both looks.
fn judge_queues(first: &[QueueState], second: &[QueueState]) -> Vec<Finding> {
    let mut bad = Vec::new();
    for queue in second.iter().filter(|queue| is_in_trouble(queue)) {
        let name = &queue.name;
        let Some(before) = first.iter().find(|before| before.name == *name) else { continue };
        if !queue.has_leader && !before.has_leader {
            bad.push(Finding::bad(
                QUEUES,
                format!("{name} has no leader: it takes nothing, gives nothing, and nacks what is published to it"),
                "start the nodes that keep it; if they run, RabbitMQ's log says why: where it names rabbit_fifo_dlx_sup, \
                 see ARCHITECTURE.md, \"a dead letter that the broker dies of\"",
            ));
        } else if before.handing_on > 0 && queue.handing_on >= before.handing_on {
            bad.push(Finding::bad(
                QUEUES,
                format!("{name} cannot hand on {}", counted(usize::try_from(queue.handing_on).unwrap_or(usize::MAX), "dead letter")),
                "saldo topology apply, if something is missing; otherwise RabbitMQ's log says why: where it names \
                 rabbit_fifo_dlx_worker, see ARCHITECTURE.md, \"a dead letter that the broker dies of\"",
            ));
        }
    }
    if second.is_empty() {
        return vec![Finding::unseen(QUEUES, "there are none")];
    }
    Finding::all_or(bad, QUEUES, "each worker's has a leader, and has handed on its dead letters")
}

fn judge_consumers(queues: &[QueueState]) -> Vec<Finding> {
    let (found, missing): (Vec<_>, Vec<_>) = topology::workers()
        .partition(|worker| queues.iter().any(|queue| queue.name == topology::queue(worker)));
    // One that is missing is the topology's finding.
    let missing = (!missing.is_empty()).then(|| Finding::unseen(CONSUMERS, "queues are missing"));
    let bad = found.iter().filter_map(|worker| {
        let name = topology::queue(worker);
        let queue = queues.iter().find(|queue| queue.name == name)?;
        (queue.consumers == 0).then(|| {
            Finding::bad(
                CONSUMERS,
                format!("nobody consumes {name}, in which {} wait", queue.ready),
                format!(
                    "start {worker}; if it runs, look again in 10 s, since the broker counts late, and then at its log and \
                     /readyz, which say what it waits for"
                ),
            )
        })
    });
    let bad: Vec<_> = bad.chain(missing).collect();
    Finding::all_or(bad, CONSUMERS, "each worker's queue has one")
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn bad(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .filter(|finding| finding.state == State::Bad)
            .map(|finding| finding.what.as_str())
            .collect()
    }

    fn node() -> Node {
        Node { name: "rabbit@a".to_owned(), running: true, fd_used: 10, fd_total: 100, ..Node::default() }
    }

    #[test]
    fn versions_are_numbers() {
        for (version, state) in
            [("3.10.8", State::Good), ("4.0.1", State::Good), ("3.9.29", State::Bad), ("3.8", State::Bad)]
        {
            assert_eq!(judge_version(version).state, state, "{version}");
        }
    }

    #[test]
    fn alarms_lost_nodes_and_blocked_connections_are_told() {
        assert!(bad(&judge_nodes(&[node()], &[])).is_empty());
        for (node, says) in [
            (Node { mem_alarm: true, ..node() }, "short of memory"),
            (Node { disk_free_alarm: true, ..node() }, "short of disk space"),
            (Node { running: false, ..node() }, "does not run"),
            (Node { partitions: vec!["rabbit@b".to_owned()], ..node() }, "lost sight of rabbit@b"),
            (Node { fd_used: 81, ..node() }, "uses 81 of 100 file descriptors"),
        ] {
            let findings = judge_nodes(&[node], &[]);
            let bad = bad(&findings);
            assert!(bad.len() == 1 && bad[0].contains(says), "{bad:?}");
        }
        let blocked = ConnectionState { user: "shop".to_owned(), state: "blocked".to_owned() };
        let running = ConnectionState { state: "running".to_owned(), ..blocked.clone() };
        assert_eq!(
            bad(&judge_nodes(&[node()], &[blocked.clone(), running, blocked])),
            ["2 connections are blocked, of shop"]
        );
        let one = ConnectionState { user: "shop".to_owned(), state: "blocking".to_owned() };
        assert_eq!(bad(&judge_nodes(&[node()], &[one])), ["1 connection is blocked, of shop"]);
    }

    #[test]
    fn a_difference_comes_with_what_mends_it() {
        let advice = |remedy| {
            let difference = Difference {
                object: "queue saldo.commissions".to_owned(),
                problem: "is missing".to_owned(),
                remedy,
            };
            judge_topology(&[], &[difference])[0].advice.clone().unwrap()
        };
        assert_eq!(advice(Remedy::Apply), "saldo topology apply");
        assert!(advice(Remedy::Remake).contains("delete it"));
        assert!(advice(Remedy::Yield).contains("priority"));
        assert!(advice(Remedy::Remove).contains("remove it"));
    }

    #[test]
    fn a_queue_without_a_leader_or_that_keeps_its_dead_letters_is_told_unless_it_passes() {
        let queue = |has_leader, handing_on| QueueState {
            name: topology::queue("commissions"),
            has_leader,
            handing_on,
            consumers: 1,
            ..QueueState::default()
        };
        for (first, second, says) in [
            ((true, 0), (true, 0), None),
            ((false, 0), (true, 0), None),
            ((true, 3), (true, 2), None),
            ((true, 0), (true, 2), None),
            ((false, 0), (false, 0), Some("saldo.commissions has no leader")),
            ((true, 1), (true, 1), Some("saldo.commissions cannot hand on 1 dead letter")),
            ((true, 1), (true, 4), Some("saldo.commissions cannot hand on 4 dead letters")),
        ] {
            let findings = judge_queues(&[queue(first.0, first.1)], &[queue(second.0, second.1)]);
            let bad = bad(&findings);
            assert_eq!(bad.len(), usize::from(says.is_some()), "{first:?} {second:?}: {bad:?}");
            assert!(says.is_none_or(|says| bad[0].starts_with(says)), "{bad:?}");
        }
    }

    #[test]
    fn queues_that_are_missing_have_no_consumers_and_are_not_well() {
        let own = |worker: &str| QueueState {
            name: topology::queue(worker),
            has_leader: true,
            consumers: 2,
            ..QueueState::default()
        };
        let all: Vec<_> = topology::workers().map(own).collect();
        assert!(judge_consumers(&all).iter().all(|finding| finding.state == State::Good));
        for some in [&all[..0], &all[1..]] {
            let findings = judge_consumers(some);
            assert!(findings.iter().all(|finding| finding.state == State::Unknown), "{findings:?}");
        }
        assert!(judge_queues(&[], &[]).iter().all(|finding| finding.state == State::Unknown));
        let idle = QueueState { consumers: 0, ..own("commissions") };
        assert!(bad(&judge_consumers(&[idle])).concat().contains("nobody consumes saldo.commissions"));
    }
}
