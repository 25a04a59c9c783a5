//! The broker: whether it can be reached, its version and nodes, the topology, and who consumes.

use worker::broker::{Address, Purpose, connect as connect_to};
use worker::management::{ConnectionState, Difference, Management, ManagementError, Node, QueueState};
use worker::topology::{self, Limits, Topology};

use super::finding::Finding;
use crate::output;
use crate::settings::BROKER_TIMEOUT;

const ABOUT: &str = "broker";
const TOPOLOGY: &str = "topology";
const ALARMS: &str = "alarms";
const CONSUMERS: &str = "consumers";

/// The oldest version with all that Saldo uses: at-least-once dead-lettering.
const OLDEST: (u32, u32) = (3, 10);

/// Above this share of its file descriptors, in percent, a node soon takes no connections.
const FULL_PERCENT: u64 = 80;

/// Over AMQP, as the commands of this program connect.
pub(super) async fn connect(address: Option<&Address>) -> Vec<Finding> {
    let Some(address) = address else {
        return vec![Finding::unknown(
            ABOUT,
            "was not connected to: broker.url is not usable",
            "set it first",
        )];
    };
    match connect_to(address, "saldo doctor", Purpose::Publish, BROKER_TIMEOUT).await {
        Ok(connection) => {
            // It is gone with this process anyway.
            let _ = connection.close(0, "done".into()).await;
            vec![Finding::good(ABOUT, "takes connections and this login")]
        }
        Err(error) => vec![Finding::bad(
            ABOUT,
            output::chain(&error),
            "see whether RabbitMQ runs and can be reached from here, and whether user, password and virtual host of \
             broker.url are right",
        )],
    }
}

/// Through the management API.
pub(super) async fn look(management: Option<&Management>) -> Vec<Finding> {
    let Some(management) = management else {
        return vec![Finding::unknown(
            TOPOLOGY,
            "was not looked at: broker.management_url is not usable",
            "set it first",
        )];
    };
    let mut findings = match management.version().await {
        Ok(version) => vec![judge_version(&version)],
        Err(error) => {
            let advice = "see whether the management plugin is on (rabbitmq-plugins enable rabbitmq_management), and \
                          whether user and password of broker.management_url are right";
            return vec![Finding::bad(ABOUT, output::chain(&error), advice)];
        }
    };
    match management.nodes().await {
        Ok(nodes) => match management.connections().await {
            Ok(connections) => findings.extend(judge_nodes(&nodes, &connections)),
            Err(error) => findings.push(unanswered(ALARMS, &error)),
        },
        Err(error) => findings.push(unanswered(ALARMS, &error)),
    }
    let topology = Topology::new(Limits::default());
    match management.check(&topology).await {
        Ok(differences) => match management.foreign_bindings(&topology).await {
            Ok(foreign) => findings.extend(judge_topology(&differences, &foreign)),
            Err(error) => findings.push(unanswered(TOPOLOGY, &error)),
        },
        Err(error @ ManagementError::NoVhost(_)) => {
            findings.push(Finding::bad(
                TOPOLOGY,
                output::chain(&error),
                "rabbitmqctl add_vhost, then saldo topology apply",
            ));
            return findings;
        }
        Err(error) => findings.push(unanswered(TOPOLOGY, &error)),
    }
    match management.queues().await {
        Ok(queues) => findings.extend(judge_consumers(&queues)),
        Err(error) => findings.push(unanswered(CONSUMERS, &error)),
    }
    findings
}

/// What a login without enough rights, or a broker that is going down, makes of a question.
pub(super) fn unanswered(about: &'static str, error: &ManagementError) -> Finding {
    let what = format!("could not be looked at: {}", output::chain(error));
    Finding::unknown(
        about,
        what,
        "run saldo doctor with a user in broker.management_url that has the tag administrator",
    )
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
    let blocked = connections.iter().filter(|connection| connection.state.starts_with("block"));
    let mut users: Vec<&str> = blocked.map(|connection| connection.user.as_str()).collect();
    if !users.is_empty() {
        let count = users.len();
        users.sort_unstable();
        users.dedup();
        bad.push(Finding::bad(
            ALARMS,
            format!("{count} connections are blocked, of {}", users.join(", ")),
            "they go on when the alarm is over",
        ));
    }
    Finding::all_or(bad, ALARMS, format!("none; {} nodes, {} connections", nodes.len(), connections.len()))
}

fn judge_topology(differences: &[Difference], foreign: &[Difference]) -> Vec<Finding> {
    let differing = differences.iter().map(|difference| {
        // What is there otherwise is left alone by `apply`; a policy is not.
        let advice = if difference.problem.contains("argument") || difference.problem.contains("has type") {
            "its arguments are fixed: when it is empty and nobody uses it, delete it, then saldo topology apply"
        } else if difference.problem.contains("hides Saldo's") {
            "lower that policy's priority, or narrow its pattern"
        } else {
            "saldo topology apply"
        };
        Finding::bad(TOPOLOGY, difference.to_string(), advice)
    });
    let foreign = foreign.iter().map(|binding| {
        let what = format!("{binding}: what comes that way passes by topic permissions");
        Finding::bad(TOPOLOGY, what, "find out who made it, and unbind it in the management pages")
    });
    Finding::all_or(
        differing.chain(foreign).collect(),
        TOPOLOGY,
        "exchanges, queues, bindings and policies are as they should be",
    )
}

fn judge_consumers(queues: &[QueueState]) -> Vec<Finding> {
    let bad = topology::workers().filter_map(|worker| {
        let name = topology::queue(worker);
        // A queue that is missing is the topology's finding.
        let queue = queues.iter().find(|queue| queue.name == name)?;
        (queue.consumers == 0).then(|| {
            Finding::bad(
                CONSUMERS,
                format!("nobody consumes {name}, in which {} wait", queue.ready),
                format!("start {worker}; if it runs, its log and /readyz say what it waits for"),
            )
        })
    });
    Finding::all_or(bad.collect(), CONSUMERS, "each worker's queue has one")
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
    }

    #[test]
    fn a_difference_comes_with_what_mends_it() {
        let advice = |problem: &str| {
            let difference =
                Difference { object: "queue saldo.commissions".to_owned(), problem: problem.to_owned() };
            judge_topology(&[difference], &[])[0].advice.clone().unwrap()
        };
        assert_eq!(advice("is missing"), "saldo topology apply");
        assert!(advice("has argument x-overflow \"drop-head\", expected none").contains("delete it"));
        assert!(advice("is under the policy x, which is not Saldo's and hides Saldo's").contains("priority"));
    }
}
