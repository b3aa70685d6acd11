//! Telephone numbers as a trunk writes them, and as everybody else does: `+`, country code, number (E.164).

use sip::address::normalise_number;

/// How a trunk writes telephone numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NumberPlan {
    /// The code of the country that it is in, without `+`. Where it is absent only numbers with `+` are known for what
    /// they are, and all others are left alone.
    pub country_code: Option<String>,
    /// What is dialled before the code of another country.
    pub international_prefix: String,
    /// What is dialled before a number of the same country; empty where that is nothing.
    pub national_prefix: String,
    /// How it wants numbers that we call, or call from.
    pub format: NumberFormat,
}

/// A way to write a telephone number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NumberFormat {
    /// `+4930123456`.
    Plus,
    /// `4930123456`.
    Digits,
    /// `004930123456`, with the international prefix.
    International,
    /// `030123456` within the country, with the national prefix; numbers of other countries as `International`.
    National,
}

impl Default for NumberPlan {
    fn default() -> Self {
        Self {
            country_code: None,
            international_prefix: "00".to_owned(),
            national_prefix: "0".to_owned(),
            format: NumberFormat::Plus,
        }
    }
}

impl NumberPlan {
    /// A number of the trunk's as everybody writes it. What is none is given back as it is, without the visual
    /// separators; parameters (RFC 3966 §3) stay.
    pub fn to_global(&self, text: &str) -> String {
        let normal = normalise_number(text);
        let (number, parameters) = split_parameters(&normal);
        match self.global(number) {
            Some(global) => format!("{global}{parameters}"),
            None => normal,
        }
    }

    fn global(&self, number: &str) -> Option<String> {
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let country = self.country_code.as_deref()?;
        let abroad = number.strip_prefix(&self.international_prefix).filter(|_| !self.international_prefix.is_empty());
        let at_home = number.strip_prefix(&self.national_prefix).filter(|_| !self.national_prefix.is_empty());
        let candidates = [
            abroad.map(|rest| format!("+{rest}")),
            at_home.map(|rest| format!("+{country}{rest}")),
            (self.format == NumberFormat::Digits).then(|| format!("+{number}")),
        ];
        candidates.into_iter().flatten().find(|global| is_global(global))
    }

    /// A number as the trunk wants it. What is no global number is given back as it is.
    pub fn to_local(&self, text: &str) -> String {
        let (number, parameters) = split_parameters(text);
        let Some(digits) = number.strip_prefix('+').filter(|_| is_global(number)) else { return text.to_owned() };
        let at_home = self.country_code.as_deref().and_then(|country| digits.strip_prefix(country));
        let abroad = || format!("{}{digits}", self.international_prefix);
        let local = match self.format {
            NumberFormat::Plus => number.to_owned(),
            NumberFormat::Digits => digits.to_owned(),
            NumberFormat::International => abroad(),
            NumberFormat::National => {
                at_home.map_or_else(abroad, |subscriber| format!("{}{subscriber}", self.national_prefix))
            }
        };
        format!("{local}{parameters}")
    }
}

/// Says whether it is `+` and 7 to 15 digits, of which the first is no 0 (E.164 §6).
pub fn is_global(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

/// A number and its parameters, with the `;` before them.
fn split_parameters(text: &str) -> (&str, &str) {
    text.find(';').map_or((text, ""), |at| text.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn german(format: NumberFormat) -> NumberPlan {
        NumberPlan { country_code: Some("49".into()), format, ..NumberPlan::default() }
    }

    #[test]
    fn a_trunk_s_numbers_become_global_ones() {
        for (written, global) in [
            ("+49 30-123456", "+49 30-123456"), // a space is no separator
            ("+49-30-123456", "+4930123456"),
            ("0030123456", "+30123456"),
            ("030123456", "+4930123456"),
            ("(030) 123456", "(030) 123456"),
            ("(030)123.456", "+4930123456"),
            ("030123456;EXT=7", "+4930123456;ext=7"),
            ("100", "100"),
            ("0", "0"),
            ("00", "00"),
            ("012", "012"),
            ("*21#", "*21#"),
            ("alice", "alice"),
            ("4930123456", "4930123456"),
        ] {
            assert_eq!(german(NumberFormat::Plus).to_global(written), global, "{written}");
        }
        assert_eq!(german(NumberFormat::Digits).to_global("4930123456"), "+4930123456");
        assert_eq!(german(NumberFormat::Digits).to_global("100"), "100");
        assert_eq!(NumberPlan::default().to_global("030-123456"), "030123456");
        let italian = NumberPlan {
            country_code: Some("39".into()),
            national_prefix: String::new(),
            ..german(NumberFormat::Plus)
        };
        assert_eq!(italian.to_global("0612345678"), "0612345678");
    }

    #[test]
    fn a_global_number_is_written_as_the_trunk_wants_it() {
        use NumberFormat::{Digits, International, National, Plus};
        for (format, at_home, abroad) in [
            (Plus, "+4930123456", "+30123456"),
            (Digits, "4930123456", "30123456"),
            (International, "004930123456", "0030123456"),
            (National, "030123456", "0030123456"),
        ] {
            let plan = german(format);
            assert_eq!(plan.to_local("+4930123456"), at_home, "{format:?}");
            assert_eq!(plan.to_local("+30123456;ext=1"), format!("{abroad};ext=1"), "{format:?}");
            for global in ["+4930123456", "+30123456;ext=1"] {
                assert_eq!(plan.to_global(&plan.to_local(global)), global, "{format:?}");
            }
            for other in ["100", "alice", "+1", "+49 30"] {
                assert_eq!(plan.to_local(other), other, "{format:?}");
            }
        }
    }
}
