//! JSON Schemas of the messages, generated from the types that read and write them.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::command::CommandData;
use crate::commission::{
    CommissionCredit, CommissionCreditData, CommissionCredited, CommissionHeld, CommissionMatured,
    CommissionRefused, CommissionReverse, CommissionReverseData, CommissionReversed,
};
use crate::event::EventData;
use crate::{MessageId, Source, Timestamp};

/// Where the message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To Saldo.
    Command,
    /// From Saldo.
    Event,
}

/// One message type and its schema.
#[derive(Debug, Clone)]
pub struct MessageSchema {
    /// `commission.credit.v1`
    pub message_type: &'static str,
    /// Where it travels.
    pub direction: Direction,
    /// JSON Schema, draft 2020-12, of the whole message.
    pub schema: Value,
}

/// Every message of the contract.
pub fn all() -> Vec<MessageSchema> {
    vec![
        command::<CommissionCredit, CommissionCreditData>(),
        command::<CommissionReverse, CommissionReverseData>(),
        event::<CommissionCredited>(),
        event::<CommissionHeld>(),
        event::<CommissionMatured>(),
        event::<CommissionReversed>(),
        event::<CommissionRefused>(),
    ]
}

fn command<C: CommandData, Data: JsonSchema>() -> MessageSchema {
    let mut source = of::<Source>();
    source["not"] = json!({ "pattern": format!("^{}", crate::OWN_SOURCES) });
    message(C::TYPE, Direction::Command, source, of::<Data>())
}

fn event<D: EventData + JsonSchema>() -> MessageSchema {
    let own = json!({ "type": "string", "pattern": format!("^{}", crate::OWN_SOURCES) });
    let mut event = message(D::TYPE, Direction::Event, own, of::<D>());
    event.schema["properties"]["causationsource"] = of::<Source>();
    event.schema["properties"]["causationid"] = of::<MessageId>();
    if let Some(required) = event.schema["required"].as_array_mut() {
        required.extend([json!("causationsource"), json!("causationid")]);
    }
    event
}

fn message(message_type: &'static str, direction: Direction, source: Value, mut data: Value) -> MessageSchema {
    let definitions = data.as_object_mut().and_then(|data| data.remove("$defs"));
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": message_type,
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": of::<MessageId>(),
            "source": source,
            "type": { "const": message_type },
            "time": of::<Timestamp>(),
            "datacontenttype": { "const": "application/json" },
            "traceparent": { "description": "W3C trace context, carried on to the events." },
            "data_base64": false,
            "data": data,
        },
        "additionalProperties": true,
    });
    if let Some(definitions) = definitions {
        schema["$defs"] = definitions;
    }
    MessageSchema { message_type, direction, schema }
}

fn of<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.meta_schema = None;
    let schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    if let Some(object) = schema.as_object_mut() {
        // The name of a Rust type; the message's title is its type.
        object.remove("title");
    }
    schema
}
