//! Texts of a shop's own in which something is filled in.

/// A text with placeholders such as `{balance}`; braces stand for nothing else.
macro_rules! template_value {
    ($(#[$doc:meta])* $name:ident, line of $max:literal, with $($placeholder:literal),+) => {
        $crate::template::template_value!(
            @type $(#[$doc])* $name, $max, "none of them a control character", r"\x00-\x1F\x7F-\x9F",
            $crate::value::line, $($placeholder),+
        );
    };
    ($(#[$doc:meta])* $name:ident, lines of $max:literal, with $($placeholder:literal),+) => {
        $crate::template::template_value!(
            @type $(#[$doc])* $name, $max, "no control characters but tab and line feed",
            r"\x00-\x08\x0B-\x1F\x7F-\x9F", $crate::value::lines, $($placeholder),+
        );
    };
    (@list $last:literal) => { concat!("{", $last, "}") };
    (@list $first:literal, $last:literal) => { concat!("{", $first, "} and {", $last, "}") };
    (@list $first:literal, $($next:literal),+) => {
        concat!("{", $first, "}, ", $crate::template::template_value!(@list $($next),+))
    };
    (@pattern $unwanted:expr, $first:literal $(, $next:literal)*) => {
        concat!("^([^{}", $unwanted, r"]|\{(", $first, $("|", $next,)* r")\})+$")
    };
    (@type $(#[$doc:meta])* $name:ident, $max:literal, $without:expr, $unwanted:expr, $check:path, $($placeholder:literal),+) => {
        $crate::value::text_value!(
            $(#[$doc])*
            $name,
            concat!(
                "1 to ", $max, " characters, ", $without, ", and no braces but ",
                $crate::template::template_value!(@list $($placeholder),+)
            ),
            $max,
            $crate::template::template_value!(@pattern $unwanted, $($placeholder),+),
            |text| {
                $check(text)?;
                $crate::template::placeholders(text, &[$($placeholder),+])
            }
        );

        impl $name {
            /// The text with what stands for each placeholder.
            pub fn fill<'a>(&self, figure: impl Fn(&str) -> &'a str) -> String {
                $crate::template::fill(self.as_str(), figure)
            }
        }
    };
}

pub(crate) use template_value;

/// Whether every brace belongs to one of the placeholders.
pub(crate) fn placeholders(text: &str, known: &[&str]) -> Result<(), &'static str> {
    let good = text
        .split('{')
        .skip(1)
        .all(|rest| rest.split_once('}').is_some_and(|(name, _)| known.contains(&name)));
    let closed = text.matches('{').count() == text.matches('}').count();
    if good && closed { Ok(()) } else { Err("has a placeholder that does not exist, or a brace") }
}

/// A valid text with its placeholders filled in.
pub(crate) fn fill<'a>(text: &str, figure: impl Fn(&str) -> &'a str) -> String {
    let mut filled = String::new();
    for part in text.split_inclusive('}') {
        let (before, name) = part.split_once('{').unwrap_or((part, ""));
        filled.push_str(before);
        if let Some(name) = name.strip_suffix('}') {
            filled.push_str(figure(name));
        }
    }
    filled
}
