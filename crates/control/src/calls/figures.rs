//! What is told of calls.

use std::time::Duration;

use model::{CallStatistics, Description, LegStatistics, MediaStream, StreamStatistics};

use super::party::{Call, Dialogue};
use super::{Counts, ok};
use crate::{Dictionary, Value};

/// What is known of a call: of one party and its partners, or of all.
pub(super) fn of_call(call: &Call, of: Option<usize>, figures: &[(usize, CallStatistics)]) -> Dictionary<'static> {
    let mut tags = Dictionary::new();
    let mut totals = Totals::default();
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
            medias = medias_of(&call.dialogues[*dialogue], number, figures, &mut totals);
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
        .with("SSRC", Dictionary::new())
        .with("totals", totals.write())
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
        .with("regularterminatedsessions", number(counts.deleted));
    Dictionary::new().with("currentstatistics", current).with("totalstatistics", total)
}

fn medias_of(
    dialogue: &Dialogue,
    party: usize,
    figures: Option<&CallStatistics>,
    totals: &mut Totals,
) -> Vec<Value<'static>> {
    let Some(leg) = dialogue.leg_of(party) else { return Vec::new() };
    let Some(remote) = &dialogue.remote[leg].as_ref().or(dialogue.local[leg].as_ref()) else { return Vec::new() };
    let figures = figures.and_then(|figures| figures.legs.get(leg));
    totals.errors += figures.map_or(0, |figures| figures.dropped.iter().map(|(_, count)| *count).sum());
    let medias = remote.streams.iter().enumerate();
    medias
        .map(|(index, stream)| media_of(index, stream, dialogue.local[leg].as_ref(), figures, totals).into())
        .collect()
}

fn media_of(
    index: usize,
    remote: &MediaStream,
    local: Option<&Description>,
    figures: Option<&LegStatistics>,
    totals: &mut Totals,
) -> Dictionary<'static> {
    let kind = match remote.kind {
        model::MediaKind::Audio => "audio",
        model::MediaKind::Video => "video",
    };
    let counted = figures.and_then(|figures| figures.streams.iter().find(|one| one.stream == remote.id));
    if let Some(counted) = counted {
        totals.packets += counted.packets_received;
        totals.bytes += counted.bytes_received;
    }
    let ours = local.and_then(|local| local.streams.iter().find(|one| one.id == remote.id));
    let mut flags = vec!["initialized"];
    flags.extend(remote.direction.sends().then_some("send"));
    flags.extend(remote.direction.receives().then_some("recv"));
    flags.extend(ours.is_some_and(|ours| ours.path.rtcp_mux).then_some("rtcp-mux"));
    flags.extend(ours.is_some_and(|ours| ours.path.ice.is_some()).then_some("ICE"));
    flags.extend(ours.is_some_and(|ours| ours.path.dtls.is_some()).then_some("DTLS-SRTP"));
    flags.extend(ours.is_some_and(|ours| !ours.path.crypto.is_empty()).then_some("SDES"));
    let mut media = Dictionary::new()
        .with("index", i64::try_from(index + 1).unwrap_or(i64::MAX))
        .with("type", kind)
        .with("protocol", remote.path.profile.as_str())
        .with("streams", vec![stream_of(remote, ours, figures, counted)])
        .with("flags", flags)
        .with("ingress SSRCs", Value::List(Vec::new()))
        .with("egress SSRCs", Value::List(Vec::new()));
    if let Some(codec) = remote.codecs.first() {
        media.put("codec", format!("{}/{}/{}", codec.name, codec.clock_rate, codec.channels.max(1)));
    }
    media
}

fn stream_of(
    remote: &MediaStream,
    ours: Option<&MediaStream>,
    figures: Option<&LegStatistics>,
    counted: Option<&StreamStatistics>,
) -> Dictionary<'static> {
    let mut stream = Dictionary::new().with("flags", vec!["RTP", "filled"]);
    if let Some(local) = ours.and_then(|ours| ours.path.rtp) {
        stream.put("local port", i64::from(local.port()));
        stream.put("local address", local.ip().to_string());
        stream.put("family", if local.is_ipv4() { "IPv4" } else { "IPv6" });
    }
    if let Some(peer) = remote.path.rtp {
        let endpoint = Dictionary::new()
            .with("family", if peer.is_ipv4() { "IPv4" } else { "IPv6" })
            .with("address", peer.ip().to_string())
            .with("port", i64::from(peer.port()));
        stream.put("endpoint", endpoint.clone());
        stream.put("advertised endpoint", endpoint);
    }
    if let Some(suite) = figures.and_then(|figures| figures.suite) {
        stream.put("crypto suite", suite.as_str());
    }
    let counters = |packets: u64, bytes: u64| {
        Dictionary::new().with("packets", number(packets)).with("bytes", number(bytes)).with("errors", 0)
    };
    if let Some(counted) = counted {
        stream.put("stats", counters(counted.packets_received, counted.bytes_received));
        stream.put("stats_out", counters(counted.packets_sent, counted.bytes_sent));
    }
    stream
}

/// What a call took in.
#[derive(Default)]
struct Totals {
    packets: u64,
    bytes: u64,
    errors: u64,
}

impl Totals {
    fn write(&self) -> Dictionary<'static> {
        let counters = |packets, bytes, errors| {
            Dictionary::new()
                .with("packets", number(packets))
                .with("bytes", number(bytes))
                .with("errors", number(errors))
        };
        Dictionary::new().with("RTP", counters(self.packets, self.bytes, self.errors)).with("RTCP", counters(0, 0, 0))
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(time: Duration) -> i64 {
    number(time.as_secs())
}
