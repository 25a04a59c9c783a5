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
//! | end | `$` |

use regex_lite::Regex;

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
    /// Whether it is for every command that there could ever be, rather than for a purpose.
    pub purposeless: bool,
}

/// Reads a pattern as the broker does; an empty one matches nothing.
///
/// # Errors
/// It does not confine its user to merchants' own keys, or cannot be seen to.
pub fn read(pattern: &str) -> Result<Confined, Unconfined> {
    if pattern.is_empty() || pattern == super::NOTHING {
        return Ok(Confined { merchants: Vec::new(), commands: Vec::new(), purposeless: false });
    }
    let inner = pattern.strip_prefix('^').ok_or(Unconfined::Beginning)?;
    let inner = inner.strip_suffix('$').ok_or(Unconfined::End)?;
    let (merchants, rest) = merchants(inner).ok_or(Unconfined::Merchant)?;
    if rest.starts_with(['*', '?', '+', '{']) {
        return Err(Unconfined::Merchant);
    }
    understood(rest)?;
    let matcher = Regex::new(pattern).map_err(|_| Unconfined::Obscure(rest.to_owned()))?;
    let lets = |name: &str| merchants.iter().any(|merchant| matcher.is_match(&format!("{merchant}.{name}")));
    Ok(Confined {
        commands: super::commands().filter(|name| lets(name)).collect(),
        // No command is called so, and none ever will be.
        purposeless: lets("zz.zz") || lets("zz"),
        merchants,
    })
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
        assert!(!read.purposeless);
    }

    #[test]
    fn a_whole_merchant_is_no_purpose() {
        for pattern in [r"^acme\..*$", r"^acme\..+$", r"^acme\.[a-z]+\.[a-z]+$"] {
            assert!(read(pattern).unwrap().purposeless, "{pattern}");
        }
        assert!(!read(r"^acme\.commission\..*$").unwrap().purposeless);
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
