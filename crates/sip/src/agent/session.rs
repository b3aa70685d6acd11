//! The peer's session timer (RFC 4028): it refreshes, we watch.

use std::time::Duration;

use rsipstack::sip::{Header, Headers};
use tokio::time::Instant;

use super::wire::{self, header};

/// The shortest interval we take, which is the shortest there is (RFC 4028 §4).
const MIN_SE: u32 = 90;

/// Says whether the interval of a request is too short; a peer that knows the extension gets 422.
pub(super) fn is_too_short(headers: &Headers) -> bool {
    supports(headers) && wire::number(headers, "Session-Expires").is_some_and(|seconds| seconds < MIN_SE)
}

/// What a 422 tells.
pub(super) fn min_se() -> Header {
    header("Min-SE", MIN_SE.to_string())
}

/// What a request asks for, if the peer itself refreshes: the headers of the 2xx, and how long it may stay silent. Where
/// we should refresh, the 2xx says nothing, which turns the timer off (RFC 4028 §9).
pub(super) fn accept(headers: &Headers) -> Option<(Vec<Header>, Duration)> {
    let seconds = wire::number(headers, "Session-Expires").filter(|seconds| *seconds >= MIN_SE)?;
    let value = wire::value(headers, "Session-Expires")?;
    let refresher = value.split_once(';').and_then(|(_, rest)| wire::parameter(rest, "refresher"));
    if !supports(headers) || refresher == Some("uas") {
        return None;
    }
    let answer = vec![header("Session-Expires", format!("{seconds};refresher=uac")), header("Require", "timer")];
    Some((answer, patience(seconds)))
}

/// RFC 4028 §10: we end the call a little before its end.
fn patience(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds - (seconds / 3).min(32)))
}

fn supports(headers: &Headers) -> bool {
    let options = ["Supported", "Require"].map(|name| wire::tokens(headers, name)).concat();
    options.iter().any(|option| option == "timer")
}

/// When a session that was refreshed now is over.
pub(super) fn deadline(patience: Duration) -> Instant {
    Instant::now() + patience
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(expires: &str, supported: &str) -> Headers {
        vec![header("Session-Expires", expires), header("Supported", supported)].into()
    }

    #[test]
    fn a_peer_that_refreshes_is_watched() {
        let (answer, patience) = accept(&headers("1800", "100rel, timer")).expect("accepted");
        assert_eq!(answer[0].value(), "1800;refresher=uac");
        assert_eq!(patience, Duration::from_secs(1768));
        assert!(accept(&headers("90;refresher=uac", "timer")).is_some_and(|(_, patience)| patience.as_secs() == 60));
    }

    #[test]
    fn we_refresh_for_nobody() {
        assert_eq!(accept(&headers("1800;refresher=uas", "timer")), None);
        assert_eq!(accept(&headers("1800", "100rel")), None);
    }

    #[test]
    fn an_interval_below_ninety_seconds_is_too_short() {
        assert!(is_too_short(&headers("60", "timer")));
        assert!(!is_too_short(&headers("60", "")));
        assert!(!is_too_short(&headers("90", "timer")));
    }
}
