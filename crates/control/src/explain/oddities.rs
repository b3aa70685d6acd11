//! Why a finding is one.

use crate::request::{Finding, done_instead, heeded_by, known_words};

/// Something odd about a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Oddity {
    /// What, as it is logged.
    pub what: String,
    /// Why, and what comes of it.
    pub why: String,
}

/// Findings with their reasons.
pub(super) fn of(findings: &[Finding]) -> Vec<Oddity> {
    findings.iter().map(|finding| Oddity { what: finding.to_string(), why: why(finding) }).collect()
}

fn why(finding: &Finding) -> String {
    match finding {
        Finding::UnknownKey(said) | Finding::UnknownFlag(said) => {
            let meant = nearest(said).map_or_else(String::new, |word| format!(" Is `{word}` meant?"));
            format!("No command has it; the relay goes on without it.{meant}")
        }
        Finding::UnknownMember { key: "replace", member } if member.eq_ignore_ascii_case("session-connection") => {
            "The address in `c=` is always replaced; rtpengine does not know this word any more, either.".to_owned()
        }
        Finding::UnknownMember { .. } => "The relay goes on without it; the other words of the key count.".to_owned(),
        Finding::BadValue { .. } => "It is as if it were not there.".to_owned(),
        Finding::TooMany(_) => "The rest is left out: no real request has so many.".to_owned(),
        Finding::NoEffect { said, .. } => match &heeded_by(said)[..] {
            [] => "It is for other commands.".to_owned(),
            commands => format!("It is for {}.", commands.join(", ")),
        },
        Finding::Unsupported(said) => unsupported(said).to_owned(),
        Finding::Repeated(_) => {
            "The last one counts; of parts of a profile's name, what they come to together.".to_owned()
        }
        Finding::Contradiction(one, other) => done_instead(one, other).to_owned(),
    }
}

/// Why something that others do is not done here; the first row that fits counts.
const UNSUPPORTED: &[(&[&str], &str)] = &[
    (&["ice=force-relay"], "As `force`: others' candidates never stay, since media would pass the relay by."),
    (&["sdes=un"], "Media is never left without protection where it was promised."),
    (&["sdes suite"], "This suite does not protect enough, or is spoken by nobody."),
    (
        &["record", "exclude rec", "discard rec", "recording", "skip rec", "siprec", "metadata", "output-dest"],
        "stox does not record.",
    ),
    (
        &["transcod", "always trans", "codecs", "jitter"],
        "stox does not transcode: codecs pass as they are, or not at all.",
    ),
    (&["t.38", "t38"], "stox does not know fax: m-lines of images are rejected."),
    (&["dtmf", "delay-buffer", "trigger", "frequency", "vsc"], "stox does nothing to key presses but `play DTMF`."),
    (&["audio player", "moh", "early media", "block egress"], "stox plays no media."),
    (&["mix", "bidirectional", "inactive", "rtcp mirror", "egress"], "stox knows no subscriptions."),
    (&["redis"], "stox keeps calls in its memory alone."),
    (&["xmlrpc"], "Whoever wants to know that a call has timed out asks by `query`."),
    (&["peer"], "stox looks up no routes: `direction` chooses addresses."),
    (&["template"], "stox has no templates: the flags have to stand in the request."),
];

fn unsupported(said: &str) -> &'static str {
    let said = said.to_ascii_lowercase().replace('_', "-");
    let spaced = said.replace('-', " ");
    let fits = |part: &&str| said.contains(part) || spaced.contains(part);
    UNSUPPORTED.iter().find(|(parts, _)| parts.iter().any(fits)).map_or(super::flags::NOT_YET, |row| row.1)
}

/// The known word that is at most two slips of the pen away.
fn nearest(said: &str) -> Option<&'static str> {
    const SLIPS: usize = 2;
    let said = plain(said);
    let near = known_words().map(|word| (slips(&said, &plain(word)), word)).filter(|(slips, _)| *slips <= SLIPS);
    // Short words are near to everything.
    near.min_by_key(|(slips, _)| *slips).filter(|(slips, word)| 3 * slips <= word.len()).map(|(_, word)| word)
}

fn plain(word: &str) -> Vec<u8> {
    word.bytes().map(|byte| if b"_ ".contains(&byte) { b'-' } else { byte.to_ascii_lowercase() }).collect()
}

/// Letters that have to be put in, taken out or changed to make one of the other (Levenshtein).
fn slips(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, a) in one.iter().enumerate() {
        let mut before = number;
        let mut left = number + 1;
        for (b, cell) in other.iter().zip(row.iter_mut().skip(1)) {
            let here = (before + usize::from(a != b)).min(left + 1).min(*cell + 1);
            before = std::mem::replace(cell, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = number + 1;
        }
    }
    row.last().copied().unwrap_or(one.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_told_from_a_word_of_ones_own() {
        for (said, meant) in [
            ("trust_adress", Some("trust address")),
            ("ICE-remove", None),
            ("replace-orign", None),
            ("asymetric", Some("asymmetric")),
            ("UDP/TLS/RTP/SAVPFF", Some("UDP/TLS/RTP/SAVPF")),
            ("x", None),
            ("tos22", None),
        ] {
            assert_eq!(nearest(said), meant, "{said}");
        }
        assert_eq!([slips(b"", b"abc"), slips(b"abc", b""), slips(b"kitten", b"sitting")], [3, 3, 3]);
    }

    #[test]
    fn each_kind_of_what_is_not_done_has_its_reason() {
        for (said, reason) in [
            ("record call", "record"),
            ("recording-file", "record"),
            ("always transcode", "transcode"),
            ("T.38-decode", "fax"),
            ("DTMF-security-trigger", "key presses"),
            ("SDES=unencrypted_srtp", "protection"),
            ("no redis update", "memory"),
            ("xmlrpc_callback", "query"),
            ("passthrough", "yet"),
        ] {
            assert!(unsupported(said).contains(reason), "{said}: {}", unsupported(said));
        }
    }
}
