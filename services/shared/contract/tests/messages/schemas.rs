//! The committed schemas are the generated ones.

use contract::Commands as _;
use contract::adjustment::AdjustmentCommand;
use contract::commission::CommissionCommand;
use contract::directory::DirectoryCommand;
use contract::schema::{self, Direction};
use contract::withdrawal::WithdrawalCommand;

use crate::support::{committed, folder, names_in, pretty, schemas};

#[test]
fn committed_schemas_are_what_the_types_generate() {
    committed(
        schema::all().iter().map(|message| {
            (folder().join(format!("{}.json", message.message_type)), pretty(&message.schema))
        }),
    );
}

#[test]
fn there_is_no_schema_file_without_a_message_type() {
    let mut types: Vec<_> = schema::all().iter().map(|message| message.message_type).collect();
    types.sort_unstable();
    assert_eq!(names_in(&folder()), types);
}

#[test]
fn every_command_type_has_a_schema() {
    let commands: Vec<_> = schemas(Direction::Command).map(|message| message.message_type).collect();
    let workers = [
        CommissionCommand::TYPES,
        AdjustmentCommand::TYPES,
        WithdrawalCommand::TYPES,
        DirectoryCommand::TYPES,
    ];
    assert_eq!(commands, workers.concat());
}

#[test]
fn schemas_are_valid_json_schemas() {
    for message in schema::all() {
        if let Err(error) = jsonschema::draft202012::meta::validate(&message.schema) {
            panic!("{}: {error}", message.message_type);
        }
    }
}
