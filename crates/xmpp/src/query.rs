//! The small questions that any entity answers: who are you (XEP-0030), which version (XEP-0092), are you there
//! (XEP-0199), what time is it (XEP-0202), and what is the address of somebody over there (XEP-0100 §6).

use std::time::{SystemTime, UNIX_EPOCH};

use minidom::Element;

use crate::disco;
use crate::stanza::Payload;
use crate::xml::element;

const VERSION: &str = "jabber:iq:version";
const PING: &str = "urn:xmpp:ping";
const TIME: &str = "urn:xmpp:time";
const GATEWAY: &str = "jabber:iq:gateway";

/// A question we can answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Question {
    /// Who are you, and what can you do? With the node asked about. Answered by [`disco::DiscoInfo::to_element`].
    Info(Option<String>),
    /// What else is there? With the node asked about. Answered by [`disco::no_items`].
    Items(Option<String>),
    /// Which software? Answered by [`version`].
    Version,
    /// Are you there? Answered by an empty result.
    Ping,
    /// What time is it? Answered by [`time`].
    Time,
    /// What do you want me to enter? Answered by [`gateway_prompt`].
    GatewayPrompt,
    /// Which JID has the foreign address that was entered? Answered by [`gateway_address`].
    GatewayAddress(String),
}

impl Question {
    /// Recognises a question.
    pub fn parse(payload: &Payload) -> Option<Self> {
        let Payload::Query { get, child } = payload else {
            return None;
        };
        let node = || child.attr("node").map(str::to_owned);
        match (child.name(), child.ns().as_str(), get) {
            ("query", disco::INFO, true) => Some(Self::Info(node())),
            ("query", disco::ITEMS, true) => Some(Self::Items(node())),
            ("query", VERSION, true) => Some(Self::Version),
            ("ping", PING, true) => Some(Self::Ping),
            ("time", TIME, true) => Some(Self::Time),
            ("query", GATEWAY, true) => Some(Self::GatewayPrompt),
            ("query", GATEWAY, false) => {
                let prompt = child.get_child("prompt", GATEWAY)?.text();
                Some(Self::GatewayAddress(prompt.trim().to_owned()))
            }
            _ => None,
        }
    }
}

/// A ping to send (XEP-0199 §4).
pub fn ping() -> Element {
    element!("ping", PING)
}

/// Says which software this is (XEP-0092 §3).
pub fn version(version: &str) -> Element {
    let mut query = element!("query", VERSION);
    query.append_child(with_text("name", VERSION, "stox"));
    query.append_child(with_text("version", VERSION, version));
    query
}

/// Tells the time, in UTC and without a zone of our own (XEP-0202 §3).
pub fn time(now: SystemTime) -> Element {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut time = element!("time", TIME);
    time.append_child(with_text("tzo", TIME, "+00:00"));
    time.append_child(with_text("utc", TIME, &date_time(seconds)));
    time
}

/// Seconds since 1970 as a date and time (XEP-0082 §3.2).
fn date_time(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days of the era of 400 years that starts on 1 March 0000, so that a leap day is the last day of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Says what to enter in a client's form for a foreign address (XEP-0100 §6.1).
pub fn gateway_prompt() -> Element {
    let mut query = element!("query", GATEWAY);
    query.append_child(with_text("desc", GATEWAY, "Enter a SIP address or a telephone number."));
    query.append_child(with_text("prompt", GATEWAY, "Address or number"));
    query
}

/// Tells the JID of the foreign address that was entered (XEP-0100 §6.1).
pub fn gateway_address(jid: &str) -> Element {
    let mut query = element!("query", GATEWAY);
    query.append_child(with_text("jid", GATEWAY, jid));
    query
}

fn with_text(name: &'static str, namespace: &'static str, text: &str) -> Element {
    let mut element = Element::bare(name, namespace);
    element.append_text(text);
    element
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_time_is_told_in_utc() {
        let told = time(UNIX_EPOCH + Duration::from_secs(1_166_549_915));
        assert_eq!(told.get_child("utc", TIME).map(Element::text).as_deref(), Some("2006-12-19T17:38:35Z"));
        assert_eq!(date_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(date_time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date_time(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(date_time(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn each_question_is_recognised() {
        let ask = |get, xml: &str| Question::parse(&Payload::Query { get, child: xml.parse().expect("it is XML") });
        let info = format!("<query xmlns='{}' node='a#b'/>", disco::INFO);
        assert_eq!(ask(true, &info), Some(Question::Info(Some("a#b".into()))));
        assert_eq!(ask(true, &format!("<query xmlns='{}'/>", disco::ITEMS)), Some(Question::Items(None)));
        assert_eq!(ask(true, "<query xmlns='jabber:iq:version'/>"), Some(Question::Version));
        assert_eq!(ask(true, "<ping xmlns='urn:xmpp:ping'/>"), Some(Question::Ping));
        assert_eq!(ask(true, "<time xmlns='urn:xmpp:time'/>"), Some(Question::Time));
        assert_eq!(ask(true, "<query xmlns='jabber:iq:gateway'/>"), Some(Question::GatewayPrompt));
        let entered = "<query xmlns='jabber:iq:gateway'><prompt>romeo@sip.example\n</prompt></query>";
        assert_eq!(ask(false, entered), Some(Question::GatewayAddress("romeo@sip.example".into())));
        assert_eq!(ask(false, "<query xmlns='jabber:iq:gateway'/>"), None);
        assert_eq!(ask(true, "<query xmlns='jabber:iq:roster'/>"), None);
        assert_eq!(ask(false, "<ping xmlns='urn:xmpp:ping'/>"), None);
    }
}
