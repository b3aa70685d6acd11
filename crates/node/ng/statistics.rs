//! What the threads of the relay and the listeners know of all calls, in the reply to `statistics`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control::{Dictionary, Value};

use super::counters::{Kind, Tally};

/// What the relay had counted when it was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looked {
    at: Instant,
    packets: u64,
    bytes: u64,
    errors: u64,
}

impl Looked {
    pub(super) fn at(counters: &relay::Counters, at: Instant) -> Self {
        let errors = counters.all_dropped();
        Self { at, packets: counters.packets_forwarded, bytes: counters.bytes_forwarded, errors }
    }

    /// How much of something there was in a second since it was looked at before.
    fn rate(&self, before: &Self, of: fn(&Self) -> u64) -> i64 {
        let time = self.at.saturating_duration_since(before.at).max(Duration::from_secs(1));
        number(u128::from(of(self).saturating_sub(of(before))) * 1000 / time.as_millis())
    }
}

/// Adds it to a reply, with rates since the relay was looked at before.
pub(super) fn complete(
    reply: &Dictionary<'static>,
    before: &Looked,
    now: &Looked,
    answered: &[(Kind, Tally)],
) -> Dictionary<'static> {
    let mut reply = reply.clone();
    let Some(mut statistics) = reply.get("statistics").and_then(Value::dictionary).cloned() else { return reply };
    let part = |name| statistics.get(name).and_then(Value::dictionary).cloned().unwrap_or_default();
    let current = part("currentstatistics")
        .with("packetrate", now.rate(before, |looked| looked.packets))
        .with("byterate", now.rate(before, |looked| looked.bytes))
        .with("errorrate", now.rate(before, |looked| looked.errors));
    let total = part("totalstatistics")
        .with("relayedpackets", number(now.packets))
        .with("relayedpacketerrors", number(now.errors));
    statistics.put("currentstatistics", current);
    statistics.put("totalstatistics", total);
    statistics.put("intervalstatistics", delays(answered));
    statistics.put("controlstatistics", by_peer(answered));
    reply.put("statistics", statistics);
    reply
}

/// How long requests took, in seconds since the start.
fn delays(answered: &[(Kind, Tally)]) -> Dictionary<'static> {
    let mut delays = Dictionary::new();
    for command in ["offer", "answer", "delete"] {
        let tallies = answered.iter().filter(|(kind, _)| kind.command == command).map(|(_, tally)| *tally);
        let sum = tallies.fold(Tally::default(), Tally::plus);
        let average = sum.time.as_secs_f64() / sum.count.max(1) as f64;
        for (name, seconds) in
            [("min", sum.shortest.as_secs_f64()), ("avg", average), ("max", sum.longest.as_secs_f64())]
        {
            delays.put(format!("{name}{command}delay"), format!("{seconds:.6}"));
        }
    }
    delays
}

/// How often each peer asked what, and all together.
fn by_peer(answered: &[(Kind, Tally)]) -> Dictionary<'static> {
    let (mut peers, mut totals) = (BTreeMap::<String, BTreeMap<String, u64>>::new(), BTreeMap::<String, u64>::new());
    for (kind, tally) in answered {
        let counts = peers.entry(kind.peer_label()).or_default();
        let command: String = kind.command.chars().filter(|c| *c != ' ').flat_map(char::to_lowercase).collect();
        for (name, count) in [
            (format!("{command}count"), tally.count),
            ("errorcount".to_owned(), if kind.is_refused() { tally.count } else { 0 }),
        ] {
            *totals.entry(format!("total{name}")).or_default() += count;
            *counts.entry(name).or_default() += count;
        }
    }
    let proxies = peers.into_iter().map(|(peer, counts)| Value::from(dictionary(counts).with("proxy", peer)));
    let proxies = Value::List(proxies.collect());
    dictionary(totals).with("proxies", proxies)
}

fn dictionary(counts: BTreeMap<String, u64>) -> Dictionary<'static> {
    let mut dictionary = Dictionary::new();
    counts.into_iter().for_each(|(name, count)| dictionary.put(name, number(count)));
    dictionary
}

fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_count_stands_beside_what_the_calls_know() {
        let start = crate::gateway::now();
        let looked =
            |seconds, packets| Looked { at: start + Duration::from_secs(seconds), packets, bytes: 7, errors: 1 };
        let kind = |command, result| Kind { peer: Some([192, 0, 2, 1].into()), command, result };
        let took = |count: u32, ms| {
            let time = Duration::from_millis(ms);
            Tally { count: count.into(), time: time * count, shortest: time, longest: time }
        };
        let answered = [
            (kind("offer", "ok"), took(3, 10)),
            (kind("offer", "error"), took(1, 30)),
            (kind("block media", "ok"), took(1, 1)),
        ];
        let known = Dictionary::new().with("currentstatistics", Dictionary::new().with("sessionsown", 4));
        let reply = Dictionary::new().with("result", "ok").with("statistics", known);
        let reply = complete(&reply, &looked(0, 100), &looked(10, 1100), &answered);
        let at = |path: &str| {
            let mut value = Value::from(reply.clone());
            for part in path.split('/') {
                value = match part.parse::<usize>() {
                    Ok(index) => value.members()[index].clone(),
                    Err(_) => value.dictionary().and_then(|here| here.get(part)).cloned().expect(part),
                };
            }
            value
        };
        assert_eq!(at("statistics/currentstatistics/sessionsown").integer(), Some(4));
        assert_eq!(at("statistics/currentstatistics/packetrate").integer(), Some(100));
        assert_eq!(at("statistics/totalstatistics/relayedpackets").integer(), Some(1100));
        assert_eq!(at("statistics/intervalstatistics/avgofferdelay").text(), Some("0.015000"));
        assert_eq!(at("statistics/intervalstatistics/maxofferdelay").text(), Some("0.030000"));
        assert_eq!(at("statistics/intervalstatistics/minofferdelay").text(), Some("0.010000"));
        assert_eq!(at("statistics/controlstatistics/proxies/0/proxy").text(), Some("192.0.2.1"));
        assert_eq!(at("statistics/controlstatistics/proxies/0/blockmediacount").integer(), Some(1));
        assert_eq!(at("statistics/controlstatistics/totaloffercount").integer(), Some(4));
        assert_eq!(at("statistics/controlstatistics/totalerrorcount").integer(), Some(1));
    }
}
