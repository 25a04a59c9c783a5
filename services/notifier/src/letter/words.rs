//! The built-in words, by language. All languages have the same messages with the same variables; a test sees to it.

use contract::Locale;
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::types::FluentNumber;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

use super::LetterError;
use super::passage::Passage;

/// The languages; the first is for readers of none of them.
pub(super) const LANGUAGES: [(&str, &str); 4] = [
    ("en", include_str!("../../templates/en.ftl")),
    ("it", include_str!("../../templates/it.ftl")),
    ("pt", include_str!("../../templates/pt.ftl")),
    ("es", include_str!("../../templates/es.ftl")),
];

/// The words of one language.
pub(super) struct Words {
    pub(super) language: &'static str,
    messages: FluentBundle<FluentResource>,
}

impl Words {
    pub(super) fn load(language: &'static str, source: &str) -> Result<Self, LetterError> {
        let wrong = || LetterError::Words { language, message: "(all)".to_owned() };
        let locale: LanguageIdentifier = language.parse().map_err(|_| wrong())?;
        let resource = FluentResource::try_new(source.to_owned()).map_err(|_| wrong())?;
        let mut messages = FluentBundle::new_concurrent(vec![locale]);
        // Values are marked and isolated by `Passage`.
        messages.set_use_isolating(false);
        messages.add_resource(resource).map_err(|_| wrong())?;
        Ok(Self { language, messages })
    }

    /// A message without variables.
    pub(super) fn word(&self, message: &str) -> Result<String, LetterError> {
        self.format(message, None, None)
    }

    /// A message that depends on a number alone.
    pub(super) fn counted(&self, message: &str, count: usize) -> Result<String, LetterError> {
        let mut values = FluentArgs::new();
        values.set("count", number(count));
        self.format(message, None, Some(&values))
    }

    /// An attribute of a message, with values filled in.
    pub(super) fn sentence(
        &self,
        message: &str,
        attribute: &str,
        values: &FluentArgs<'_>,
    ) -> Result<Passage, LetterError> {
        self.format(message, Some(attribute), Some(values)).map(|text| Passage::marked(&text))
    }

    fn format(
        &self,
        id: &str,
        attribute: Option<&str>,
        values: Option<&FluentArgs<'_>>,
    ) -> Result<String, LetterError> {
        let wrong = || {
            let attribute = attribute.map_or_else(String::new, |attribute| format!(".{attribute}"));
            LetterError::Words { language: self.language, message: format!("{id}{attribute}") }
        };
        let message = self.messages.get_message(id).ok_or_else(wrong)?;
        let pattern = match attribute {
            None => message.value(),
            Some(attribute) => message.get_attribute(attribute).map(|attribute| attribute.value()),
        };
        let mut errors = Vec::new();
        let text = self.messages.format_pattern(pattern.ok_or_else(wrong)?, values, &mut errors);
        if errors.is_empty() { Ok(text.into_owned()) } else { Err(wrong()) }
    }
}

/// A number that plurals are chosen by.
pub(super) fn number(count: usize) -> FluentValue<'static> {
    FluentValue::Number(FluentNumber::from(count))
}

/// `pt` of `pt-BR`.
pub(super) fn language(locale: &Locale) -> &str {
    locale.as_str().split('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Each message and attribute, and its variables.
    fn inventory(source: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut inventory = BTreeMap::<_, BTreeSet<_>>::new();
        let (mut message, mut entry) = (String::new(), String::new());
        for line in source.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split_once(" =").map(|(name, _)| name.trim_start()).unwrap_or_default();
            if name.starts_with('.') {
                entry = format!("{message}{name}");
            } else if !name.is_empty() && !line.starts_with(' ') {
                name.clone_into(&mut message);
                name.clone_into(&mut entry);
            }
            let variable = |rest: &str| rest.split([' ', '}']).next().unwrap_or_default().to_owned();
            let variables = line.split('$').skip(1).map(variable);
            inventory.entry(entry.clone()).or_default().extend(variables);
        }
        inventory
    }

    #[test]
    fn every_language_says_the_same_with_the_same_variables() {
        let [(_, english), others @ ..] = LANGUAGES;
        let expected = inventory(english);
        assert!(expected["admin-digest.subject"].iter().eq(["count", "shop"]), "{expected:?}");
        assert!(expected.len() > 40, "{expected:?}");
        for (language, source) in others {
            assert_eq!(inventory(source), expected, "{language}");
        }
    }

    #[test]
    fn plurals_are_the_languages() {
        for (language, source) in LANGUAGES {
            let words = Words::load(language, source).unwrap();
            let (one, two) =
                (words.counted("payout-hidden", 1).unwrap(), words.counted("payout-hidden", 2).unwrap());
            assert!(one.contains("(1 ") && two.contains("(2 "), "{language}");
            assert_ne!(one.replace('1', "2"), two, "{language}");
        }
    }

    #[test]
    fn a_missing_message_or_variable_is_an_error() {
        let words = Words::load("en", "a =\n    .b = { $missing }\nc = c\n").unwrap();
        let failure = words.sentence("a", "b", &FluentArgs::new()).unwrap_err();
        assert_eq!(failure.to_string(), "the words for a.b in en are missing or lack a value");
        assert!(words.word("a").is_err() && words.word("d").is_err());
        assert!(words.sentence("c", "b", &FluentArgs::new()).is_err());
        assert_eq!(words.word("c").unwrap(), "c");
        assert!(Words::load("en", "a = { $").is_err());
    }
}
