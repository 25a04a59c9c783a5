//! A shop's own words, and the values that these and the built-in words share.

use contract::MailKind;
use contract::notification::{DigestIntroduction, DigestSubject, MailIntroduction, MailSubject, MailTexts};
use contract::preferences::Localized;
use fluent_bundle::{FluentArgs, FluentValue};
use jiff::tz::TimeZone;
use ledger::display;
use ledger::mail::{MailContent, MailItem};

use super::figures::Figures;
use super::passage::{Passage, mark};
use super::words::number;

/// What is put in subjects, introductions and closings.
pub(super) struct Values {
    marked: Vec<(&'static str, String)>,
    count: usize,
}

impl Values {
    pub(super) fn of(content: &MailContent, item: &MailItem, figures: &Figures<'_>) -> Self {
        let count = content.items.len();
        let mut marked = vec![("shop", mark(&content.shop.name))];
        if content.kind == MailKind::AdminDigest {
            marked.push(("count", mark(&count.to_string())));
        } else {
            let customer = item.customer_name.as_deref().unwrap_or(item.customer.as_str());
            marked.push(("customer", mark(customer)));
            marked.push(("amount", mark(&figures.amount(item.amount, item.currency))));
        }
        Self { marked, count }
    }

    pub(super) fn for_words(&self) -> FluentArgs<'_> {
        let texts = self.marked.iter().map(|(name, value)| (*name, FluentValue::from(value.as_str())));
        let mut values: FluentArgs<'_> = texts.collect();
        if values.get("count").is_some() {
            values.set("count", number(self.count));
        }
        values
    }

    fn get(&self, name: &str) -> &str {
        self.marked.iter().find(|(of, _)| *of == name).map_or("", |(_, value)| value)
    }
}

/// A text of the shop's, in its language.
pub(super) struct Own {
    pub(super) language: String,
    pub(super) passage: Passage,
}

/// Subject and introduction, where the shop has its own for somebody of the mail's locale.
pub(super) fn texts(
    content: &MailContent,
    item: &MailItem,
    time_zone: &TimeZone,
) -> (Option<Own>, Option<Own>) {
    let filler = Filler { content, item, time_zone };
    let texts = &content.shop.texts;
    match content.kind {
        MailKind::AdminRequested => filler.both(&texts.admin_requested),
        MailKind::AdminDigest => filler.both(&texts.admin_digest),
        MailKind::CustomerRequested => filler.both(&texts.customer_requested),
        MailKind::CustomerApproved => filler.both(&texts.customer_approved),
        MailKind::CustomerPaid => filler.both(&texts.customer_paid),
        MailKind::CustomerRejected => filler.both(&texts.customer_rejected),
        MailKind::CustomerCancelled => filler.both(&texts.customer_cancelled),
    }
}

struct Filler<'a> {
    content: &'a MailContent,
    item: &'a MailItem,
    time_zone: &'a TimeZone,
}

impl Filler<'_> {
    fn both<S: Template, I: Template>(&self, texts: &MailTexts<S, I>) -> (Option<Own>, Option<Own>) {
        (self.fill(&texts.subject), self.fill(&texts.introduction))
    }

    /// Amounts follow the language of the text, which need not be that of the built-in words.
    fn fill<T: Template>(&self, texts: &Localized<T>) -> Option<Own> {
        let default = &self.content.shop.default_locale;
        let (language, text) = texts.choose(self.content.locale.as_ref(), default)?;
        let reader = self.content.locale.as_ref().unwrap_or(default);
        let locale = display::locale_for(reader.as_str(), language.as_str());
        let values = Values::of(self.content, self.item, &Figures { locale, time_zone: self.time_zone });
        Some(Own { language: language.as_str().to_owned(), passage: Passage::marked(&text.filled(&values)) })
    }
}

/// The contract's texts with placeholders.
trait Template {
    fn filled(&self, values: &Values) -> String;
}

macro_rules! template {
    ($($name:ident),+) => {
        $(impl Template for $name {
            fn filled(&self, values: &Values) -> String {
                self.fill(|name| values.get(name))
            }
        })+
    };
}

template!(MailSubject, MailIntroduction, DigestSubject, DigestIntroduction);
