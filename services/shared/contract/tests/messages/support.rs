//! Where the documents are, and the two verdicts on a message: the schema's and the reader's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use contract::adjustment::AdjustmentCommand;
use contract::commission::CommissionCommand;
use contract::directory::DirectoryCommand;
use contract::schema::{self, Direction, MessageSchema};
use contract::withdrawal::WithdrawalCommand;
use contract::{Commands, Malformed, MerchantId, Received};
use jsonschema::Validator;
use serde_json::Value;
use serde_json::value::RawValue;

/// `schemas/messages` of the checkout.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../schemas/messages")
}

/// `schemas/messages/examples/<type>/<name>.json`.
pub(crate) fn example_path(message_type: &str, name: &str) -> PathBuf {
    folder().join("examples").join(message_type).join(format!("{name}.json"))
}

/// The text of an example.
pub(crate) fn example(message_type: &str, name: &str) -> String {
    let path = example_path(message_type, name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names, without extension, of the files in `folder` that end in `.json`.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().into_string().unwrap().strip_suffix(".json").map(String::from)
        })
        .collect();
    names.sort();
    names
}

/// How generated documents are written.
pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Compares generated documents with the committed ones and names those that differ, or, with
/// `SALDO_WRITE_SCHEMAS=1`, writes them.
pub(crate) fn committed(generated: impl IntoIterator<Item = (PathBuf, String)>) {
    let write = std::env::var_os("SALDO_WRITE_SCHEMAS").is_some_and(|value| value == "1");
    let mut differ = Vec::new();
    for (path, text) in generated {
        if std::fs::read_to_string(&path).is_ok_and(|committed| committed == text) {
            continue;
        }
        if write {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        } else {
            differ.push(path.display().to_string());
        }
    }
    assert!(
        differ.is_empty(),
        "not what the types generate (`just schemas` writes them; then look at the difference):\n{}",
        differ.join("\n")
    );
}

/// The messages that travel this way.
pub(crate) fn schemas(direction: Direction) -> impl Iterator<Item = MessageSchema> {
    schema::all().into_iter().filter(move |message| message.direction == direction)
}

static VALIDATORS: LazyLock<BTreeMap<&str, Validator>> = LazyLock::new(|| {
    let validator = |schema| jsonschema::options().should_validate_formats(true).build(schema).unwrap();
    schema::all().iter().map(|message| (message.message_type, validator(&message.schema))).collect()
});

/// The schema of a message type, ready to judge; `None` if there is no such type.
pub(crate) fn validator(message_type: &str) -> Option<&'static Validator> {
    VALIDATORS.get(message_type)
}

/// The places where a message is not what its schema says.
pub(crate) fn schema_errors(message_type: &str, message: &Value) -> Vec<String> {
    let validator = validator(message_type).unwrap();
    let mut places: Vec<_> =
        validator.iter_errors(message).map(|error| error.instance_path().to_string()).collect();
    places.dedup();
    places
}

/// A command of any worker.
#[derive(Debug, Clone)]
pub(crate) enum AnyCommand {
    Commission(CommissionCommand),
    Adjustment(AdjustmentCommand),
    Withdrawal(WithdrawalCommand),
    Directory(DirectoryCommand),
}

macro_rules! delegate {
    ($any:expr, $command:ident => $answer:expr) => {
        match $any {
            AnyCommand::Commission($command) => $answer,
            AnyCommand::Adjustment($command) => $answer,
            AnyCommand::Withdrawal($command) => $answer,
            AnyCommand::Directory($command) => $answer,
        }
    };
}

impl Commands for AnyCommand {
    /// Of no use here: no worker has them all.
    const TYPES: &'static [&'static str] = &[];

    fn read(message_type: &str, data: &RawValue) -> Option<Result<Self, Malformed>> {
        None.or_else(|| Some(CommissionCommand::read(message_type, data)?.map(Self::Commission)))
            .or_else(|| Some(AdjustmentCommand::read(message_type, data)?.map(Self::Adjustment)))
            .or_else(|| Some(WithdrawalCommand::read(message_type, data)?.map(Self::Withdrawal)))
            .or_else(|| Some(DirectoryCommand::read(message_type, data)?.map(Self::Directory)))
    }

    fn merchant(&self) -> &MerchantId {
        delegate!(self, command => command.merchant())
    }

    fn name(&self) -> &'static str {
        delegate!(self, command => command.name())
    }

    fn message_type(&self) -> &'static str {
        delegate!(self, command => command.message_type())
    }

    fn needs_user(&self) -> bool {
        delegate!(self, command => command.needs_user())
    }

    fn is_put(&self) -> bool {
        delegate!(self, command => command.is_put())
    }

    fn canonical(&self) -> Vec<u8> {
        delegate!(self, command => command.canonical())
    }
}

/// The reader's verdict.
pub(crate) fn read(body: &[u8]) -> Result<Received<AnyCommand>, Malformed> {
    Received::read(body)
}

/// Every command example that is valid: its type and its name.
pub(crate) fn valid_commands() -> Vec<(&'static str, String)> {
    let of = |message: MessageSchema| {
        let names = names_in(example_path(message.message_type, "valid").parent().unwrap());
        let valid = names.into_iter().filter(|name| name.starts_with("valid"));
        valid.map(move |name| (message.message_type, name))
    };
    schemas(Direction::Command).flat_map(of).collect()
}

/// An example with the value at this place replaced, or taken out.
pub(crate) fn changed(message_type: &str, name: &str, place: &str, value: Option<Value>) -> String {
    let mut message: Value = serde_json::from_str(&example(message_type, name)).unwrap();
    let (parent, field) = place.rsplit_once('/').unwrap();
    match (message.pointer_mut(parent).unwrap(), value) {
        (Value::Object(fields), Some(value)) => {
            fields.insert(field.to_owned(), value);
        }
        (Value::Object(fields), None) => {
            fields.shift_remove(field).unwrap();
        }
        (Value::Array(items), Some(value)) => items[field.parse::<usize>().unwrap()] = value,
        (Value::Array(items), None) => {
            items.remove(field.parse().unwrap());
        }
        _ => panic!("{message_type} {name} has no {place}"),
    }
    message.to_string()
}

/// JSON pointers of everything in `value`, itself first.
pub(crate) fn pointers(value: &Value) -> Vec<String> {
    fn walk(at: &str, value: &Value, pointers: &mut Vec<String>) {
        pointers.push(at.to_owned());
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, field)| walk(&format!("{at}/{name}"), field, pointers));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| walk(&format!("{at}/{i}"), item, pointers));
            }
            _ => {}
        }
    }
    let mut pointers = Vec::new();
    walk("", value, &mut pointers);
    pointers
}
