//! A network that loses, delays, reorders and duplicates, the same way for the same seed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Flying {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// How badly the network behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Datagrams lost, of a thousand.
    pub(crate) loss: u64,
    /// Datagrams that come twice, of a thousand.
    pub(crate) duplication: u64,
    /// The most that is added to the delay of one datagram and not of the next.
    pub(crate) jitter: Duration,
}

/// The network, with everything that is on its way.
pub(crate) struct Network {
    pub(crate) weather: Weather,
    /// Translators: what is sent from the first address leaves from the second, and what comes to that is brought back.
    pub(crate) translated: Vec<(SocketAddr, SocketAddr)>,
    /// Nothing from or to these passes.
    pub(crate) cut: Vec<std::net::IpAddr>,
    /// What did not pass.
    pub(crate) withheld: Vec<Flying>,
    seed: u64,
    dice: Dice,
    flying: BTreeMap<(Instant, u64), Flying>,
    count: u64,
}

/// Where there is nobody.
const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

const DELAY: Duration = Duration::from_millis(10);

impl Network {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            weather,
            translated: Vec::new(),
            cut: Vec::new(),
            withheld: Vec::new(),
            seed,
            dice: Dice::new(seed),
            flying: BTreeMap::new(),
            count: 0,
        }
    }

    pub(crate) fn send(&mut self, mut datagram: Flying, now: Instant) {
        if let Some((_, outside)) = self.translated.iter().find(|(inside, _)| *inside == datagram.from) {
            datagram.from = *outside;
        }
        if self.cut.contains(&datagram.from.ip()) || self.cut.contains(&datagram.to.ip()) {
            self.withheld.push(datagram);
            return;
        }
        let copies = match self.dice.below(1000) {
            roll if roll < self.weather.loss => 0,
            roll if roll < self.weather.loss + self.weather.duplication => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let jitter = u64::try_from(self.weather.jitter.as_micros()).expect("jitter is short");
            let delay = DELAY + Duration::from_micros(self.dice.below(jitter + 1));
            self.count += 1;
            self.flying.insert((now + delay, self.count), datagram.clone());
        }
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.flying.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn arrive(&mut self, now: Instant) -> Option<Flying> {
        let first = self.flying.first_entry().filter(|first| first.key().0 <= now)?;
        let mut datagram = first.remove();
        match self.translated.iter().find(|(inside, outside)| *inside == datagram.to || *outside == datagram.to) {
            Some((inside, _)) if *inside == datagram.to => datagram.to = NOWHERE,
            Some((inside, _)) => datagram.to = *inside,
            None => {}
        }
        Some(datagram)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the network's seed was {}", self.seed);
        }
    }
}

/// Numbers that only look random.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
