//! Who is called, and who calls, as the file has it.

use serde::Deserialize;
use signaling::number::is_global;
use signaling::{CallerForm, NumberFormat, NumberPlan, RouteRow, UserRow};

use super::Problems;

/// What the callers of a trunk may share.
pub(super) const NUMBER_OR_ACCOUNT: &str =
    "\"+\", country code and number, 7 to 15 digits, or the user of an account there: letters, digits and -_.*";

/// Says whether something is a telephone number, or the user of an account, such as an extension.
pub(super) fn is_number_or_account(text: &str) -> bool {
    let is_account = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.*".contains(&b));
    is_global(text) || is_account
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    from: String,
    caller: Option<String>,
    domain: Option<String>,
    user: String,
    #[serde(default)]
    keypad: bool,
    #[serde(default)]
    emergency: bool,
    to: OneOrMore,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    jid: String,
    #[serde(default)]
    numbers: Vec<String>,
    name: Option<String>,
    #[serde(default)]
    anonymous: bool,
}

/// How a trunk writes numbers.
pub(super) struct Numbers {
    pub(super) country_code: Option<String>,
    pub(super) international_prefix: Option<String>,
    pub(super) national_prefix: Option<String>,
    pub(super) number_format: Option<String>,
}

impl From<Route> for RouteRow {
    fn from(route: Route) -> Self {
        let Route { from, caller, domain, user, keypad, emergency, to } = route;
        let to = match to {
            OneOrMore::One(to) => vec![to],
            OneOrMore::More(to) => to,
        };
        Self { from, caller, domain, user, keypad, emergency, to }
    }
}

impl From<User> for UserRow {
    fn from(user: User) -> Self {
        Self { jid: user.jid, numbers: user.numbers, name: user.name, anonymous: user.anonymous }
    }
}

impl Numbers {
    pub(super) fn check(self, problems: &mut Problems, key: impl Fn(&str) -> String) -> Option<NumberPlan> {
        let usual = NumberPlan::default();
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.to_owned());
        let code = |text: &str| digits(text).filter(|code| (1..=3).contains(&code.len()) && !code.starts_with('0'));
        let country_code = match &self.country_code {
            Some(text) => Some(problems.value(
                &key("country_code"),
                Some(text),
                "",
                code,
                "one to three digits, such as \"49\"",
            )?),
            None => None,
        };
        let mut prefix =
            |name: &str, text: Option<&str>, usual: &str| problems.value(&key(name), text, usual, digits, "digits");
        let international_prefix =
            prefix("international_prefix", self.international_prefix.as_deref(), &usual.international_prefix);
        let national_prefix = prefix("national_prefix", self.national_prefix.as_deref(), &usual.national_prefix);
        let format = problems.value(
            &key("number_format"),
            self.number_format.as_deref(),
            "plus",
            |text| match text {
                "plus" => Some(NumberFormat::Plus),
                "digits" => Some(NumberFormat::Digits),
                "international" => Some(NumberFormat::International),
                "national" => Some(NumberFormat::National),
                _ => None,
            },
            "\"plus\", \"digits\", \"international\" or \"national\"",
        );
        Some(NumberPlan {
            country_code,
            international_prefix: international_prefix?,
            national_prefix: national_prefix?,
            format: format?,
        })
    }
}

/// How SIP sees an XMPP caller.
pub(super) fn caller(problems: &mut Problems, key: &str, text: Option<&str>) -> Option<CallerForm> {
    problems.value(
        key,
        text,
        "escaped",
        |text| match text {
            "escaped" => Some(CallerForm::Escaped),
            "domain" => Some(CallerForm::Domain),
            "number" => Some(CallerForm::Number),
            _ => None,
        },
        "\"escaped\", \"domain\" or \"number\"",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_share_a_number_or_an_account() {
        for text in ["+4930123450", "100", "reception", "gw-1_a.b*2"] {
            assert!(is_number_or_account(text), "{text}");
        }
        for text in ["", "+100", "+49 30 123450", "a b", "x@y", "sip:100", "\"100\"", "100;user=phone"] {
            assert!(!is_number_or_account(text), "{text}");
        }
    }
}
