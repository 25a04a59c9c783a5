//! JSON Schemas of the messages, generated from the types that read and write them.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Value, json};

use crate::adjustment::{
    AdjustmentCredit, AdjustmentCredited, AdjustmentDebit, AdjustmentDebited, AdjustmentRefused,
    AdjustmentReverse, AdjustmentReversed,
};
use crate::command::CommandData;
use crate::commission::{
    CommissionCredit, CommissionCredited, CommissionHeld, CommissionMatured, CommissionRefused,
    CommissionReverse, CommissionReversed,
};
use crate::directory::{
    CustomerPut, CustomerRefused, CustomerUpdated, PayoutMethodPut, PayoutMethodRefused, PayoutMethodUpdated,
    PreferencesPut, PreferencesRefused, PreferencesUpdated,
};
use crate::event::EventData;
use crate::notification::NotificationFailed;
use crate::withdrawal::{
    WithdrawalApprove, WithdrawalApproved, WithdrawalCancel, WithdrawalCancelled, WithdrawalPaid,
    WithdrawalPay, WithdrawalRefused, WithdrawalReject, WithdrawalRejected, WithdrawalRequest,
    WithdrawalRequested,
};
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
        command::<CommissionCredit>(),
        command::<CommissionReverse>(),
        event::<CommissionCredited>(),
        event::<CommissionHeld>(),
        event::<CommissionMatured>(),
        event::<CommissionReversed>(),
        event::<CommissionRefused>(),
        command::<AdjustmentCredit>(),
        command::<AdjustmentDebit>(),
        command::<AdjustmentReverse>(),
        event::<AdjustmentCredited>(),
        event::<AdjustmentDebited>(),
        event::<AdjustmentReversed>(),
        event::<AdjustmentRefused>(),
        command::<WithdrawalRequest>(),
        command::<WithdrawalApprove>(),
        command::<WithdrawalPay>(),
        command::<WithdrawalReject>(),
        command::<WithdrawalCancel>(),
        event::<WithdrawalRequested>(),
        event::<WithdrawalApproved>(),
        event::<WithdrawalPaid>(),
        event::<WithdrawalRejected>(),
        event::<WithdrawalCancelled>(),
        event::<WithdrawalRefused>(),
        command::<CustomerPut>(),
        command::<PayoutMethodPut>(),
        command::<PreferencesPut>(),
        event::<CustomerUpdated>(),
        event::<CustomerRefused>(),
        event::<PayoutMethodUpdated>(),
        event::<PayoutMethodRefused>(),
        event::<PreferencesUpdated>(),
        event::<PreferencesRefused>(),
        event::<NotificationFailed>(),
    ]
}

fn command<C: CommandData>() -> MessageSchema {
    let mut schema = message(C::TYPE, of::<C::Data>());
    let properties = &mut schema["properties"];
    properties["source"]["not"] = json!({ "pattern": own_sources() });
    properties["traceparent"] = json!({
        "description": "W3C trace context, carried on to the events; ignored where malformed.",
    });
    MessageSchema { message_type: C::TYPE, direction: Direction::Command, schema }
}

fn event<D: EventData + JsonSchema>() -> MessageSchema {
    let mut schema = message(D::TYPE, written::<D>());
    let properties = &mut schema["properties"];
    properties["id"] = json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" });
    properties["source"] = json!({ "type": "string", "pattern": own_sources() });
    properties["causationsource"] = described(of::<Source>(), "The `source` of the command that caused it.");
    properties["causationid"] = described(of::<MessageId>(), "The `id` of the command that caused it.");
    properties["traceparent"] = json!({
        "type": "string",
        "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        "description": "The command's W3C trace context.",
    });
    if let Some(required) = schema["required"].as_array_mut() {
        required.extend([json!("causationsource"), json!("causationid")]);
    }
    MessageSchema { message_type: D::TYPE, direction: Direction::Event, schema }
}

fn own_sources() -> String {
    format!("^{}", crate::OWN_SOURCES)
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

/// The envelope that commands and events share, around this data.
fn message(message_type: &str, mut data: Value) -> Value {
    let definitions = data.as_object_mut().and_then(|data| data.remove("$defs"));
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": message_type,
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": of::<MessageId>(),
            "source": of::<Source>(),
            "type": { "const": message_type },
            "time": of::<Timestamp>(),
            "datacontenttype": { "const": "application/json" },
            "traceparent": {},
            "data_base64": false,
            "data": data,
        },
        "additionalProperties": true,
    });
    if let Some(definitions) = definitions {
        schema["$defs"] = definitions;
    }
    schema
}

/// The schema of what `T` writes: fields it may leave out are not required.
fn written<T: JsonSchema>() -> Value {
    generated::<T>(SchemaSettings::draft2020_12().for_serialize())
}

/// The schema of what `T` reads.
fn of<T: JsonSchema>() -> Value {
    generated::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

fn generated<T: JsonSchema>(mut settings: SchemaSettings) -> Value {
    settings.meta_schema = None;
    let settings = settings.with_transform(RecursiveTransform(tidy));
    let schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    if let Some(object) = schema.as_object_mut() {
        // The name of a Rust type; the message's title is its type.
        object.remove("title");
    }
    schema
}

/// Takes out what is true of the Rust types only: that absent is `None`, how many bits a number has.
fn tidy(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if schema.get("type").is_some_and(|kind| kind == "integer") {
        schema.remove("format");
    }
}
