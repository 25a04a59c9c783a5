//! What a schema forbids, property by property.

use serde_json::{Map, Value, json};
use tests::message::routing_key;

use super::{Kinds, valid};

impl Kinds {
    /// Every property at every depth, in every way its schema forbids.
    pub(super) fn add_from_schema(&mut self, message_type: &'static str, schema: &Value) {
        let first = self.kinds.len();
        walk(schema, schema, &mut Vec::new(), &mut |path, node, required| {
            self.property(message_type, path, node, required);
        });
        for kind in &mut self.kinds[first..] {
            kind.routing_key = routing_key(&valid(message_type, "any"));
            kind.name = format!("{message_type} {}", kind.name);
        }
    }

    fn property(&mut self, message_type: &str, path: &[String], node: &Value, required: bool) {
        let (where_, leaf) = (path.join("."), path.last().unwrap().as_str());
        let reasons: &[_] = match path {
            [only] if only == "data" => &["invalid-data", "not-cloudevents"],
            [first, ..] if first == "data" => &["invalid-data"],
            [only] if only == "type" => &["unknown-type", "not-cloudevents"],
            _ => &["not-cloudevents"],
        };
        let template = |kinds: &Self| valid(message_type, &kinds.id());
        let here = format!("/{}", path.join("/"));
        if template(self).pointer(&here).is_some() {
            self.add(format!("{where_}: twice"), twice(&template(self), path), reasons, leaf);
        }
        if required {
            let mut message = template(self);
            parent(&mut message, path).remove(leaf);
            self.add(format!("{where_}: missing"), message.to_string(), reasons, leaf);
        }
        for wrong in wrong_values(node, template(self).pointer(&here)) {
            let mut message = template(self);
            let name = format!("{where_}: {}", shortened(&wrong));
            parent(&mut message, path).insert(leaf.to_owned(), wrong);
            self.add(name, message.to_string(), reasons, leaf);
        }
        if node["additionalProperties"] == false {
            for extra in ["surprise", "Amount", "amount ", "a\u{7}b\n\u{202e}c", "", &"n".repeat(5000)] {
                let mut message = template(self);
                message.pointer_mut(&here).unwrap()[extra] = json!("x");
                let name = format!("{where_}: another property {}", shortened(&json!(extra)));
                self.add(name, message.to_string(), &["invalid-data"], leaf);
            }
        }
    }
}

/// Calls back for every property at every depth, definitions resolved.
fn walk(root: &Value, node: &Value, path: &mut Vec<String>, visit: &mut dyn FnMut(&[String], &Value, bool)) {
    let Some(properties) = node["properties"].as_object() else { return };
    for (name, property) in properties {
        let property = resolved(root, property);
        let required = node["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
        path.push(name.clone());
        visit(path, property, required);
        walk(root, property, path, visit);
        path.pop();
    }
}

fn resolved<'a>(root: &'a Value, node: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => node,
    }
}

/// Values that this schema does not accept.
fn wrong_values(schema: &Value, valid: Option<&Value>) -> Vec<Value> {
    let mut wrong =
        vec![json!(null), json!(true), json!(false), json!(4.25), json!(-7), json!([]), json!(["x"])];
    wrong.extend([json!({}), json!({ "a": "b" }), json!([valid])]);
    let (min, max) = (schema["minLength"].as_u64(), schema["maxLength"].as_u64());
    let text = valid.and_then(Value::as_str);
    match (schema["type"].as_str().unwrap_or_default(), text) {
        _ if schema == false => wrong.extend([json!(""), json!("e30="), json!(1)]),
        ("object", _) => wrong.extend([json!("x"), json!(1), json!("{}")]),
        ("integer", _) => {
            wrong.extend([json!("1"), json!(""), json!(0), json!(21), json!(255), json!(256), json!(1.5)]);
            wrong.extend([json!(u64::MAX), json!(i64::MIN), json!(1e300)]);
        }
        (_, Some(text)) if ["const", "enum", "pattern"].iter().any(|key| schema.get(key).is_some()) => {
            assert!(min.is_none_or(|min| min > 0));
            wrong.extend([json!(42), json!("")]);
            wrong.extend(
                ["\u{0}", "\u{1b}", "\u{7f}", "\u{85}"].map(|control| json!(format!("{text}{control}"))),
            );
            wrong.extend(max.map(|max| json!("a".repeat(usize::try_from(max).unwrap() + 1))));
            let any_character = schema["pattern"].as_str().is_some_and(|pattern| pattern.starts_with("^[^"));
            if !any_character {
                wrong.extend([
                    json!(format!(" {text}")),
                    json!(format!("{text} ")),
                    json!(format!("{text}é")),
                ]);
            }
            if schema.get("enum").is_some() {
                wrong.push(json!(text.to_lowercase()));
            }
        }
        // Whatever is acceptable there; a malformed trace context is ignored.
        _ => wrong.clear(),
    }
    wrong
}

fn parent<'a>(message: &'a mut Value, path: &[String]) -> &'a mut Map<String, Value> {
    let mut at = message;
    for name in &path[..path.len() - 1] {
        at = &mut at[name.as_str()];
    }
    at.as_object_mut().unwrap()
}

/// The message with one property written twice, which no `Value` can hold.
fn twice(message: &Value, path: &[String]) -> String {
    let Value::Object(map) = message else { return message.to_string() };
    let mut parts = Vec::new();
    for (name, value) in map {
        let text = match path {
            [first, rest @ ..] if first == name && !rest.is_empty() => twice(value, rest),
            _ => value.to_string(),
        };
        parts.push(format!("{}:{text}", json!(name)));
        if path.len() == 1 && path[0] == *name {
            parts.push(format!("{}:{text}", json!(name)));
        }
    }
    format!("{{{}}}", parts.join(","))
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.len() > 40 {
        format!("{}… ({} bytes)", text.chars().take(20).collect::<String>(), text.len())
    } else {
        text
    }
}
