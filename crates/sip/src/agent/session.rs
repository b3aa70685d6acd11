//! Session timers (RFC 4028): who refreshes the session, how often, and when it is over.

use std::time::Duration;

use rsipstack::sip::{Header, Headers};
use tokio::time::Instant;

use super::SessionTimers;
use super::wire::{self, header};

/// The shortest interval there is (RFC 4028 §5).
const SHORTEST: u32 = 90;
/// The longest that a peer may make us wait.
const LONGEST: u32 = 24 * 3_600;
/// A peer that grants less than it may is not followed further than this.
const LEAST_GRANTED: u32 = 30;

/// The timer of an answered call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Timer {
    /// In seconds.
    pub(super) interval: u32,
    pub(super) refresher: Refresher,
}

/// Who refreshes the session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refresher {
    /// We do.
    Us,
    /// We do; the peer does not know what that is, but answers if it is there.
    UsAlone,
    /// The peer does.
    Peer,
}

impl SessionTimers {
    /// The interval we ask for, in seconds; `None`: we ask for none.
    fn wanted(&self) -> Option<u32> {
        Some(seconds(self.expires)).filter(|seconds| *seconds > 0)
    }

    fn least(&self) -> u32 {
        seconds(self.min_se).max(SHORTEST)
    }

    /// Says whether the interval of a request is too short; a peer that knows the extension gets 422.
    pub(super) fn refuses(&self, headers: &Headers) -> bool {
        supports(headers) && wire::number(headers, "Session-Expires").is_some_and(|seconds| seconds < self.least())
    }

    /// What a 422 tells, and each request.
    pub(super) fn min_se(&self) -> Header {
        header("Min-SE", self.least().to_string())
    }

    /// What our INVITE asks for. The peer chooses who refreshes.
    pub(super) fn request(&self) -> Vec<Header> {
        let expires = self.wanted().map(|seconds| header("Session-Expires", seconds.max(self.least()).to_string()));
        expires.into_iter().chain([self.min_se()]).collect()
    }

    /// What a request of the peer that we accept comes to: the headers of the 2xx, and the timer (RFC 4028 §9, table 2).
    pub(super) fn accept(&self, headers: &Headers) -> Option<(Vec<Header>, Timer)> {
        let asked = wire::number(headers, "Session-Expires");
        let floor = wire::number(headers, "Min-SE").unwrap_or_default().max(self.least());
        let interval = match (asked, self.wanted()) {
            // It may be lowered, never raised; but not even for one that knows nothing of it below what the RFC allows.
            (Some(asked), Some(wanted)) => asked.min(wanted.max(floor)).max(SHORTEST),
            (Some(asked), None) => asked.max(SHORTEST),
            (None, wanted) => wanted?.max(floor),
        };
        let refresher = match (supports(headers), refresher(headers)) {
            (false, _) => Refresher::UsAlone,
            (true, Some("uac")) => Refresher::Peer,
            (true, Some(_) | None) => Refresher::Us,
        };
        let word = if refresher == Refresher::Peer { "uac" } else { "uas" };
        let mut answer = vec![header("Session-Expires", format!("{interval};refresher={word}"))];
        if refresher != Refresher::UsAlone {
            answer.push(header("Require", "timer"));
        }
        Some((answer, Timer { interval, refresher }))
    }

    /// The timer after a 2xx to a request of ours (RFC 4028 §7.2). `before`: the one that was in force. Where the peer
    /// knows no timers we refresh all the same, because nothing else tells that it has gone.
    pub(super) fn agreed(&self, headers: &Headers, before: Option<Timer>) -> Option<Timer> {
        let Some(granted) = wire::number(headers, "Session-Expires") else {
            let wanted = before.map(|timer| timer.interval).or_else(|| self.wanted().map(|own| own.max(self.least())));
            return wanted
                .filter(|_| !supports(headers))
                .map(|interval| Timer { interval, refresher: Refresher::UsAlone });
        };
        let refresher = if refresher(headers) == Some("uas") { Refresher::Peer } else { Refresher::Us };
        Some(Timer { interval: granted.max(LEAST_GRANTED), refresher })
    }
}

impl Timer {
    /// What a request of ours says that refreshes the session: all stays as it is (RFC 4028 §7.4).
    pub(super) fn as_header(&self) -> Header {
        let word = if self.refresher == Refresher::Peer { "uas" } else { "uac" };
        header("Session-Expires", format!("{};refresher={word}", self.interval))
    }
}

/// Raises the interval that a request asks for to what a 422 wants. `None`: it wants no more than was asked for, or more
/// than a day.
pub(super) fn lengthen(request: &mut Headers, refusal: &Headers) -> Option<()> {
    let least = wire::number(refusal, "Min-SE").filter(|least| *least <= LONGEST)?;
    let asked = wire::number(request, "Session-Expires")?;
    if least <= asked && wire::number(request, "Min-SE").is_some_and(|own| own >= least) {
        return None;
    }
    let refresher = refresher(request).map(|word| format!(";refresher={word}")).unwrap_or_default();
    let interval = asked.max(least);
    request.retain(|own| !["Session-Expires", "Min-SE"].iter().any(|name| own.name().eq_ignore_ascii_case(name)));
    request.push(header("Session-Expires", format!("{interval}{refresher}")));
    request.push(header("Min-SE", least.to_string()));
    Some(())
}

/// A timer that runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Session {
    pub(super) timer: Timer,
    /// When we refresh.
    pub(super) refresh_at: Option<Instant>,
    /// When it is over.
    pub(super) expires_at: Option<Instant>,
}

impl Session {
    /// The session was refreshed now.
    pub(super) fn refreshed(timer: Timer, now: Instant) -> Self {
        let interval = Duration::from_secs(timer.interval.into());
        let refresh_at = Some(now + interval / 2);
        // RFC 4028 §10: we end the call a little before its end.
        let expires_at = Some(now + interval - (interval / 3).min(Duration::from_secs(32)));
        match timer.refresher {
            Refresher::Us => Self { timer, refresh_at, expires_at },
            Refresher::UsAlone => Self { timer, refresh_at, expires_at: None },
            Refresher::Peer => Self { timer, refresh_at: None, expires_at },
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.refresh_at, self.expires_at].into_iter().flatten().min()
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn supports(headers: &Headers) -> bool {
    wire::peer_support(headers).timer
}

fn refresher(headers: &Headers) -> Option<&str> {
    let (_, rest) = wire::value(headers, "Session-Expires")?.split_once(';')?;
    wire::parameter(rest, "refresher")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: SessionTimers = SessionTimers { expires: Duration::from_secs(1_800), min_se: Duration::from_secs(90) };

    fn headers(lines: &[(&str, &str)]) -> Headers {
        lines.iter().map(|(name, value)| header(name, *value)).collect::<Vec<_>>().into()
    }

    fn accepted(expires: &str, supported: &str) -> (String, bool, Timer) {
        let headers = headers(&[("Session-Expires", expires), ("Supported", supported)]);
        let (answer, timer) = OURS.accept(&headers).expect("accepted");
        (answer[0].value().to_owned(), answer.len() > 1, timer)
    }

    /// RFC 4028 §9, table 2.
    #[test]
    fn who_refreshes_is_as_the_caller_wishes() {
        let said = |expires, supported| {
            let (value, required, timer) = accepted(expires, supported);
            (value, required, timer.refresher)
        };
        assert_eq!(said("1800", "100rel"), ("1800;refresher=uas".to_owned(), false, Refresher::UsAlone));
        assert_eq!(said("1800", "timer"), ("1800;refresher=uas".to_owned(), true, Refresher::Us));
        assert_eq!(said("1800;refresher=uac", "timer"), ("1800;refresher=uac".to_owned(), true, Refresher::Peer));
        assert_eq!(said("1800;refresher=uas", "timer"), ("1800;refresher=uas".to_owned(), true, Refresher::Us));
    }

    #[test]
    fn an_interval_is_lowered_to_ours_and_never_raised() {
        let interval = |expires| accepted(expires, "timer").2.interval;
        assert_eq!((interval("3600"), interval("300"), interval("90")), (1_800, 300, 90));
        assert_eq!(accepted("20", "").2.interval, 90);
        let long = headers(&[("Min-SE", "2000"), ("Session-Expires", "2400"), ("Supported", "timer")]);
        assert_eq!(OURS.accept(&long).map(|(_, timer)| timer.interval), Some(2_000));
        let none = headers(&[("Min-SE", "2000"), ("Supported", "timer")]);
        assert_eq!(OURS.accept(&none).map(|(_, timer)| timer.interval), Some(2_000));
        let off = SessionTimers { expires: Duration::ZERO, ..OURS };
        assert_eq!(off.accept(&none), None);
        assert_eq!(off.accept(&long).map(|(_, timer)| timer.interval), Some(2_400));
        assert_eq!(off.request().len(), 1);
    }

    #[test]
    fn an_interval_below_the_least_is_too_short_for_who_knows_it() {
        let too_short = |timers: SessionTimers, expires, supported| {
            timers.refuses(&headers(&[("Session-Expires", expires), ("Supported", supported)]))
        };
        assert!(too_short(OURS, "89", "timer"));
        assert!(!too_short(OURS, "90", "timer") && !too_short(OURS, "60", ""));
        let patient = SessionTimers { min_se: Duration::from_secs(600), ..OURS };
        assert!(too_short(patient, "599", "timer") && !too_short(patient, "600", "timer"));
    }

    #[test]
    fn the_callee_decides_who_refreshes_and_whether() {
        let agreed = |lines: &[(&str, &str)], before| OURS.agreed(&headers(lines), before);
        let timer = |interval, refresher| Some(Timer { interval, refresher });
        let supported = ("Supported", "timer");
        assert_eq!(agreed(&[("Session-Expires", "600;refresher=uac"), supported], None), timer(600, Refresher::Us));
        assert_eq!(agreed(&[("Session-Expires", "600;refresher=uas"), supported], None), timer(600, Refresher::Peer));
        assert_eq!(agreed(&[("Session-Expires", "1")], None), timer(30, Refresher::Us), "of a proxy");
        assert_eq!(agreed(&[supported], timer(600, Refresher::Us)), None, "turned off");
        assert_eq!(agreed(&[], None), timer(1_800, Refresher::UsAlone));
        assert_eq!(agreed(&[], timer(600, Refresher::UsAlone)), timer(600, Refresher::UsAlone));
        let off = SessionTimers { expires: Duration::ZERO, ..OURS };
        assert_eq!(off.agreed(&headers(&[]), None), None);
    }

    #[test]
    fn an_interval_is_raised_as_the_peer_wishes() {
        let raised = |least: &str| {
            let mut request = headers(&[("Session-Expires", "1800;refresher=uac"), ("Min-SE", "90")]);
            lengthen(&mut request, &headers(&[("Min-SE", least)]))?;
            let value = |name| wire::value(&request, name).map(str::to_owned);
            value("Session-Expires").zip(value("Min-SE"))
        };
        let both = |expires: &str, least: &str| Some((expires.to_owned(), least.to_owned()));
        assert_eq!(raised("3600"), both("3600;refresher=uac", "3600"));
        assert_eq!(raised("600"), both("1800;refresher=uac", "600"), "a proxy may have lowered it");
        assert_eq!((raised("90"), raised("86401"), raised("x")), (None, None, None));
    }

    #[tokio::test]
    async fn a_session_is_refreshed_at_half_its_time_and_over_a_little_before_the_end() {
        let now = Instant::now();
        let session = |interval, refresher| {
            let session = Session::refreshed(Timer { interval, refresher }, now);
            [session.refresh_at, session.expires_at].map(|at| at.map(|at| (at - now).as_secs()))
        };
        assert_eq!(session(1_800, Refresher::Us), [Some(900), Some(1_768)]);
        assert_eq!(session(90, Refresher::Peer), [None, Some(60)]);
        assert_eq!(session(1_800, Refresher::UsAlone), [Some(900), None]);
    }
}
