//! `saldo topology`

mod settle;
mod users;

use std::path::Path;

use clap::Subcommand;
use serde::Serialize;
use worker::management::{Change, Difference, Management, ManagementError};
use worker::topology::{Limits, Topology};

use crate::output::{Output, counted};
use crate::settings::Settings;
use crate::{Done, Status};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Declare everything that is missing, then compare
    ///
    /// Declares exchanges, queues, bindings and policies in the virtual host of broker.url, and says what was missing. Nothing
    /// is deleted, and what exists otherwise is left as it is and reported: an object's arguments are fixed when it is created.
    /// Policies that differ are set. Takes a user with the tag administrator in `broker.management_url`.
    #[command(after_help = "Examples:\n  saldo topology apply --dry-run\n  saldo topology apply")]
    Apply {
        /// Change nothing; say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Compare what exists with what should
    ///
    /// Reports missing objects, other types and arguments, missing bindings, policies that differ or that another one hides,
    /// and what leads to Saldo's queues and exchanges and is none of its own: bindings, dead-letter and alternate exchanges.
    /// Changes nothing. Exit status 1 if anything differs.
    #[command(after_help = "Example:\n  saldo topology check || saldo topology apply")]
    Check {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print everything as a `RabbitMQ` definitions file
    ///
    /// For `rabbitmqctl import_definitions` or `load_definitions`. Needs no connection.
    #[command(after_help = "Example:\n  saldo topology export > definitions.json")]
    Export {
        /// The virtual host to declare it in
        #[arg(long, default_value = "/", value_name = "NAME")]
        vhost: String,
    },
    Publisher(users::Publisher),
    Subscriber(users::Subscriber),
    Services(users::Services),
}

pub(crate) async fn run(command: Command, config: Option<&Path>, output: &mut Output) -> Done {
    let topology = Topology::new(Limits::default());
    match command {
        Command::Apply { dry_run, json } => apply(&topology, &client(config)?, dry_run, json, output).await,
        Command::Check { json } => {
            let management = client(config)?;
            let mut differences = management.check(&topology).await?;
            differences.extend(management.foreign_ways(&topology).await?);
            report(&topology, &differences, json, output)
        }
        Command::Export { vhost } => {
            output.line(format_args!("{:#}", topology.definitions(&vhost)))?;
            Ok(Status::Good)
        }
        Command::Publisher(publisher) => users::publisher(publisher, &client(config)?, output).await,
        Command::Subscriber(subscriber) => users::subscriber(subscriber, &client(config)?, output).await,
        Command::Services(services) => users::services(services, &client(config)?, output).await,
    }
}

fn client(config: Option<&Path>) -> Result<Management, Box<dyn std::error::Error + Send + Sync>> {
    let mut settings = Settings::read(config);
    let (management, broker) = (settings.management(), settings.broker());
    settings.finish()?;
    Ok(Management::new(&management, &broker)?)
}

/// What became of an object, or what is the matter with it. The order of the fields is the order of the JSON.
#[derive(Debug, Serialize)]
struct Row<'a> {
    object: &'a str,
    /// `made`, `set`, `refused` or `differs`; with --dry-run what would be.
    state: &'static str,
    problem: Option<&'a str>,
}

impl Row<'_> {
    fn tell(&self, dry_run: bool, json: bool, output: &mut Output) -> std::io::Result<()> {
        let Self { object, state, problem } = self;
        match problem {
            _ if json => output.json(self),
            Some(problem) => output.line(format_args!("{object} {problem}")),
            None if dry_run => output.line(format_args!("{object} would be {state}")),
            None => output.line(format_args!("{object} {state}")),
        }
    }
}

/// Each thing that is made is told as soon as it is: an interruption leaves these.
async fn apply(
    topology: &Topology,
    management: &Management,
    dry_run: bool,
    json: bool,
    output: &mut Output,
) -> Done {
    let steps = management.plan(topology).await?;
    let mut refused = 0;
    for step in &steps {
        let state = match step.change {
            Change::Make => "made",
            Change::Set => "set",
        };
        let object = step.to_string();
        let refusal = if dry_run { None } else { management.carry_out(step).await? };
        let problem = refusal.map(|reason| format!("was not declared: {reason}"));
        refused += usize::from(problem.is_some());
        let state = if problem.is_some() { "refused" } else { state };
        Row { object: &object, state, problem: problem.as_deref() }.tell(dry_run, json, output)?;
        output.flush()?;
    }
    let mut differences = if dry_run {
        // What would be done has just been told.
        let mut differences = management.check(topology).await?;
        differences.retain(|difference| !steps.iter().any(|step| step.to_string() == difference.object));
        differences
    } else {
        settled(topology, management).await?
    };
    differences.extend(management.foreign_ways(topology).await?);
    if steps.is_empty() && !json {
        output.message("nothing is missing");
    }
    if dry_run && !steps.is_empty() && differences.is_empty() {
        return Ok(Status::Good);
    }
    match report(topology, &differences, json, output)? {
        Status::Good if refused == 0 => Ok(Status::Good),
        Status::Good | Status::Bad => Ok(Status::Bad),
    }
}

/// The differences, once a policy that was just changed shows in the statistics, which are gathered every 5 s.
async fn settled(topology: &Topology, management: &Management) -> Result<Vec<Difference>, ManagementError> {
    const LOOKS: u32 = 28;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(250);
    let mut differences = management.check(topology).await?;
    for _ in 1..LOOKS {
        if differences.is_empty() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        differences = management.check(topology).await?;
    }
    Ok(differences)
}

fn report(topology: &Topology, differences: &[Difference], json: bool, output: &mut Output) -> Done {
    for Difference { object, problem, .. } in differences {
        Row { object, state: "differs", problem: Some(problem) }.tell(false, json, output)?;
    }
    if !differences.is_empty() {
        output.message(format_args!("the topology differs in {}", counted(differences.len(), "place")));
        return Ok(Status::Bad);
    }
    if !json {
        let Topology { exchanges, queues, bindings, policies } = topology;
        output.line(format_args!(
            "as it should be: {} exchanges, {} queues, {} bindings, {} policies",
            exchanges.len(),
            queues.len(),
            bindings.len(),
            policies.len()
        ))?;
    }
    Ok(Status::Good)
}
