//! The order of lines by what they are about, for those who compare descriptions as text.

use super::{first_word, is_direction};

/// Sorts an m-line and what belongs to it. Lines of one rank stay in their order.
pub(super) fn sort(lines: &mut [String], formats: &str) {
    let formats: Vec<&str> = formats.split_whitespace().collect();
    lines.sort_by_cached_key(|line| rank(line, &formats));
}

/// Sorts the lines above the first m-line. Only their kinds have an order (RFC 8866 §5).
pub(super) fn sort_session(lines: &mut [String]) {
    lines.sort_by_cached_key(|line| (SESSION.iter().position(|kind| line.starts_with(kind)), bandwidth(line)));
}

const SESSION: [&str; 12] = ["v=", "o=", "s=", "i=", "u=", "e=", "p=", "b=", "t=", "r=", "z=", "a="];

/// What comes behind the sender's other attributes, in this order.
const BEHIND: [&str; 15] = [
    "rtcp",
    "rtcp-mux",
    "rtcp-mux-only",
    "crypto",
    "setup",
    "fingerprint",
    "tls-id",
    "ptime",
    "maxptime",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "candidate",
    "end-of-candidates",
    "bundle-only",
];

/// Where a line stands. What differs within a rank is compared by the second and the third part.
fn rank(line: &str, formats: &[&str]) -> (usize, usize, String) {
    const FORMATS: usize = 5;
    let of = |rank, place| (rank, place, String::new());
    let Some(attribute) = line.strip_prefix("a=") else {
        return match line.as_bytes().first() {
            Some(b'm') => of(0, 0),
            Some(b'i') => of(1, 0),
            Some(b'c') => of(2, 0),
            _ => (3, 0, bandwidth(line)),
        };
    };
    let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
    let place = || formats.iter().position(|format| *format == first_word(value)).unwrap_or(formats.len());
    match name {
        "mid" => of(4, 0),
        "rtpmap" => (FORMATS, 3 * place(), String::new()),
        "fmtp" => (FORMATS, 3 * place() + 1, String::new()),
        "rtcp-fb" => (FORMATS, 3 * place() + 2, String::new()),
        _ if is_direction(name) => of(FORMATS + 2, 0),
        _ => BEHIND.iter().position(|behind| *behind == name).map_or(of(FORMATS + 1, 0), |i| of(FORMATS + 3, i)),
    }
}

/// Kinds of bandwidth stand in the order of their names.
fn bandwidth(line: &str) -> String {
    line.strip_prefix("b=").and_then(|value| value.split(':').next()).unwrap_or_default().to_owned()
}
