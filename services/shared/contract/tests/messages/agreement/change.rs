//! Small changes to a message that is right.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::vocabulary::{names, texts, values};
use crate::support::pointers;

/// One change to a message. Indexes choose among what the message has.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Takes a field out.
    Delete(Index),
    /// Puts a value in the place of another.
    Replace(Index, Value),
    /// Copies a value over another.
    Copy(Index, Index),
    /// Adds a field to an object.
    Add(Index, String, Value),
    /// Inserts a text into a string.
    Insert(Index, Index, String),
    /// Removes a character of a string.
    Remove(Index, Index),
    /// Puts another character in the place of one of a string.
    Swap(Index, Index, char),
}

pub(super) fn changes() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        2 => at().prop_map(Change::Delete),
        4 => (at(), values()).prop_map(|(at, value)| Change::Replace(at, value)),
        2 => (at(), at()).prop_map(|(from, to)| Change::Copy(from, to)),
        2 => (at(), names(), values()).prop_map(|(at, name, value)| Change::Add(at, name, value)),
        2 => (at(), at(), texts()).prop_map(|(at, position, text)| Change::Insert(at, position, text)),
        2 => (at(), at()).prop_map(|(at, position)| Change::Remove(at, position)),
        4 => (at(), at(), select(&['0', '1', '2', '3', '9', '-', '.', ':', 'Z', '+', 'a', 'E', ' ', '\n', 'é'][..]))
            .prop_map(|(at, position, char)| Change::Swap(at, position, char)),
    ]
}

/// The places of `message` whose values are wanted, one of them chosen.
fn place(message: &Value, choice: Index, wanted: fn(&Value) -> bool) -> Option<String> {
    let places: Vec<_> =
        pointers(message).into_iter().filter(|at| message.pointer(at).is_some_and(wanted)).collect();
    (!places.is_empty()).then(|| choice.get(&places).clone())
}

pub(super) fn apply(message: &mut Value, change: Change) {
    let any = |_: &Value| true;
    match change {
        Change::Delete(at) => {
            let Some(at) = place(message, at, any) else { return };
            let Some((parent, name)) = at.rsplit_once('/') else { return };
            if let Some(parent) = message.pointer_mut(parent).and_then(Value::as_object_mut) {
                parent.shift_remove(name);
            }
        }
        Change::Replace(at, value) => {
            let Some(at) = place(message, at, any) else { return };
            *message.pointer_mut(&at).unwrap() = value;
        }
        Change::Copy(from, to) => {
            let (Some(from), Some(to)) = (place(message, from, any), place(message, to, any)) else {
                return;
            };
            let value = message.pointer(&from).unwrap().clone();
            *message.pointer_mut(&to).unwrap() = value;
        }
        Change::Add(at, name, value) => {
            let Some(at) = place(message, at, Value::is_object) else { return };
            message.pointer_mut(&at).unwrap().as_object_mut().unwrap().insert(name, value);
        }
        Change::Insert(at, position, text) => edit(message, at, |chars| {
            let position = position.index(chars.len() + 1);
            chars.splice(position..position, text.chars());
        }),
        Change::Remove(at, position) => edit(message, at, |chars| {
            if !chars.is_empty() {
                chars.remove(position.index(chars.len()));
            }
        }),
        Change::Swap(at, position, char) => edit(message, at, |chars| {
            if !chars.is_empty() {
                let position = position.index(chars.len());
                chars[position] = char;
            }
        }),
    }
}

fn edit(message: &mut Value, at: Index, edit: impl FnOnce(&mut Vec<char>)) {
    let Some(at) = place(message, at, Value::is_string) else { return };
    let text = message.pointer_mut(&at).unwrap();
    let mut chars: Vec<char> = text.as_str().unwrap().chars().collect();
    edit(&mut chars);
    *text = Value::String(chars.into_iter().collect());
}
