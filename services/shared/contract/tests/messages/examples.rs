//! Every command example, judged by its schema and by the reader.

use contract::Commands;
use contract::schema::Direction;
use serde_json::Value;

use crate::invalid::{self, NOT_IN_SCHEMA};
use crate::support::{
    AnyCommand, example, example_path, names_in, pointers, read, schema_errors, schemas, valid_commands,
};

#[test]
fn valid_examples_are_valid_and_read() {
    for (message_type, name) in valid_commands() {
        let text = example(message_type, &name);
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(schema_errors(message_type, &message), [""; 0], "{message_type} {name}");
        match read(text.as_bytes()) {
            Ok(received) => {
                assert_eq!(received.routing_key(), format!("acme.{}", message_type.replace(".v1", "")));
            }
            Err(malformed) => panic!("{message_type} {name}: {malformed}"),
        }
    }
}

#[test]
fn the_complete_examples_have_every_field_of_their_schema() {
    for message in schemas(Direction::Command) {
        let message_type = message.message_type;
        let names = names(message_type).into_iter().filter(|name| name.starts_with("valid"));
        let examples: Vec<Value> =
            names.map(|name| serde_json::from_str(&example(message_type, &name)).unwrap()).collect();
        let properties = |at: &String| at.ends_with("/properties");
        for at in pointers(&message.schema["properties"]["data"]).into_iter().filter(properties) {
            let parent = format!("/data{}", at.trim_end_matches("/properties").replace("/properties", ""));
            for field in
                message.schema["properties"]["data"].pointer(&at).unwrap().as_object().unwrap().keys()
            {
                let place = format!("{parent}/{field}");
                let shown = examples.iter().any(|example| example.pointer(&place).is_some());
                assert!(shown, "no example of {message_type} has {place}");
            }
        }
    }
}

#[test]
fn commands_of_staff_need_a_user_and_puts_are_puts() {
    let of = |wanted: fn(&AnyCommand) -> bool| {
        let mut names: Vec<_> = valid_commands()
            .into_iter()
            .map(|(message_type, name)| read(example(message_type, &name).as_bytes()).unwrap())
            .filter(|received| received.user.is_none() && wanted(&received.command))
            .map(|received| received.command.name())
            .collect();
        names.dedup();
        names
    };
    assert_eq!(
        of(Commands::needs_user),
        [
            "adjustment.credit",
            "adjustment.debit",
            "adjustment.reverse",
            "withdrawal.approve",
            "withdrawal.pay",
            "withdrawal.reject",
            "preferences.put"
        ]
    );
    assert_eq!(of(Commands::is_put), ["customer.put", "payout-method.put", "preferences.put"]);
}

#[test]
fn invalid_examples_are_refused_by_schema_and_reader_for_what_their_names_say() {
    for (message_type, name, place, problem) in invalid::commands() {
        let text = example(message_type, name);
        let message: Value = serde_json::from_str(&text).unwrap();
        let found = match &schema_errors(message_type, &message)[..] {
            [] => NOT_IN_SCHEMA.to_owned(),
            [place] => place.clone(),
            more => panic!("{message_type} {name}: more than one thing is wrong: {more:?}"),
        };
        let refused = read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!((found.as_str(), refused.as_str()), (*place, *problem), "{message_type} {name}");
    }
}

#[test]
fn every_invalid_example_is_expected_to_be() {
    for message in schemas(Direction::Command) {
        let message_type = message.message_type;
        let mut expected: Vec<_> =
            invalid::commands().filter(|row| row.0 == message_type).map(|(_, name, ..)| *name).collect();
        expected.sort_unstable();
        let mut names = names(message_type);
        names.retain(|name| !name.starts_with("valid"));
        assert_eq!(names, expected, "{message_type}");
        assert!(names.len() >= 8, "{message_type} has too few invalid examples");
    }
}

fn names(message_type: &str) -> Vec<String> {
    names_in(example_path(message_type, "valid").parent().unwrap())
}
