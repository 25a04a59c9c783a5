//! Letters: what a mail says, in the reader's language, as text and as HTML.
//!
//! Writing one does no I/O, and the same content always gives the same letter. The layouts (`templates/*.txt`,
//! `*.html`) stand once; the words are in one file for each language (`templates/*.ftl`). Both are compiled in.
//!
//! Whatever a name, note or reference holds, it can break neither part of a mail nor its subject, and it is shown
//! whole; only a subject is cut. See [`passage`] and [`visible`].

mod facts;
mod figures;
mod link;
mod own;
mod passage;
mod sample;
#[cfg(test)]
mod tests;
mod visible;
mod words;

use std::collections::BTreeMap;

use contract::MailKind;
use jiff::tz::TimeZone;
use ledger::mail::{MailContent, MailItem};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use rust_decimal::Decimal;

use facts::Facts;
use figures::Figures;
pub use link::LinkPattern;
use own::Values;
pub use sample::sample;
use words::Words;

const LAYOUTS: [(&str, &str); 7] = [
    ("frame.txt", include_str!("../../templates/frame.txt")),
    ("frame.html", include_str!("../../templates/frame.html")),
    ("shown.html", include_str!("../../templates/shown.html")),
    ("single.txt", include_str!("../../templates/single.txt")),
    ("single.html", include_str!("../../templates/single.html")),
    ("digest.txt", include_str!("../../templates/digest.txt")),
    ("digest.html", include_str!("../../templates/digest.html")),
];

/// What an operator decides about every letter.
#[derive(Debug, Clone)]
pub struct Style {
    /// Where staff can look at a withdrawal; without it they are told its id only.
    pub link: Option<LinkPattern>,
    /// In which time zone times are told.
    pub time_zone: TimeZone,
}

/// What is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// One line of at most about 200 characters, without control characters.
    pub subject: String,
    /// The plain text, whose lines end with LF and may be long.
    pub text: String,
    /// A whole HTML document, which needs nothing from elsewhere.
    pub html: String,
    /// The language of the built-in words: `en`, `it`, `pt` or `es`.
    pub language: String,
}

/// Letters are people's.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letter").field("language", &self.language).finish_non_exhaustive()
    }
}

/// Why a letter cannot be written. Nothing that somebody else wrote can be the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LetterError {
    /// There is no withdrawal to tell of.
    #[error("the mail tells of no withdrawal")]
    Empty,
    /// A file of words is at fault.
    #[error("the words for {message} in {language} are missing or lack a value")]
    Words {
        /// In this language.
        language: &'static str,
        /// The message.
        message: String,
    },
    /// A layout is at fault.
    #[error("the layout cannot be filled in")]
    Layout(#[from] minijinja::Error),
    /// A time is outside the years that have a calendar.
    #[error("a time cannot be written as a date")]
    Time,
    /// The sum of a digest is beyond all figures.
    #[error("the total is too large")]
    Total,
}

/// Writes letters.
pub struct Letters {
    style: Style,
    layouts: Environment<'static>,
    /// The first is for readers of none of these languages.
    words: [Words; words::LANGUAGES.len()],
}

impl Letters {
    /// Loads layouts and words, once.
    ///
    /// # Errors
    ///
    /// If one of them is malformed, which tests rule out.
    pub fn new(style: Style) -> Result<Self, LetterError> {
        let mut layouts = Environment::new();
        layouts.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .keep_trailing_newline(true)
                .build()?,
        );
        layouts.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in LAYOUTS {
            layouts.add_template(name, source)?;
        }
        let [english, italian, portuguese, spanish] =
            words::LANGUAGES.map(|(language, source)| Words::load(language, source));
        Ok(Self { style, layouts, words: [english?, italian?, portuguese?, spanish?] })
    }

    /// Writes a mail.
    ///
    /// # Errors
    ///
    /// If there is nothing to tell, or something that no ledger has.
    pub fn write(&self, content: &MailContent) -> Result<Letter, LetterError> {
        let first = content.items.first().ok_or(LetterError::Empty)?;
        let (words, locale) = self.words_for(content);
        let figures = Figures { locale, time_zone: &self.style.time_zone };
        let facts = Facts { words, figures: &figures };
        let body = match content.kind {
            MailKind::AdminDigest => self.digest(content, &facts)?,
            _ => self.single(content, first, &facts)?,
        };
        let (subject, frame) = self.frame(content, first, &facts)?;
        let body = context! { ..frame, ..body };
        let layout = if content.kind == MailKind::AdminDigest { "digest" } else { "single" };
        Ok(Letter {
            subject,
            text: self.layouts.get_template(&format!("{layout}.txt"))?.render(&body)?,
            html: self.layouts.get_template(&format!("{layout}.html"))?.render(&body)?,
            language: words.language.to_owned(),
        })
    }

    /// The built-in words for the reader, and the locale of figures among them: the reader's own or the shop's, region
    /// and all, where it is of that language.
    fn words_for<'a>(&'a self, content: &'a MailContent) -> (&'a Words, &'a str) {
        let known = |language: &str| self.words.iter().find(|words| words.language == language);
        let [english, ..] = &self.words;
        content
            .locale
            .iter()
            .chain([&content.shop.default_locale])
            .find_map(|locale| Some((known(words::language(locale))?, locale.as_str())))
            .unwrap_or((english, english.language))
    }

    /// What all letters have: the subject, and for the layouts that and the first and last paragraphs.
    fn frame(
        &self,
        content: &MailContent,
        item: &MailItem,
        facts: &Facts<'_>,
    ) -> Result<(String, Value), LetterError> {
        let values = Values::of(content, item, facts.figures);
        let values = values.for_words();
        let said = |part| facts.words.sentence(content.kind.as_str(), part, &values);
        let (own_subject, own_introduction) = own::texts(content, item, &self.style.time_zone);
        let subject = match own_subject {
            Some(own) => own.passage,
            None => said("subject")?,
        };
        let (introduction, introduction_language) = match own_introduction {
            Some(own) => (own.passage, own.language),
            None => (said("introduction")?, facts.words.language.to_owned()),
        };
        let subject = subject.subject();
        let frame = context! {
            subject => &subject,
            language => facts.words.language,
            introduction => introduction.to_value(),
            introduction_language,
            closing => said("closing")?.to_value(),
        };
        Ok((subject, frame))
    }

    fn single(
        &self,
        content: &MailContent,
        item: &MailItem,
        facts: &Facts<'_>,
    ) -> Result<Value, LetterError> {
        let rows = facts.rows(content.kind, item)?;
        let quotes = facts.quotes(content.kind, item)?;
        let link = match content.kind {
            MailKind::AdminRequested => self.link(content, item),
            _ => None,
        };
        let labels = context! { open => facts.words.word("label-open")? };
        Ok(context! { rows, quotes, labels, ..linked(link) })
    }

    fn digest(&self, content: &MailContent, facts: &Facts<'_>) -> Result<Value, LetterError> {
        let mut items = Vec::new();
        let mut totals = BTreeMap::new();
        for item in &content.items {
            items.push(context! { ..facts.digest(item)?, ..linked(self.link(content, item)) });
            let (_, total) = totals.entry(item.currency.code()).or_insert((item.currency, Decimal::ZERO));
            *total = total.checked_add(item.amount).ok_or(LetterError::Total)?;
        }
        let totals: Vec<_> =
            totals.into_values().map(|(currency, total)| facts.figures.amount(total, currency)).collect();
        let label = |name| facts.words.word(name);
        let labels = context! {
            customer => label("label-customer")?,
            amount => label("label-amount")?,
            payout => label("label-payout")?,
            requested_at => label("label-requested-at")?,
            request => label("label-request")?,
            total => label("label-total")?,
            open => label("label-open")?,
        };
        Ok(context! { items, totals, labels })
    }

    fn link(&self, content: &MailContent, item: &MailItem) -> Option<String> {
        self.style.link.as_ref().map(|pattern| pattern.link(&content.shop.id, item.withdrawal))
    }
}

/// A link as text, and as HTML in which no slash is escaped: of all that needs escaping, a pattern can have `&` alone.
fn linked(link: Option<String>) -> Value {
    let link_html = link.as_ref().map(|link| Value::from_safe_string(link.replace('&', "&amp;")));
    context! { link, link_html }
}
