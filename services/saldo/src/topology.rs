//! `saldo topology`

mod users;

use std::path::Path;

use clap::Subcommand;
use worker::management::{Difference, Management, ManagementError};
use worker::topology::{Limits, Topology};

use crate::output::Output;
use crate::settings::Settings;
use crate::{Done, Status};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Declare everything that is missing, then compare
    ///
    /// Declares exchanges, queues, bindings and policies in the virtual host of broker.url. Nothing is deleted, and
    /// what exists otherwise is left as it is and reported: an object's arguments are fixed when it is created. Takes a
    /// user with the tag administrator in `broker.management_url`.
    #[command(after_help = "Example:\n  saldo topology apply")]
    Apply,
    /// Compare what exists with what should
    ///
    /// Reports missing objects, other types and arguments, missing bindings, and policies that differ or that
    /// another one hides. Changes nothing. Exit status 1 if anything differs.
    #[command(after_help = "Example:\n  saldo topology check || saldo topology apply")]
    Check,
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
    Services(users::Services),
}

pub(crate) async fn run(command: Command, config: Option<&Path>, output: &mut Output) -> Done {
    let topology = Topology::new(Limits::default());
    match command {
        Command::Apply => apply(&topology, &client(config)?, output).await,
        Command::Check => {
            let management = client(config)?;
            let mut differences = management.check(&topology).await?;
            differences.extend(management.foreign_bindings(&topology).await?);
            report(&topology, &differences, output)
        }
        Command::Export { vhost } => {
            output.line(format_args!("{:#}", topology.definitions(&vhost)))?;
            Ok(Status::Good)
        }
        Command::Publisher(publisher) => users::publisher(publisher, &client(config)?, output).await,
        Command::Services(services) => users::services(services, &client(config)?, output).await,
    }
}

fn client(config: Option<&Path>) -> Result<Management, Box<dyn std::error::Error + Send + Sync>> {
    let mut settings = Settings::read(config);
    let (management, broker) = (settings.management(), settings.broker());
    settings.finish()?;
    Ok(Management::new(&management, &broker)?)
}

async fn apply(topology: &Topology, management: &Management, output: &mut Output) -> Done {
    let refused = management.apply(topology).await?;
    for refusal in &refused {
        output.line(refusal)?;
    }
    let differences = settled(topology, management).await?;
    match report(topology, &differences, output)? {
        Status::Good if refused.is_empty() => Ok(Status::Good),
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
    differences.extend(management.foreign_bindings(topology).await?);
    Ok(differences)
}

fn report(topology: &Topology, differences: &[Difference], output: &mut Output) -> Done {
    for difference in differences {
        output.line(difference)?;
    }
    if differences.is_empty() {
        let Topology { exchanges, queues, bindings, policies } = topology;
        output.line(format_args!(
            "as it should be: {} exchanges, {} queues, {} bindings, {} policies",
            exchanges.len(),
            queues.len(),
            bindings.len(),
            policies.len()
        ))?;
        Ok(Status::Good)
    } else {
        output.message(format_args!("the topology differs in {} places", differences.len()));
        Ok(Status::Bad)
    }
}
