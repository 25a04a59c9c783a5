//! Whole letters: language, a shop's own words, hostile values.

use contract::notification::MailTexts;
use contract::payout::{OtherMethod, PayoutMethod};
use contract::preferences::Localized;
use contract::{MailKind, PayoutKind};
use jiff::tz::TimeZone;
use ledger::mail::MailContent;
use rust_decimal::Decimal;

use super::*;

fn letters() -> Letters {
    let link = Some("https://shop.example/{merchant}?a=1&id={withdrawal}".parse().unwrap());
    Letters::new(Style { link, time_zone: TimeZone::UTC }).unwrap()
}

fn content(kind: MailKind, locale: Option<&str>) -> MailContent {
    sample(kind, locale.map(|locale| locale.parse().unwrap())).unwrap()
}

fn write(content: &MailContent) -> Letter {
    letters().write(content).unwrap()
}

/// With ordinary spaces, for reading.
fn spaced(text: &str) -> String {
    text.replace(['\u{a0}', '\u{202f}'], " ")
}

#[test]
fn letters_are_written_on_any_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<Letters>();
}

#[test]
fn a_reader_gets_their_language_or_the_shops_or_english_with_figures_to_match() {
    for (reader, shop, language, amount) in [
        (Some("it"), "en", "it", "1250,50 EUR"),
        (Some("it-CH"), "en", "it", "1250.50 EUR"),
        (Some("pt-BR"), "it", "pt", "1.250,50 EUR"),
        (Some("es-MX"), "it", "es", "1,250.50 EUR"),
        (Some("zh-Hant-TW"), "pt-PT", "pt", "1250,50 EUR"),
        (Some("ar-EG"), "it-CH", "it", "1250.50 EUR"),
        (Some("he"), "ar", "en", "1,250.50 EUR"),
        (Some("tlh"), "qaa", "en", "1,250.50 EUR"),
        (None, "es", "es", "1250,50 EUR"),
        (None, "de", "en", "1,250.50 EUR"),
    ] {
        let mut content = content(MailKind::CustomerPaid, reader);
        content.shop.default_locale = shop.parse().unwrap();
        let letter = write(&content);
        let case = format!("{reader:?} at a shop in {shop}: {}", letter.text);
        assert_eq!(letter.language, language, "{case}");
        assert!(spaced(&letter.text).contains(&format!(": {amount}\n")), "{case}");
        assert!(spaced(&letter.subject).contains(amount), "{}", letter.subject);
        assert!(letter.html.contains(&format!("<html lang=\"{language}\" dir=\"ltr\">")));
    }
}

#[test]
fn every_mail_is_written_with_all_there_can_be_and_with_as_little() {
    for kind in MailKind::ALL.iter().copied() {
        for (language, _) in words::LANGUAGES {
            for customer_name in [None, Some("Maria".to_owned())] {
                let mut content = content(kind, Some(language));
                content.items.truncate(1);
                let item = &mut content.items[0];
                item.note.clone_from(&customer_name);
                item.reason.clone_from(&customer_name);
                item.payment_reference.clone_from(&customer_name);
                item.minimum = customer_name.as_ref().map(|_| Decimal::ONE);
                item.customer_name = customer_name;
                write(&content);
            }
        }
    }
}

#[test]
fn a_mail_of_nothing_is_an_error() {
    let mut content = content(MailKind::AdminDigest, None);
    content.items.clear();
    assert!(matches!(letters().write(&content), Err(LetterError::Empty)));
}

/// Texts for German readers.
fn german<S: FromText, I: FromText>(subject: &str, introduction: &str) -> MailTexts<S, I> {
    MailTexts { subject: in_german(subject), introduction: in_german(introduction) }
}

fn in_german<T: FromText>(text: &str) -> Localized<T> {
    Localized([("de".parse().unwrap(), T::from_text(text))].into())
}

trait FromText {
    fn from_text(text: &str) -> Self;
}

impl<T: std::str::FromStr<Err = String>> FromText for T {
    fn from_text(text: &str) -> Self {
        text.parse().unwrap()
    }
}

fn with_german_texts(kind: MailKind) -> MailContent {
    let mut content = content(kind, Some("de-CH"));
    let texts = &mut content.shop.texts;
    let subject = "{shop}: {customer}, {amount}";
    let introduction = "Guten Tag {customer}\n{amount} <b>bei</b> {shop}.";
    match kind {
        MailKind::AdminRequested => texts.admin_requested = german(subject, introduction),
        MailKind::AdminDigest => {
            texts.admin_digest = german("{shop}: {count}", "{count} <b>bei</b>\n{shop}.");
        }
        MailKind::CustomerRequested => texts.customer_requested = german(subject, introduction),
        MailKind::CustomerApproved => texts.customer_approved = german(subject, introduction),
        MailKind::CustomerPaid => texts.customer_paid = german(subject, introduction),
        MailKind::CustomerRejected => texts.customer_rejected = german(subject, introduction),
        MailKind::CustomerCancelled => texts.customer_cancelled = german(subject, introduction),
    }
    content
}

#[test]
fn a_shops_own_words_replace_the_built_in_ones_in_every_mail() {
    for kind in MailKind::ALL.iter().copied() {
        let letter = write(&with_german_texts(kind));
        let (subject, introduction, html) = if kind == MailKind::AdminDigest {
            (
                "Bottega Rossi: 3",
                "3 <b>bei</b>\nBottega Rossi.\n\n",
                "<bdi>3</bdi> &lt;b&gt;bei&lt;&#x2f;b&gt;<br>",
            )
        } else {
            (
                "Bottega Rossi: Maria Bianchi, 1'250.50 EUR",
                "Guten Tag Maria Bianchi\n1'250.50 EUR <b>bei</b> Bottega Rossi.\n\n",
                "Guten Tag <bdi>Maria Bianchi</bdi><br><bdi>1&#x27;250.50 EUR</bdi> &lt;b&gt;bei",
            )
        };
        assert_eq!(spaced(&letter.subject), subject);
        assert!(spaced(&letter.text).starts_with(introduction), "{kind}: {}", letter.text);
        let paragraph = format!("<p lang=\"de\" dir=\"auto\">{html}");
        assert!(spaced(&letter.html).contains(&paragraph), "{kind}: {}", letter.html);
        // The rest is in English, figures and all.
        assert_eq!(letter.language, "en");
        assert!(spaced(&letter.text).contains("Amount: 1,250.50 EUR"), "{kind}: {}", letter.text);
    }
}

#[test]
fn own_words_for_others_change_nothing() {
    for kind in MailKind::ALL.iter().copied() {
        let mut content = with_german_texts(kind);
        content.locale = Some("it".parse().unwrap());
        assert!(write(&content) == write(&sample(kind, content.locale.clone()).unwrap()), "{kind}");
    }
}

const HOSTILE: [&str; 7] = [
    "a\r\nBcc: victim@example.org\r\n\r\nbody",
    "nul \0 bell \u{7} escape \u{1b}[31m delete \u{7f} next \u{85} line \u{2028} paragraph \u{2029}",
    "</bdi></td></table><script>alert(1)</script><img src=\"https://evil.example/x\"> & ' {{ subject }} {% raw %}",
    "\u{202e}evil\u{202c}\u{202c}\u{2069}\u{2069}\u{202e}moc.live\u{2067}",
    "שלום, مرحبا \u{200f}١٢٣",
    "{ $shop } {customer} {merchant} \u{fdd0}x\u{fdd1}",
    "",
];

fn hostile(kind: MailKind, value: &str) -> MailContent {
    let mut content = content(kind, Some("en"));
    value.clone_into(&mut content.shop.name);
    for item in &mut content.items {
        item.customer_name = Some(value.to_owned());
        item.payout_kind = PayoutKind::Other;
        value.clone_into(&mut item.payout);
        item.payment_reference = Some(value.to_owned());
        item.note = Some(value.to_owned());
        item.reason = Some(value.to_owned());
    }
    content
}

/// All tags but those of a note's line breaks, without their attributes.
fn tags(html: &str) -> Vec<&str> {
    let tags = html.split('<').skip(1).map(|tag| tag.split([' ', '>']).next().unwrap());
    tags.filter(|tag| !["br", "bdi", "/bdi"].contains(tag)).collect()
}

#[test]
fn no_value_breaks_a_letter() {
    for kind in MailKind::ALL.iter().copied() {
        let harmless = write(&hostile(kind, "harmless"));
        for value in HOSTILE {
            let letter = write(&hostile(kind, value));
            assert_eq!(tags(&letter.html), tags(&harmless.html), "{kind}, {value:?}");
            assert!(!letter.subject.contains(char::is_control), "{:?}", letter.subject);
            let unseen = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
            assert!(!letter.text.contains(unseen) && !letter.html.contains(unseen), "{kind}, {value:?}");
            let forged = |line: &str| line.starts_with("Bcc:") || line.starts_with("body");
            assert!(!letter.text.lines().any(forged), "{}", letter.text);
        }
    }
}

#[test]
fn in_every_line_what_turns_the_direction_is_turned_back() {
    for kind in MailKind::ALL.iter().copied() {
        for value in HOSTILE {
            let letter = write(&hostile(kind, value));
            let lines = letter.text.lines().chain(letter.html.split('\n')).chain([letter.subject.as_str()]);
            for line in lines {
                // Where every stretch ends in its line and none is ended that has not begun, closing adds nothing.
                assert_eq!(visible::line(line), line.replace('\t', "␉"), "{kind}, {value:?}");
            }
        }
    }
}

#[test]
fn what_is_hostile_is_shown() {
    let letter = write(&hostile(MailKind::AdminRequested, HOSTILE[0]));
    let one_line = "a␍␊Bcc: victim@example.org␍␊␍␊body";
    assert!(letter.subject.starts_with(&format!("{one_line}: {one_line} requests")), "{}", letter.subject);
    assert!(letter.text.contains(&format!("Customer: {one_line} (affiliate-17)\n")), "{}", letter.text);
    assert!(letter.text.contains("\n> a\n> Bcc: victim@example.org\n>\n> body\n"), "{}", letter.text);
    let note = "<bdi>a</bdi><br><bdi>Bcc: victim@example.org</bdi><br><bdi></bdi><br><bdi>body</bdi>";
    assert!(letter.html.contains(note), "{}", letter.html);

    let letter = write(&hostile(MailKind::CustomerPaid, HOSTILE[2]));
    assert!(letter.text.contains(&format!("Payment reference: {}\n", HOSTILE[2])), "{}", letter.text);
    let escaped = "<bdi>&lt;&#x2f;bdi&gt;&lt;&#x2f;td&gt;&lt;&#x2f;table&gt;&lt;script&gt;alert(1)";
    assert!(letter.html.contains(escaped), "{}", letter.html);

    let letter = write(&hostile(MailKind::CustomerPaid, HOSTILE[4]));
    let isolated = format!("Payment reference: \u{2068}{}\u{2069}\n", HOSTILE[4]);
    assert!(letter.text.contains(&isolated), "{}", letter.text);
}

#[test]
fn a_long_value_is_cut_in_the_subject_only() {
    let long = "x".repeat(10_000);
    for kind in MailKind::ALL.iter().copied() {
        let letter = write(&hostile(kind, &long));
        assert!(letter.subject.chars().count() <= 200, "{kind}");
        assert!(letter.text.contains(&long) && letter.html.contains(&long), "{kind}");
    }
    let letter = write(&hostile(MailKind::AdminRequested, &long));
    assert!(letter.subject.ends_with("x…"), "{}", letter.subject);
}

#[test]
fn a_digest_leaves_nothing_out_and_adds_up() {
    let mut content = content(MailKind::AdminDigest, Some("it"));
    let items = content.items.clone();
    content.items = (0..1000)
        .map(|number| {
            let mut item = items[number % 3].clone();
            item.customer = format!("number-{number}").parse().unwrap();
            item
        })
        .collect();
    let letter = write(&content);
    for number in 0..1000 {
        assert!(letter.text.contains(&format!("number-{number}")), "{number}");
        assert!(letter.html.contains(&format!("number-{number}</bdi>")), "{number}");
    }
    assert_eq!(letter.subject, "Bottega Rossi: 1000 richieste di pagamento");
    // 334 times 1250.50, 333 times 80 and 333 times 42000.
    let totals = "\nTotale: 444.307,00 EUR\nTotale: 13.986.000 JPY\n";
    assert!(spaced(&letter.text).contains(totals), "{}", &letter.text[letter.text.len() - 400..]);
    content.items[0].amount = Decimal::MAX;
    content.items[3].amount = Decimal::MAX;
    assert!(matches!(letters().write(&content), Err(LetterError::Total)));
}

#[test]
fn staff_get_a_link_where_there_is_one_and_the_id_in_any_case() {
    let id = "5f0c2d9a41be4c7f8a3e6d1b90c7e254";
    let without = Letters::new(Style { link: None, time_zone: TimeZone::UTC }).unwrap();
    for kind in MailKind::ALL.iter().copied() {
        let content = content(kind, None);
        let (with, without) = (write(&content), without.write(&content).unwrap());
        let admin = matches!(kind, MailKind::AdminRequested | MailKind::AdminDigest);
        assert_eq!(
            with.text.contains(&format!(": https://shop.example/bottega?a=1&id={id}\n")),
            admin,
            "{kind}"
        );
        let link = format!(" href=\"https://shop.example/bottega?a=1&amp;id={id}\">");
        assert_eq!(with.html.contains(&link), admin, "{kind}");
        assert!(!without.text.contains("https://") && !without.html.contains("<a "), "{kind}");
        assert_eq!(without.text.contains(&format!("Request: {id}\n")), admin, "{kind}");
        assert_eq!(without.html.contains(id), admin, "{kind}");
    }
}

#[test]
fn the_staffs_note_with_an_approval_stays_with_the_staff() {
    let letter = write(&hostile(MailKind::CustomerApproved, "checked by Anna"));
    let note = "Note:";
    assert!(!letter.text.contains(note) && !letter.text.contains("> "), "{}", letter.text);
}

#[test]
fn how_long_another_payout_method_is_is_told_in_the_readers_language() {
    for (text, expected) in
        [("x", "Altro (1 carattere, nascosto)"), ("12345", "Altro (5 caratteri, nascosti)")]
    {
        let method = PayoutMethod::Other(OtherMethod { text: text.parse().unwrap() });
        let mut content = content(MailKind::CustomerPaid, Some("it"));
        content.items[0].payout_kind = method.kind();
        content.items[0].payout = method.masked();
        let letter = write(&content);
        assert!(letter.text.contains(&format!("Metodo di pagamento: {expected}\n")), "{}", letter.text);
    }
}

#[test]
fn debug_shows_nothing_that_was_written() {
    let shown = format!("{:?}", write(&content(MailKind::CustomerPaid, None)));
    assert_eq!(shown, "Letter { language: \"en\", .. }");
}
