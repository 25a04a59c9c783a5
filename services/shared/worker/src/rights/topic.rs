//! What a topic permission confines its user to, whoever wrote it.
//!
//! A pattern is read, not tried out: that some keys do not match says nothing about the others. What is understood is a small
//! part of what the broker's regular expressions can say, of which it is easy to see that **every** key that matches begins
//! with one of the merchants found here. Anything else counts as not confined, even if it happens to be.
//!
//! | part | what it may be |
//! |---|---|
//! | beginning | `^`, so that nothing can stand before it |
//! | merchant | an id, or several as `(acme\|other)`, and `\.`, which no `*` or `?` follows |
//! | rest | ids, `\.`, `\-`, `.`, brackets, classes of letters, digits and hyphens, `\|` within brackets, `*`, `+`, `?` |
//! | end | `$`, of what may be written; what may be heard can go on |
//!
//! **Which commands** those are is tried out, because there are few; and whether it is for a purpose, with what resembles
//! the commands that it lets through ([`strays`]). That does not see a word of which no match is within a letter of a command's,
//! such as `[xy]+`: it lets no command of today through.

use regex_lite::Regex;

use super::pattern::Pattern;

/// Why a pattern confines nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unconfined {
    /// Something can stand before what it says.
    #[error("does not begin with `^`")]
    Beginning,
    /// Something can follow.
    #[error("does not end with `$`")]
    End,
    /// The first part is not fixed.
    #[error(r"does not begin with one shop's id and `\.`")]
    Merchant,
    /// An anchor belongs to one of several alternatives.
    #[error("has alternatives outside of brackets, which the anchors do not hold together")]
    Alternatives,
    /// It may or may not be well.
    #[error("is not understood from `{0}` on")]
    Obscure(String),
}

/// What a pattern lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confined {
    /// Only keys of these merchants.
    pub merchants: Vec<String>,
    /// Of them, these commands.
    pub commands: Vec<&'static str>,
    /// A key that belongs to no group of commands and is let through: the pattern is for what there could ever be, rather than
    /// for a purpose.
    pub stray: Option<String>,
}

/// Reads a pattern of what may be written, as the broker does; an empty one matches nothing.
///
/// # Errors
/// It does not confine its user to merchants' own keys, or cannot be seen to.
pub fn read(pattern: &str) -> Result<Confined, Unconfined> {
    if Pattern::is_nothing(pattern) {
        return Ok(Confined { merchants: Vec::new(), commands: Vec::new(), stray: None });
    }
    let inner = pattern.strip_prefix('^').ok_or(Unconfined::Beginning)?;
    let (merchants, rest) = confined(inner.strip_suffix('$').ok_or(Unconfined::End)?)?;
    let matcher = Regex::new(pattern).map_err(|_| Unconfined::Obscure(rest.to_owned()))?;
    let lets = |name: &str| {
        let keys = merchants.iter().map(|merchant| format!("{merchant}.{name}"));
        keys.into_iter().find(|key| matcher.is_match(key))
    };
    let commands: Vec<_> = super::commands().filter(|name| lets(name).is_some()).collect();
    let stray = strays(&commands).find_map(|name| lets(&name));
    Ok(Confined { merchants, commands, stray })
}

/// The merchants whose events a pattern of what may be read from [`EVENTS`](crate::topology::EVENTS) lets its user bind to.
/// It is asked for the key of a binding, of which the first word is the merchant's id: what follows can only be less.
///
/// # Errors
/// As [`read`]'s.
pub fn heard(pattern: &str) -> Result<Vec<String>, Unconfined> {
    if Pattern::is_nothing(pattern) {
        return Ok(Vec::new());
    }
    let inner = pattern.strip_prefix('^').ok_or(Unconfined::Beginning)?;
    Ok(confined(inner.strip_suffix('$').unwrap_or(inner))?.0)
}

/// What somebody may have meant by a pattern, confined or not: the merchants that it begins with, and the commands of theirs
/// that it lets through. For advice; nothing is concluded from it.
pub fn meant(pattern: &str) -> Option<(Vec<String>, Vec<&'static str>)> {
    let inner = pattern.trim_start_matches('^');
    let merchants = merchants(inner).map(|(merchants, _)| merchants).or_else(|| {
        let end = inner.find(|c: char| !matches!(c, 'a'..='z' | '0'..='9' | '-'))?;
        let (merchant, rest) = inner.split_at(end);
        let is_one = merchant.parse::<contract::MerchantId>().is_ok() && rest.starts_with('.');
        is_one.then(|| vec![merchant.to_owned()])
    })?;
    let matcher = Regex::new(pattern).ok()?;
    let lets = |name: &&str| merchants.iter().any(|of| matcher.is_match(&format!("{of}.{name}")));
    let commands = super::commands().filter(lets).collect();
    Some((merchants, commands))
}

/// Names of no command and no group of commands: nothing at all, and each of these commands with one letter of its group
/// changed. Only what stands for any letter or for any word there lets one of them through.
fn strays<'a>(commands: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789-";
    let changed = commands.iter().filter_map(|name| name.rsplit_once('.')).flat_map(|(group, what)| {
        (0..group.len()).flat_map(move |at| {
            let (before, after) = (&group[..at], &group[at + 1..]);
            let others = LETTERS.chars().filter(move |letter| !group[at..].starts_with(*letter));
            others.map(move |letter| format!("{before}{letter}{after}.{what}"))
        })
    });
    let none = ["zz.zz", "zz", "", "zz.zz.zz", "-.-", "0.0"].map(str::to_owned);
    none.into_iter().chain(changed)
}

/// What stands between the anchors: the merchants, and the rest, which was understood.
fn confined(inner: &str) -> Result<(Vec<String>, &str), Unconfined> {
    let (merchants, rest) = merchants(inner).ok_or(Unconfined::Merchant)?;
    if rest.starts_with(['*', '?', '+', '{']) {
        return Err(Unconfined::Merchant);
    }
    understood(rest)?;
    Ok((merchants, rest))
}

/// The merchants in front, and what follows the dot after them.
fn merchants(pattern: &str) -> Option<(Vec<String>, &str)> {
    let (merchants, rest) = if let Some(several) = pattern.strip_prefix('(') {
        let (several, rest) = several.split_once(')')?;
        (several.split('|').map(str::to_owned).collect(), rest)
    } else {
        let end = pattern.find('\\')?;
        (vec![pattern.get(..end)?.to_owned()], pattern.get(end..)?)
    };
    let rest = rest.strip_prefix(r"\.")?;
    merchants
        .iter()
        .all(|merchant| merchant.parse::<contract::MerchantId>().is_ok())
        .then_some((merchants, rest))
}

/// Whether all of it is of the kind that the table above lists, so that it matches no less than a whole rest.
fn understood(rest: &str) -> Result<(), Unconfined> {
    let (mut depth, mut left) = (0_u32, rest);
    while let Some(next) = left.chars().next() {
        let obscure = || Unconfined::Obscure(left.to_owned());
        let length = match next {
            '|' if depth == 0 => return Err(Unconfined::Alternatives),
            'a'..='z' | '0'..='9' | '-' | '.' | '*' | '+' | '?' | '|' => 1,
            '\\' if left.starts_with(r"\.") || left.starts_with(r"\-") => 2,
            '(' => {
                depth += 1;
                // After a bracket, a question mark asks for something special, such as other rules for the anchors.
                match left.strip_prefix("(?") {
                    None => 1,
                    Some(special) if special.starts_with(':') => 3,
                    Some(_) => return Err(obscure()),
                }
            }
            ')' => {
                depth = depth.checked_sub(1).ok_or_else(obscure)?;
                1
            }
            '[' => {
                let end = left.find(']').ok_or_else(obscure)?;
                let class = left.get(1..end).unwrap_or_default();
                let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
                if class.is_empty() || !class.chars().all(plain) {
                    return Err(obscure());
                }
                end + 1
            }
            _ => return Err(obscure()),
        };
        left = left.get(length..).unwrap_or_default();
    }
    if depth == 0 { Ok(()) } else { Err(Unconfined::Obscure("(".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merchants_of(pattern: &str) -> Vec<String> {
        read(pattern).unwrap_or_else(|error| panic!("{pattern} {error}")).merchants
    }

    #[test]
    fn anchored_patterns_are_confined_to_their_merchants() {
        for (pattern, merchants) in [
            (r"^acme\.commission\.(credit|reverse)$", vec!["acme"]),
            (r"^acme\.(?:commission|adjustment)\.[a-z]+$", vec!["acme"]),
            (r"^acme-2\.payout\-method\.put$", vec!["acme-2"]),
            (r"^(acme|other)\.commission\.credit$", vec!["acme", "other"]),
            (r"^acme\.commission\..*$", vec!["acme"]),
            ("^$", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(merchants_of(pattern), merchants, "{pattern}");
        }
        let read = read(r"^demo\.(adjustment|payout-method)\.[a-z]+$").unwrap();
        assert_eq!(
            read.commands,
            ["adjustment.credit", "adjustment.debit", "adjustment.reverse", "payout-method.put"]
        );
        assert_eq!(read.stray, None);
    }

    #[test]
    fn what_stands_for_any_group_of_commands_is_no_purpose() {
        for pattern in [
            r"^acme\..*$",
            r"^acme\..+$",
            r"^acme\.[a-z]+\.[a-z]+$",
            // Neither lets through what a few made-up names would find.
            r"^acme\.[a-y]+\.[a-y]+$",
            r"^acme\.[adjustmen]+\.credit$",
            r"^acme\.commissio.\.credit$",
            r"^(acme|other)\.(commission|[a-x-]+)\.put$",
        ] {
            assert!(read(pattern).unwrap().stray.is_some(), "{pattern}");
        }
        for pattern in [
            r"^acme\.commission\..*$",
            r"^acme\.commission\.(credit|reverse)$",
            r"^acme\.(commission|adjustment|withdrawal)\.[a-z]+$",
            r"^acme\.payout-method\.put$",
        ] {
            assert_eq!(read(pattern).unwrap().stray, None, "{pattern}");
        }
        // Everything, one by one: somebody has thought about it.
        let groups = "adjustment|commission|customer|payout-method|preferences|withdrawal";
        let all = read(&format!(r"^acme\.({groups})\.[a-z]+$")).unwrap();
        assert_eq!((all.commands.len(), all.stray), (super::super::commands().count(), None));
    }

    #[test]
    fn what_may_be_heard_is_of_the_merchants_in_front_whatever_follows() {
        let one = || Ok(vec!["acme".to_owned()]);
        for pattern in
            [r"^acme\.", r"^acme\..*$", r"^acme\.commission\.", r"^acme\.(commission|withdrawal)\.#$"]
        {
            let found = heard(pattern);
            if pattern.contains('#') {
                assert_eq!(found, Err(Unconfined::Obscure("#".to_owned())));
            } else {
                assert_eq!(found, one(), "{pattern}");
            }
        }
        assert_eq!(heard(r"^(acme|other)\.").unwrap(), ["acme", "other"]);
        assert_eq!(heard("^$"), Ok(Vec::new()));
        for (pattern, why) in [
            (r"acme\.", Unconfined::Beginning),
            (".*", Unconfined::Beginning),
            ("^", Unconfined::Merchant),
            ("^acme", Unconfined::Merchant),
            ("^acme.", Unconfined::Merchant),
            (r"^acme\.*", Unconfined::Merchant),
            (r"^acme\.|#", Unconfined::Alternatives),
        ] {
            assert_eq!(heard(pattern), Err(why), "{pattern}");
        }
    }

    #[test]
    fn what_was_meant_is_guessed_where_a_merchant_stands_in_front() {
        let credit = || Some((vec!["acme".to_owned()], vec!["commission.credit"]));
        for pattern in [r"acme\.commission\.credit", "^acme.commission.credit$", r"^acme\.commission\.credit"]
        {
            assert_eq!(meant(pattern), credit(), "{pattern}");
        }
        assert_eq!(meant(r"^(acme|other)\.x$"), Some((vec!["acme".to_owned(), "other".to_owned()], vec![])));
        for pattern in [".*", "^.*$", "", "^acme", "^[a-z]+\\.x$"] {
            assert_eq!(meant(pattern), None, "{pattern}");
        }
    }

    /// Whatever is made of the parts that patterns are made of: what is said to be confined lets no other key through.
    #[test]
    fn what_is_understood_is_confined_whatever_it_is_made_of() {
        const PARTS: [&str; 22] = [
            "acme",
            "(acme|shop)",
            r"\.",
            ".",
            "*",
            "+",
            "?",
            "|",
            "(",
            ")",
            "(?:",
            "[a-z]",
            "[a-z-]+",
            r"\-",
            "commission",
            "credit",
            "$",
            "^",
            "{2}",
            ".*",
            "x",
            "[^x]",
        ];
        const OTHERS: [&str; 12] = [
            "",
            ".",
            "acme",
            "acmex.commission.credit",
            "xacme.commission.credit",
            "other.commission.credit",
            ".commission.credit",
            "acme-commission.credit",
            "commission.credit",
            "x",
            "\nother.x",
            "shopx.x",
        ];
        let mut random = 2_026_u64;
        let mut below = |end: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % end
        };
        let mut confined = 0;
        for _ in 0..20_000 {
            let length = 1 + below(5);
            let parts: String = (0..length).map(|_| PARTS[below(PARTS.len())]).collect();
            let pattern = format!(r"^{}\.{parts}$", ["acme", "(acme|shop)"][below(2)]);
            let Ok(Confined { merchants, .. }) = read(&pattern) else { continue };
            confined += 1;
            let matcher = Regex::new(&pattern).unwrap();
            let own = |key: &str| merchants.iter().any(|of| key.starts_with(&format!("{of}.")));
            let let_through = OTHERS.iter().find(|key| matcher.is_match(key) && !own(key));
            assert_eq!(let_through, None, "{pattern}");
        }
        assert!(confined > 500, "{confined}");
    }

    #[test]
    fn whatever_lets_another_merchant_through_or_could_is_not_confined() {
        use Unconfined::{Alternatives, Beginning, End, Merchant, Obscure};
        let obscure = |from: &str| Obscure(from.to_owned());
        for (pattern, why) in [
            (r"acme\.commission\.credit$", Beginning),
            (".*", Beginning),
            (r"^acme\.commission\.credit", End),
            (r"^acme\.", End),
            // The dot is any character: acmex.commission.credit.
            (r"^acme.commission\.credit$", Merchant),
            (r"^acme.*$", Merchant),
            (r"^.*\.commission\.credit$", Merchant),
            (r"^[a-z]+\.commission\.credit$", Merchant),
            (r"^(acme|.*)\.commission\.credit$", Merchant),
            (r"^(acme|)\.commission\.credit$", Merchant),
            (r"^acme|other\.commission\.credit$", Merchant),
            (r"^acme\.?.*$", Merchant),
            (r"^acme\.*commission$", Merchant),
            (r"^acme\.{0,1}.*$", Merchant),
            (r"^acme\.commission\.credit|other\.commission\.credit$", Alternatives),
            (r"^acme\.(commission|adjustment)|.*$", Alternatives),
            (r"^acme\.commission\.credit\$", obscure(r"\")),
            (r"^acme\.\Q(\E|.*$", obscure(r"\Q(\E|.*")),
            (r"^acme\.(?m)commission$", obscure("(?m)commission")),
            (r"^acme\.(commission$", obscure("(")),
            (r"^acme\.commission)|(.*$", obscure(")|(.*")),
            (r"^acme\.[^x]$", obscure("[^x]")),
            (r"^acme\.[]|]$", obscure("[]|]")),
            // The broker puts the user's own name there.
            (r"^acme\.{username}$", Merchant),
            (r"^acme\.x{username}$", obscure("{username}")),
            (r"^{username}\.commission\.credit$", Merchant),
        ] {
            assert_eq!(read(pattern), Err(why), "{pattern}");
        }
    }
}
