//! Reads settings one by one, from an optional TOML file and the environment, and collects what is wrong with them.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use config::{Config, Environment, File, FileFormat};
use ledger::vault::{KeysError, Vault};
use secrecy::SecretString;

use super::NAMES;

/// Shorter pauses and limits would be busy loops, or no limits.
const SHORTEST: Duration = Duration::from_millis(10);
/// Everything that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("the settings are not usable:\n{}", .0.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError(pub Vec<String>);

/// Reads settings one by one and collects what is wrong.
pub struct Reader {
    config: Config,
    problems: Vec<String>,
}

impl Reader {
    /// The file, if one is named, and the environment.
    pub fn new(file: Option<&Path>) -> Self {
        Self::of(file, Environment::default())
    }

    /// Only these variables, such as `SALDO__BROKER__URL`, whatever the environment holds.
    pub fn of_variables<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::of(None, Environment::default().source(Some(variables.collect())))
    }

    fn of(file: Option<&Path>, environment: Environment) -> Self {
        let mut problems = Vec::new();
        let mut builder = Config::builder();
        if let Some(file) = file {
            match std::fs::read_to_string(file) {
                // Parsed here first: the file's own error must not hide the environment's.
                Ok(text) => {
                    match Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build() {
                        Ok(parsed) => builder = builder.add_source(parsed),
                        Err(_) => problems.push(format!("{}: is not a TOML file", file.display())),
                    }
                }
                Err(error) => problems.push(format!("{}: {error}", file.display())),
            }
        }
        let environment = environment.prefix("SALDO").prefix_separator("__").separator("__");
        let config = builder.add_source(environment).build().unwrap_or_else(|_| {
            problems.push("the environment's SALDO__… variables contradict each other".to_owned());
            Config::default()
        });
        Self { config, problems }
    }

    fn text(&mut self, key: &'static str) -> Option<String> {
        debug_assert!(NAMES.contains(&key), "{key} is not among the settings' names");
        match self.config.get_string(key) {
            Ok(text) => Some(text),
            Err(config::ConfigError::NotFound(_)) => None,
            Err(_) => {
                self.problems.push(format!("{key}: expected a single value"));
                None
            }
        }
    }

    /// A setting with a default.
    pub fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some(text) = self.text(key) else { return default };
        parse(&text).unwrap_or_else(|problem| {
            self.problem(key, &problem);
            default
        })
    }

    /// A setting that may be absent. `None` too if it is wrong, which [`Self::finish`] reports.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).map_err(|problem| self.problem(key, &problem)).ok()
    }

    /// A setting without which nothing goes. `None` if it is missing or wrong, which [`Self::finish`] reports.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(text) = self.text(key) else {
            self.missing(key);
            return None;
        };
        parse(&text).map_err(|problem| self.problem(key, &problem)).ok()
    }

    /// A secret without which nothing goes.
    pub fn secret(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<(), String>,
    ) -> SecretString {
        let Some(text) = self.text(key) else {
            self.missing(key);
            return SecretString::default();
        };
        if let Err(problem) = parse(&text) {
            self.problem(key, &problem);
        }
        text.into()
    }

    /// A secret that may be absent.
    pub fn optional_secret(&mut self, key: &'static str) -> Option<SecretString> {
        self.text(key).map(Into::into)
    }

    /// Says what is wrong with a setting, such as that it contradicts another; never its value. What is read twice is
    /// told once.
    pub fn problem(&mut self, key: &'static str, problem: &str) {
        let problem = format!("{key}: {problem}");
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn missing(&mut self, key: &'static str) {
        self.problem(key, &format!("is missing (SALDO__{})", key.to_uppercase().replace('.', "__")));
    }

    /// A duration within bounds.
    pub fn duration(&mut self, key: &'static str, default: Duration, max: Duration) -> Duration {
        self.or(key, default, |text| match humantime::parse_duration(text) {
            Ok(duration) if (SHORTEST..=max).contains(&duration) => Ok(duration),
            Ok(_) => Err(format!(
                "expected {} to {}",
                humantime::format_duration(SHORTEST),
                humantime::format_duration(max)
            )),
            Err(_) => Err("expected a duration such as 250ms, 30s, 5m, 1h or 30d".to_owned()),
        })
    }

    /// A whole number within bounds.
    pub fn number(&mut self, key: &'static str, default: usize, min: usize, max: usize) -> usize {
        self.or(key, default, |text| match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(format!("expected a whole number from {min} to {max}")),
        })
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.or(key, default, |text| parse(text, "true or false"))
    }

    /// `payout.keys`, without which nothing goes: `ID:KEY[,ID:KEY…]`, see [`ledger::vault`]. `None` if they are
    /// missing or wrong, which [`Self::finish`] reports.
    pub fn vault(&mut self) -> Option<Vault> {
        let mut vault = None;
        self.secret("payout.keys", |keys| {
            vault = Some(keys.parse().map_err(|error: KeysError| error.to_string())?);
            Ok(())
        });
        vault
    }

    /// Everything that was wrong, unknown settings included.
    ///
    /// # Errors
    /// Anything was.
    pub fn finish(mut self) -> Result<(), SettingsError> {
        if let Ok(table) = self.config.cache.clone().into_table() {
            let mut unknown = Vec::new();
            for (section, value) in table {
                match value.into_table() {
                    Ok(values) => unknown.extend(values.into_keys().map(|key| format!("{section}.{key}"))),
                    Err(_) => unknown.push(section),
                }
            }
            unknown.retain(|key| !NAMES.contains(&key.as_str()));
            unknown.sort();
            self.problems.extend(unknown.into_iter().map(|key| format!("{key}: there is no such setting")));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(SettingsError(self.problems)) }
    }
}

pub(super) fn parse<T: std::str::FromStr>(text: &str, expected: impl Display) -> Result<T, String> {
    text.parse().map_err(|_| format!("expected {expected}"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn reader(variables: &[(&str, &str)]) -> Reader {
        Reader::of_variables(variables.iter().copied())
    }

    #[test]
    fn keys_are_read_and_wrong_ones_not_repeated() {
        let mut good = reader(&[("SALDO__PAYOUT__KEYS", &format!("2026:{KEY}"))]);
        assert_eq!(good.vault().unwrap().current(), "2026");
        good.finish().unwrap();
        let mut bad = reader(&[("SALDO__PAYOUT__KEYS", &format!("2026:{KEY},{KEY}"))]);
        assert!(bad.vault().is_none());
        let SettingsError(problems) = bad.finish().unwrap_err();
        assert_eq!(problems, ["payout.keys: key 2: has no colon; expected ID:KEY"]);
    }

    #[test]
    fn what_may_be_absent_is_read_where_it_is_there() {
        let mut reader = reader(&[("SALDO__MAIL__USER", "saldo"), ("SALDO__MAIL__HOST", "")]);
        assert_eq!(reader.optional_secret("mail.user").unwrap().expose_secret(), "saldo");
        assert!(reader.optional_secret("mail.password").is_none());
        let filled = |text: &str| if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.len()) };
        assert_eq!(reader.required("mail.user", filled), Some(5));
        assert_eq!(reader.required("mail.from", filled), None);
        assert_eq!(reader.optional("mail.link", filled), None);
        assert_eq!(reader.optional("mail.host", filled), None);
        reader.problem("mail.password", "is missing, although mail.user is set");
        let SettingsError(problems) = reader.finish().unwrap_err();
        assert_eq!(
            problems,
            [
                "mail.from: is missing (SALDO__MAIL__FROM)",
                "mail.host: is empty",
                "mail.password: is missing, although mail.user is set",
            ]
        );
    }
}
