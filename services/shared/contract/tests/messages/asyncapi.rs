//! `asyncapi.yaml` names every message of the contract, on its channel, and nothing else.

use contract::schema::{self, Direction};
use contract::{CONTENT_TYPE, Event, MerchantId};
use serde_json::{Map, Value, json};

use crate::support::{folder, schemas};

fn document() -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(folder().join("asyncapi.yaml")).unwrap()).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn types(direction: Direction) -> Vec<&'static str> {
    schemas(direction).map(|message| message.message_type).collect()
}

#[test]
fn every_message_type_is_on_its_channel() {
    let document = document();
    assert_eq!(keys(&document["channels"]), ["commands", "events"]);
    for (channel, direction) in [("commands", Direction::Command), ("events", Direction::Event)] {
        let expected: Map<String, Value> = types(direction)
            .into_iter()
            .map(|name| (name.to_owned(), json!({ "$ref": format!("#/components/messages/{name}") })))
            .collect();
        assert_eq!(document["channels"][channel]["messages"], Value::Object(expected), "{channel}");
        assert_eq!(
            document["channels"][channel]["bindings"]["amqp"]["exchange"]["name"],
            format!("saldo.{channel}")
        );
    }
}

#[test]
fn every_message_refers_to_its_schema() {
    let document = document();
    let messages = &document["components"]["messages"];
    let all: Vec<_> = schema::all().iter().map(|message| message.message_type).collect();
    assert_eq!(keys(messages), all);
    assert_eq!(keys(&document["components"]), ["messages"]);
    for name in all {
        let file = format!("./{name}.json");
        assert_eq!(messages[name]["name"], name);
        assert_eq!(messages[name]["contentType"], CONTENT_TYPE);
        assert_eq!(messages[name]["payload"], json!({ "$ref": file }));
        assert!(folder().join(file).is_file(), "{name}");
    }
    assert_eq!(document["defaultContentType"], CONTENT_TYPE);
}

#[test]
fn routing_keys_are_merchant_and_type_without_version() {
    let document = document();
    let merchant: MerchantId = "acme".parse().unwrap();
    let channels = [("commands", "command", Direction::Command), ("events", "event", Direction::Event)];
    for (channel, parameter, direction) in channels {
        let channel = &document["channels"][channel];
        assert_eq!(channel["address"], format!("{{merchant}}.{{{parameter}}}"));
        assert_eq!(keys(&channel["parameters"]), ["merchant", parameter]);
        let names = channel["parameters"][parameter]["enum"].as_array().unwrap();
        assert_eq!(names.len(), types(direction).len());
        for (name, message_type) in names.iter().zip(types(direction)) {
            let stored = json!({ "id": "a", "type": message_type }).to_string();
            let routing_key = Event::from_stored(&merchant, &stored).unwrap().routing_key;
            assert_eq!(format!("acme.{}", name.as_str().unwrap()), routing_key);
        }
    }
}

#[test]
fn saldo_receives_commands_and_sends_events() {
    let document = document();
    let operations: Vec<_> = document["operations"]
        .as_object()
        .unwrap()
        .values()
        .map(|operation| {
            (operation["action"].as_str().unwrap(), operation["channel"]["$ref"].as_str().unwrap())
        })
        .collect();
    assert_eq!(operations, [("receive", "#/channels/commands"), ("send", "#/channels/events")]);
}
