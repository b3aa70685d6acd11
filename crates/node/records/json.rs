//! A record as a line of JSON. `deploy/records.md` describes each field.

use std::time::{Duration, Instant};

use model::{MediaKind, Security, SrtpSuite};
use serde::Serialize;
use signaling::Record;
use signaling::record::{LegRecord, Party, StreamRecord};

#[derive(Serialize)]
struct Line<'a> {
    call: String,
    direction: &'static str,
    started: String,
    rang: Option<String>,
    answered: Option<String>,
    ended: String,
    ringing_ms: Option<u64>,
    talking_ms: Option<u64>,
    end: End<'a>,
    xmpp: Xmpp<'a>,
    sip: Sip<'a>,
    left_out: &'a [String],
    left_out_more: usize,
}

#[derive(Serialize)]
struct End<'a> {
    by: &'static str,
    reason: &'static str,
    text: Option<&'a str>,
    sip_status: Option<u16>,
    q850: u16,
}

#[derive(Serialize)]
struct Xmpp<'a> {
    user: &'a str,
    gateway_user: &'a str,
    session: &'a str,
    #[serde(flatten)]
    leg: Leg<'a>,
}

#[derive(Serialize)]
struct Sip<'a> {
    trunk: Option<&'a str>,
    from: &'a str,
    to: &'a str,
    call_id: Option<&'a str>,
    #[serde(flatten)]
    leg: Leg<'a>,
}

#[derive(Serialize)]
struct Leg<'a> {
    transport: &'static str,
    security: Option<&'static str>,
    suite: Option<&'static str>,
    streams: Vec<Stream<'a>>,
}

#[derive(Serialize)]
struct Stream<'a> {
    kind: &'static str,
    codecs: &'a [String],
    received: Option<Way>,
    sent: Option<Way>,
    round_trip_ms: Option<f64>,
}

#[derive(Serialize)]
struct Way {
    packets: u64,
    bytes: u64,
    lost: i64,
    jitter_ms: f64,
    mos: Option<f64>,
}

/// The line. `now` is the same moment on the clock of the record and since 1970.
pub(super) fn line(record: &Record, (now, since_1970): (Instant, Duration)) -> String {
    let at = |time: Instant| rfc3339(since_1970.saturating_sub(now.saturating_duration_since(time)));
    let between = |from: Instant, to: Instant| milliseconds(to.saturating_duration_since(from));
    let line = Line {
        call: record.call.to_string(),
        direction: if record.caller == Party::Xmpp { "xmpp-to-sip" } else { "sip-to-xmpp" },
        started: at(record.started),
        rang: record.rang.map(at),
        answered: record.answered.map(at),
        ended: at(record.ended),
        ringing_ms: record.rang.map(|rang| between(rang, record.answered.unwrap_or(record.ended))),
        talking_ms: record.answered.map(|answered| between(answered, record.ended)),
        end: End {
            by: match record.ended_by {
                Party::Xmpp => "xmpp",
                Party::Sip => "sip",
                Party::Gateway => "gateway",
            },
            reason: record.reason.as_str(),
            text: record.text.as_deref(),
            sip_status: record.sip_status,
            q850: record.cause,
        },
        xmpp: Xmpp {
            user: &record.xmpp_user,
            gateway_user: &record.gateway_user,
            session: &record.session,
            leg: leg(&record.xmpp),
        },
        sip: Sip {
            trunk: record.trunk.as_deref(),
            from: &record.from,
            to: &record.to,
            call_id: record.sip_call_id.as_deref(),
            leg: leg(&record.sip),
        },
        left_out: &record.left_out.first,
        left_out_more: record.left_out.more,
    };
    serde_json::to_string(&line).expect("it has no maps, whose keys might be no strings")
}

fn leg(leg: &LegRecord) -> Leg<'_> {
    let figures = leg.figures.as_ref();
    Leg {
        transport: if leg.ice { "ice" } else { "udp" },
        security: figures.and_then(|figures| figures.security).map(|security| match security {
            Security::Dtls => "dtls",
            Security::Sdes => "sdes",
            Security::Rtp => "none",
        }),
        suite: figures.and_then(|figures| figures.suite).map(SrtpSuite::as_str),
        streams: leg.streams.iter().map(|record| stream(leg, record)).collect(),
    }
}

fn stream<'a>(leg: &LegRecord, record: &'a StreamRecord) -> Stream<'a> {
    let figures = leg.stream_figures(record.id);
    Stream {
        kind: match record.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        },
        codecs: &record.codecs,
        received: figures.map(|figures| Way {
            packets: figures.packets_received,
            bytes: figures.bytes_received,
            lost: figures.packets_lost,
            jitter_ms: tenths(figures.jitter_ms),
            mos: figures.received_mos.map(|mos| tenths(mos.average)),
        }),
        sent: figures.map(|figures| Way {
            packets: figures.packets_sent,
            bytes: figures.bytes_sent,
            lost: figures.peer_lost,
            jitter_ms: tenths(figures.peer_jitter_ms),
            mos: figures.sent_mos.map(|mos| tenths(mos.average)),
        }),
        round_trip_ms: figures.and_then(|figures| figures.round_trip_ms).map(tenths),
    }
}

/// Nobody wants more digits of it.
fn tenths(value: f32) -> f64 {
    (f64::from(value) * 10.0).round() / 10.0
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A time in UTC with milliseconds (RFC 3339 §5.6), given since 1970.
fn rfc3339(since_1970: Duration) -> String {
    const DAY: u64 = 86_400;
    let (days, seconds) = (since_1970.as_secs() / DAY, since_1970.as_secs() % DAY);
    // Years begin in March, so that a leap day is their last; 400 of them are 146097 days.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since_1970.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_in_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_795_305_600, "2026-11-22T00:00:00.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
        }
        assert_eq!(rfc3339(Duration::from_millis(1_234)), "1970-01-01T00:00:01.234Z");
    }
}
