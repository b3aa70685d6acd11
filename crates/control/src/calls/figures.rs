//! What is told of calls.

use std::net::SocketAddr;
use std::time::Duration;

use model::{CallStatistics, Description, LegStatistics, MediaStream, SourceStatistics, StreamStatistics};

use super::party::{Call, Dialogue};
use super::{Counts, ok};
use crate::{Dictionary, Value};

/// What is known of a call at a time since 1970: of one party and its partners, or of all.
pub(super) fn of_call(
    call: &Call,
    of: Option<usize>,
    figures: &[(usize, CallStatistics)],
    unix: Duration,
) -> Dictionary<'static> {
    let mut tags = Dictionary::new();
    let mut sum = Sum { unix, ..Sum::default() };
    for (number, party) in call.parties.iter().enumerate() {
        let dialogues: Vec<(usize, usize)> = call.dialogues_of(number).collect();
        let is_asked = of.is_none_or(|of| of == number || dialogues.iter().any(|(_, other)| *other == of));
        if !is_asked {
            continue;
        }
        let partner = |(_, other): &(usize, usize)| {
            let tag = call.parties[*other].name(*other);
            Value::from(Dictionary::new().with("tag", tag).with("type", "offer/answer"))
        };
        let partners = || Value::List(dialogues.iter().map(partner).collect());
        let mut entry = Dictionary::new()
            .with("tag", party.name(number))
            .with("created", seconds(party.created))
            .with("subscriptions", partners())
            .with("subscribers", partners())
            .with("VSC", Value::List(Vec::new()));
        if let Some((_, other)) = dialogues.first() {
            entry.put("in dialogue with", call.parties[*other].name(*other));
        }
        for (name, value) in [("via-branch", &party.via_branch), ("label", &party.label)] {
            if let Some(value) = value {
                entry.put(name, value.clone());
            }
        }
        if !party.aliases.is_empty() {
            entry.put("tag-aliases", party.aliases.clone());
        }
        let mut medias = Vec::new();
        for (dialogue, _) in dialogues.iter().take(1) {
            let figures = figures.iter().find(|(of, _)| of == dialogue).map(|(_, figures)| figures);
            medias = medias_of(&call.dialogues[*dialogue], number, figures, &mut sum);
        }
        entry.put("medias", medias);
        tags.put(party.name(number), entry);
    }
    ok().with("created", seconds(call.created))
        .with("created_us", i64::from(call.created.subsec_micros()))
        .with("created_ts", i64::try_from(call.created.as_micros()).unwrap_or(i64::MAX))
        .with("last signal", seconds(call.last_signal))
        .with("last redis update", 0)
        .with("tags", tags)
        .with("SSRC", sum.sources)
        .with("totals", Dictionary::new().with("RTP", sum.rtp.write()).with("RTCP", sum.rtcp.write()))
}

/// What all calls come to.
pub(super) fn of_all(calls: usize, counts: &Counts, up: Duration) -> Dictionary<'static> {
    let calls = i64::try_from(calls).unwrap_or(i64::MAX);
    let current = Dictionary::new()
        .with("sessionsown", calls)
        .with("sessionsforeign", 0)
        .with("sessionstotal", calls)
        .with("transcodedmedia", 0);
    let total = Dictionary::new()
        .with("uptime", up.as_secs().to_string())
        .with("managedsessions", number(counts.begun))
        .with("rejectedsessions", number(counts.refused))
        .with("timeoutsessions", number(counts.timed_out))
        .with("offertimeoutsessions", number(counts.unanswered))
        .with("regularterminatedsessions", number(counts.deleted));
    Dictionary::new().with("currentstatistics", current).with("totalstatistics", total)
}

fn medias_of(
    dialogue: &Dialogue,
    party: usize,
    figures: Option<&CallStatistics>,
    sum: &mut Sum,
) -> Vec<Value<'static>> {
    let Some(leg) = dialogue.leg_of(party) else { return Vec::new() };
    let Some(remote) = &dialogue.remote[leg].as_ref().or(dialogue.local[leg].as_ref()) else { return Vec::new() };
    let legs = figures.map(|figures| &figures.legs);
    let figures = legs.and_then(|legs| legs.get(leg));
    if let Some(figures) = figures {
        let other = legs.and_then(|legs| legs.get(1 - leg));
        figures.streams.iter().for_each(|stream| sum.add_sources(stream, other));
        sum.rtp.errors += figures.dropped.iter().map(|(_, count)| *count).sum::<u64>();
        sum.rtcp.add(&Totals::of(figures.rtcp_packets_received, figures.rtcp_bytes_received));
    }
    let medias = remote.streams.iter().enumerate();
    medias.map(|(index, stream)| media_of(index, stream, dialogue.local[leg].as_ref(), figures, sum).into()).collect()
}

fn media_of(
    index: usize,
    remote: &MediaStream,
    local: Option<&Description>,
    figures: Option<&LegStatistics>,
    sum: &mut Sum,
) -> Dictionary<'static> {
    let kind = match remote.kind {
        model::MediaKind::Audio => "audio",
        model::MediaKind::Video => "video",
    };
    let counted = figures.and_then(|figures| figures.streams.iter().find(|one| one.stream == remote.id));
    if let Some(counted) = counted {
        sum.rtp.add(&Totals::of(counted.packets_received, counted.bytes_received));
    }
    let ours = local.and_then(|local| local.streams.iter().find(|one| one.id == remote.id));
    let mut flags = vec!["initialized"];
    flags.extend(remote.direction.sends().then_some("send"));
    flags.extend(remote.direction.receives().then_some("recv"));
    flags.extend(ours.is_some_and(|ours| ours.path.rtcp_mux).then_some("rtcp-mux"));
    flags.extend(ours.is_some_and(|ours| ours.path.ice.is_some()).then_some("ICE"));
    flags.extend(ours.is_some_and(|ours| ours.path.dtls.is_some()).then_some("DTLS-SRTP"));
    flags.extend(ours.is_some_and(|ours| !ours.path.crypto.is_empty()).then_some("SDES"));
    let ingress = counted.iter().flat_map(|counted| &counted.sources).map(|source| Value::from(told_of(source)));
    let egress = counted.and_then(|counted| {
        let ssrc = counted.sent_ssrc?;
        let sent = Totals::of(counted.packets_sent, counted.bytes_sent);
        Some(Value::from(sent.write().with("SSRC", i64::from(ssrc.0))))
    });
    let mut media = Dictionary::new()
        .with("index", i64::try_from(index + 1).unwrap_or(i64::MAX))
        .with("type", kind)
        .with("protocol", remote.path.profile.as_str())
        .with("streams", streams_of(remote, ours, figures, counted, sum.unix))
        .with("flags", flags)
        .with("ingress SSRCs", Value::List(ingress.collect()))
        .with("egress SSRCs", Value::List(egress.into_iter().collect()));
    if let Some(codec) = remote.codecs.first() {
        media.put("codec", format!("{}/{}/{}", codec.name, codec.clock_rate, codec.channels.max(1)));
    }
    media
}

/// RTP, and RTCP where it has a port of its own.
fn streams_of(
    remote: &MediaStream,
    ours: Option<&MediaStream>,
    figures: Option<&LegStatistics>,
    counted: Option<&StreamStatistics>,
    unix: Duration,
) -> Vec<Value<'static>> {
    let has_mux = ours.is_some_and(|ours| ours.path.rtcp_mux);
    let next = |address: SocketAddr| SocketAddr::new(address.ip(), address.port().saturating_add(1));
    let theirs = remote.path.rtp;
    let kinds: &[&str] = if has_mux { &["RTP", "RTCP", "filled"] } else { &["RTP", "filled"] };
    let mut rtp = stream_of(kinds, ours.and_then(|ours| ours.path.rtp), theirs, figures);
    let silent = figures.and_then(|figures| figures.silent_ms).map(Duration::from_millis);
    let heard = |packets: u64| silent.filter(|_| packets > 0).map_or(0, |silent| seconds(unix.saturating_sub(silent)));
    if let Some(counted) = counted {
        rtp.put("last packet", heard(counted.packets_received));
        rtp.put("stats", Totals::of(counted.packets_received, counted.bytes_received).write());
        rtp.put("stats_out", Totals::of(counted.packets_sent, counted.bytes_sent).write());
        if let Some(source) = counted.sources.last() {
            rtp.put("SSRC", i64::from(source.ssrc.0));
        }
    }
    let mut streams = vec![rtp.into()];
    if !has_mux {
        let our_rtcp = ours.and_then(|ours| ours.path.rtcp.or(ours.path.rtp.map(next)));
        let mut rtcp = stream_of(&["RTCP", "filled"], our_rtcp, remote.path.rtcp.or(theirs.map(next)), figures);
        if let Some(figures) = figures {
            rtcp.put("last packet", heard(figures.rtcp_packets_received));
            rtcp.put("stats", Totals::of(figures.rtcp_packets_received, figures.rtcp_bytes_received).write());
        }
        streams.push(rtcp.into());
    }
    streams
}

fn stream_of(
    flags: &[&'static str],
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    figures: Option<&LegStatistics>,
) -> Dictionary<'static> {
    let family = |address: &SocketAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let mut stream = Dictionary::new().with("flags", flags.to_vec());
    if let Some(local) = local {
        stream.put("local port", i64::from(local.port()));
        stream.put("local address", local.ip().to_string());
        stream.put("family", family(&local));
    }
    if let Some(peer) = peer {
        let endpoint = Dictionary::new()
            .with("family", family(&peer))
            .with("address", peer.ip().to_string())
            .with("port", i64::from(peer.port()));
        stream.put("endpoint", endpoint.clone());
        stream.put("advertised endpoint", endpoint);
    }
    if let Some(suite) = figures.and_then(|figures| figures.suite) {
        stream.put("crypto suite", suite.as_str());
    }
    stream
}

/// What the parties of a call come to together.
#[derive(Default)]
struct Sum {
    /// When it was asked for, since 1970.
    unix: Duration,
    rtp: Totals,
    rtcp: Totals,
    /// By SSRC.
    sources: Dictionary<'static>,
}

impl Sum {
    /// Adds the sources of a stream. Scores, round trips and jitter are those of the stream, and so of the newest.
    fn add_sources(&mut self, stream: &StreamStatistics, other: Option<&LegStatistics>) {
        for source in &stream.sources {
            let mut told = told_of(source).with("cumulative loss", source.packets_lost);
            if let Some(mos) = stream.received_mos.filter(|_| stream.sources.last() == Some(source)) {
                let far = other.and_then(|leg| leg.streams.iter().find(|one| one.stream == stream.stream));
                let score = |mos: f32| scored(mos, source, stream, far).with("reported at", seconds(self.unix));
                told.put("average MOS", score(mos.average).with("samples", 1));
                told.put("lowest MOS", score(mos.min));
                told.put("highest MOS", score(mos.max));
            }
            self.sources.put(source.ssrc.0.to_string(), told);
        }
    }
}

/// A score, and what it was made of, in the units that clients know: tenths, microseconds, milliseconds, percent.
fn scored(
    mos: f32,
    source: &SourceStatistics,
    stream: &StreamStatistics,
    far: Option<&StreamStatistics>,
) -> Dictionary<'static> {
    let leg = stream.round_trip_ms.unwrap_or(0.0);
    let all = leg + far.and_then(|far| far.round_trip_ms).unwrap_or(0.0);
    let lost = source.packets_lost.max(0);
    let expected = lost.saturating_add(number(source.packets)).max(1);
    Dictionary::new()
        .with("MOS", whole(mos * 10.0))
        .with("round-trip time", whole(all * 1000.0))
        .with("round-trip time leg", whole(leg * 1000.0))
        .with("jitter", whole(source.jitter_ms))
        .with("packet loss", lost.saturating_mul(100) / expected)
}

fn told_of(source: &SourceStatistics) -> Dictionary<'static> {
    Dictionary::new()
        .with("SSRC", i64::from(source.ssrc.0))
        .with("packets", number(source.packets))
        .with("bytes", number(source.bytes))
        .with("last RTP timestamp", i64::from(source.last_timestamp))
        .with("last RTP seq", i64::from(source.last_sequence_number))
}

/// What came in, or went out.
#[derive(Default)]
struct Totals {
    packets: u64,
    bytes: u64,
    errors: u64,
}

impl Totals {
    const fn of(packets: u64, bytes: u64) -> Self {
        Self { packets, bytes, errors: 0 }
    }

    const fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.errors += other.errors;
    }

    fn write(&self) -> Dictionary<'static> {
        Dictionary::new()
            .with("packets", number(self.packets))
            .with("bytes", number(self.bytes))
            .with("errors", number(self.errors))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "scores and times of calls are small")]
fn whole(figure: f32) -> i64 {
    figure.round() as i64
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(time: Duration) -> i64 {
    number(time.as_secs())
}
