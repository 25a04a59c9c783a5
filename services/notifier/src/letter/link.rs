//! Where a withdrawal is looked at: a page of whoever runs the shops.

use std::str::FromStr;

use contract::{MerchantId, WithdrawalId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what RFC 3986 leaves unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const EXPECTED: &str = "expected a URL such as https://shop.example/payouts/{merchant}/{withdrawal}";

/// An http or https URL with `{withdrawal}` in it, and perhaps `{merchant}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPattern(String);

impl LinkPattern {
    /// The page of one withdrawal.
    pub(super) fn link(&self, merchant: &MerchantId, withdrawal: WithdrawalId) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        self.0
            .replace("{merchant}", &encoded(merchant.as_str()))
            .replace("{withdrawal}", &encoded(&withdrawal.to_string()))
    }
}

impl FromStr for LinkPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match problem(text) {
            Some(problem) => Err(format!("{problem}; {EXPECTED}")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

fn problem(pattern: &str) -> Option<&'static str> {
    let filled = pattern.replace("{merchant}", "m").replace("{withdrawal}", "w");
    let Some(rest) = filled.strip_prefix("https://").or_else(|| filled.strip_prefix("http://")) else {
        return Some("is no http or https URL");
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') || host.contains('@') {
        return Some("has no host, or somebody's name before it");
    }
    if filled.contains(['{', '}']) {
        return Some("has a placeholder that does not exist, or a brace");
    }
    // RFC 3986, section 2, without the quotes that HTML would have to escape.
    let url = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&()*+,;=%".contains(c);
    if !filled.chars().all(url) {
        return Some("has characters that no URL has");
    }
    (!pattern.contains("{withdrawal}")).then_some("lacks {withdrawal}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(pattern: &str) -> String {
        let withdrawal = "0123456789abcdef0123456789abcdef".parse().unwrap();
        pattern.parse::<LinkPattern>().unwrap().link(&"a-shop".parse().unwrap(), withdrawal)
    }

    #[test]
    fn a_link_names_the_withdrawal() {
        for (pattern, expected) in [
            (
                "https://shop.example/{merchant}/payouts/{withdrawal}#top",
                "https://shop.example/a-shop/payouts/0123456789abcdef0123456789abcdef#top",
            ),
            (
                "http://localhost:8080/?a=1&id={withdrawal}",
                "http://localhost:8080/?a=1&id=0123456789abcdef0123456789abcdef",
            ),
            (
                "https://{merchant}.example/{withdrawal}",
                "https://a-shop.example/0123456789abcdef0123456789abcdef",
            ),
        ] {
            assert_eq!(link(pattern), expected);
        }
    }

    #[test]
    fn what_is_no_pattern_of_a_url_is_refused() {
        for (pattern, problem) in [
            ("", "is no http or https URL"),
            ("javascript:alert({withdrawal})", "is no http or https URL"),
            ("ftp://shop.example/{withdrawal}", "is no http or https URL"),
            ("https:///{withdrawal}", "has no host"),
            ("https://user:secret@shop.example/{withdrawal}", "has no host"),
            ("https://shop.example/{customer}/{withdrawal}", "has a placeholder that does not exist"),
            ("https://shop.example/{withdrawal", "has a placeholder that does not exist"),
            ("https://shop.example/{withdrawal}/}", "has a placeholder that does not exist"),
            ("https://shop.example/ {withdrawal}", "has characters that no URL has"),
            ("https://shop.example/{withdrawal}\r\nBcc: x", "has characters that no URL has"),
            ("https://shop.example/\"><b>{withdrawal}", "has characters that no URL has"),
            ("https://shöp.example/{withdrawal}", "has characters that no URL has"),
            ("https://shop.example/{merchant}", "lacks {withdrawal}"),
        ] {
            let refused = pattern.parse::<LinkPattern>().unwrap_err();
            assert!(refused.starts_with(problem), "{pattern:?}: {refused}");
        }
    }
}
