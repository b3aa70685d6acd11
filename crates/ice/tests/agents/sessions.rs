//! Two of our agents, or ours and a bare checklist, over the simulated network.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ice::{Agent, CandidateError, CredentialsError, Dropped, Event, LocalAddress, Pair, Role, Transmit};
use is::stun::{StunMessage, StunPacket};
use model::{Candidate, CandidateKind, Component, IceParameters, IceState, Secret};

use crate::network::{Network, Peer, address, agent, agent_at, connected, events, introduce, start, trickle};

const V4: [&str; 2] = ["192.0.2.1:30000", "198.51.100.7:40000"];
const V6: [&str; 2] = ["[2001:db8::1]:30000", "[2001:db8:1::7]:40000"];
const SECOND: Duration = Duration::from_secs(1);

/// Two agents that know everything of each other.
fn introduced(roles: [Role; 2], a: &[&str], b: &[&str], seed: u64) -> Network<Agent, Agent> {
    let now = start();
    let mut network = Network::new(agent(roles[0], a), agent(roles[1], b), now, seed);
    introduce(&mut network.a, &network.b, now);
    introduce(&mut network.b, &network.a, now);
    trickle(&mut network.a, &network.b, now);
    trickle(&mut network.b, &network.a, now);
    network
}

fn usual(seed: u64) -> Network<Agent, Agent> {
    introduced([Role::Controlling, Role::Controlled], &V4[..1], &V4[1..], seed)
}

fn mirrored(a: &Agent, b: &Agent) -> bool {
    let (Some(a), Some(b)) = (a.selected(), b.selected()) else { return false };
    (a.local, a.remote) == (b.remote, b.local)
}

#[test]
fn two_agents_connect_and_agree_on_the_pair() {
    let mut network = usual(1);
    assert!(network.run_until(SECOND, connected), "not connected after {:?}", network.elapsed());
    assert!(mirrored(&network.a, &network.b));
    let pair = Pair { local: address(V4[0]), remote: address(V4[1]) };
    assert_eq!(events(&mut network.a), [Event::Selected(pair), Event::State(IceState::Connected)]);
    assert!(network.a.is_validated(pair));
    assert!(!network.a.is_validated(Pair { remote: address("198.51.100.7:40001"), ..pair }));
}

#[test]
fn two_agents_connect_through_a_quarter_of_loss() {
    for seed in 0..50 {
        let mut network = usual(seed);
        network.loss = 25;
        assert!(network.run_until(20 * SECOND, connected), "seed {seed}");
        network.loss = 10;
        network.run(120 * SECOND);
        assert!(connected(&network.a, &network.b), "seed {seed} fell over");
    }
}

#[test]
fn two_agents_connect_over_ipv6_and_prefer_the_first_address() {
    let mut network = introduced([Role::Controlled, Role::Controlling], &[V6[0], V4[0]], &[V6[1], V4[1]], 3);
    assert!(network.run_until(SECOND, connected));
    network.run(2 * SECOND);
    assert!(mirrored(&network.a, &network.b));
    assert_eq!(network.a.selected().map(|pair| pair.remote), Some(address(V6[1])));
}

#[test]
fn a_dead_family_is_passed_over() {
    let mut network = introduced([Role::Controlled, Role::Controlling], &[V6[0], V4[0]], &[V6[1], V4[1]], 4);
    network.dead.insert(address(V6[1]).ip());
    assert!(network.run_until(SECOND, connected));
    assert_eq!(network.a.selected().map(|pair| pair.remote), Some(address(V4[1])));
}

#[test]
fn when_the_selected_pair_dies_another_valid_one_takes_over() {
    let mut network = introduced([Role::Controlled, Role::Controlling], &[V6[0], V4[0]], &[V6[1], V4[1]], 5);
    network.run(10 * SECOND);
    assert_eq!(network.a.selected().map(|pair| pair.remote), Some(address(V6[1])));
    network.dead.insert(address(V6[1]).ip());
    let over = |a: &Agent, b: &Agent| {
        let over = |agent: &Agent| agent.selected().is_some_and(|pair| pair.local.is_ipv4());
        over(a) && over(b)
    };
    assert!(network.run_until(16 * SECOND, over));
    assert!(!events(&mut network.a).contains(&Event::ConsentLost));
    network.run(60 * SECOND);
    assert!(connected(&network.a, &network.b) && mirrored(&network.a, &network.b));
}

/// A peer behind a translator, and us.
fn behind_a_translator(roles: [Role; 2], seed: u64) -> Network<Agent, Agent> {
    let private = LocalAddress { bound: address("10.0.0.1:30000"), advertised: Some(address(V4[0])) };
    let mut network = Network::new(agent_at(roles[0], vec![private]), agent(roles[1], &V4[1..]), start(), seed);
    network.nats.push((address(V4[0]), private.bound));
    let now = network.now;
    introduce(&mut network.a, &network.b, now);
    introduce(&mut network.b, &network.a, now);
    trickle(&mut network.a, &network.b, now);
    trickle(&mut network.b, &network.a, now);
    assert!(network.run_until(SECOND, connected));
    network
}

#[test]
fn a_peer_whose_translator_moves_it_is_followed_a_second_after_its_next_check() {
    for roles in [[Role::Controlling, Role::Controlled], [Role::Controlled, Role::Controlling]] {
        for seed in 0..20 {
            let mut network = behind_a_translator(roles, seed);
            network.run(10 * SECOND + Duration::from_millis(250 * seed)); // anywhere between two checks
            for port in [31_000, 32_000] {
                let moved = SocketAddr::new(address(V4[0]).ip(), port);
                network.nats[0].0 = moved;
                let pair = Pair { local: address(V4[1]), remote: moved };
                let from = network.now;
                assert!(network.run_until(6 * SECOND, |_, b| b.is_validated(pair)), "its next check, {seed}");
                let checked = network.now;
                let limit = SECOND + Duration::from_millis(160); // there and back
                assert!(network.run_until(limit, |_, b| b.selected() == Some(pair)), "{roles:?} {seed}");
                assert!(checked - from < Duration::from_millis(5_080), "it checks every five seconds");
                network.run(60 * SECOND);
                assert_eq!(network.b.selected(), Some(pair), "{roles:?} {seed}");
                assert!(connected(&network.a, &network.b), "{roles:?} {seed}");
            }
        }
    }
}

#[test]
fn a_peer_that_is_heard_from_another_address_too_is_not_followed_there() {
    for seed in 0..20 {
        let [first, second] = ["192.0.2.1:30000", "192.0.2.2:30000"];
        let mut network =
            Network::new(agent(Role::Controlling, &[first, second]), agent(Role::Controlled, &V4[1..]), start(), seed);
        network.dead.insert(address(second).ip());
        let now = network.now;
        introduce(&mut network.a, &network.b, now);
        introduce(&mut network.b, &network.a, now);
        trickle(&mut network.a, &network.b, now);
        network.run(10 * SECOND);
        let selected = Some(Pair { local: address(V4[1]), remote: address(first) });
        assert_eq!(network.b.selected(), selected);
        network.dead.clear();
        let other = Pair { local: address(V4[1]), remote: address(second) };
        assert!(network.run_until(6 * SECOND, |_, b| b.answered_on(other).is_some()));
        let sent = network.sent;
        network.run(20 * SECOND);
        assert_eq!(network.b.selected(), selected, "{seed}");
        assert!(network.sent - sent < 45, "two pairs, checked every five seconds: {}", network.sent - sent);
    }
}

#[test]
fn a_check_that_a_stranger_repeats_moves_nothing() {
    let mut network = behind_a_translator([Role::Controlling, Role::Controlled], 6);
    network.run(10 * SECOND);
    let selected = network.b.selected();
    let theirs = check(&network.b, &network.a.local_credentials().ufrag);
    let stranger = Pair { local: address(V4[1]), remote: address("203.0.113.66:6666") };
    assert_eq!(network.b.handle_packet(&theirs, stranger, network.now), Ok(()));
    network.dead.extend([address(V4[0]), address("10.0.0.1:30000")].map(|address| address.ip())); // and the peer is silent
    network.run(15 * SECOND);
    assert_eq!((network.b.selected(), network.b.state()), (selected, IceState::Disconnected));
    network.run(16 * SECOND);
    assert_eq!(network.b.selected(), None, "consent is lost as ever");
}

#[test]
fn a_role_conflict_is_repaired_both_ways() {
    for role in [Role::Controlling, Role::Controlled] {
        for seed in 0..10 {
            let mut network = introduced([role, role], &V4[..1], &V4[1..], seed);
            assert!(network.run_until(5 * SECOND, connected), "{role:?} against {role:?}, seed {seed}");
            network.run(SECOND);
            assert_ne!(network.a.role(), network.b.role());
            assert!(mirrored(&network.a, &network.b));
        }
    }
}

#[test]
fn candidates_that_trickle_in_late_connect() {
    let now = start();
    let mut network = Network::new(agent(Role::Controlling, &V4[..1]), agent(Role::Controlled, &V4[1..]), now, 7);
    introduce(&mut network.a, &network.b, now);
    introduce(&mut network.b, &network.a, now);
    network.run(5 * SECOND);
    assert_eq!(network.a.state(), IceState::Checking);
    trickle(&mut network.a, &network.b, network.now);
    assert!(network.run_until(SECOND, connected));
}

#[test]
fn a_peer_that_names_no_candidates_is_found_by_its_checks() {
    let now = start();
    let mut network = Network::new(agent(Role::Controlled, &V4[..1]), agent(Role::Controlling, &V4[1..]), now, 8);
    introduce(&mut network.a, &network.b, now);
    introduce(&mut network.b, &network.a, now);
    trickle(&mut network.b, &network.a, now);
    network.a.end_of_candidates(now);
    assert!(network.run_until(SECOND, connected));
}

#[test]
fn checks_before_the_credentials_are_answered_and_acted_on_when_they_come() {
    let now = start();
    let mut network = Network::new(agent(Role::Controlled, &V4[..1]), agent(Role::Controlling, &V4[1..]), now, 9);
    introduce(&mut network.b, &network.a, now);
    trickle(&mut network.b, &network.a, now);
    assert!(network.run_until(SECOND, |_, b| b.state() == IceState::Connected), "no answer before the credentials");
    assert!(network.a.is_validated(Pair { local: address(V4[0]), remote: address(V4[1]) }));
    assert_eq!((network.a.selected(), network.a.poll_timeout()), (None, None));
    introduce(&mut network.a, &network.b, network.now);
    assert!(network.run_until(SECOND, connected));
}

#[test]
fn candidates_before_the_credentials_wait_for_them() {
    let now = start();
    let mut network = Network::new(agent(Role::Controlling, &V4[..1]), agent(Role::Controlled, &V4[1..]), now, 10);
    trickle(&mut network.a, &network.b, now);
    introduce(&mut network.a, &network.b, now);
    introduce(&mut network.b, &network.a, now);
    assert!(network.run_until(SECOND, connected));
}

#[test]
fn an_agent_behind_a_one_to_one_nat_is_reached_at_its_advertised_address() {
    let network = behind_a_translator([Role::Controlling, Role::Controlled], 11);
    assert_eq!(network.a.selected(), Some(Pair { local: address("10.0.0.1:30000"), remote: address(V4[1]) }));
    assert_eq!(network.b.selected(), Some(Pair { local: address(V4[1]), remote: address(V4[0]) }));
}

#[test]
fn a_lite_peer_makes_us_control() {
    let now = start();
    let credentials = IceParameters { lite: true, ..ice::new_credentials() };
    let ours = agent(Role::Controlled, &V4[..1]);
    let mut lite = Lite(is::IceAgent::new(is::IceCreds {
        ufrag: credentials.ufrag.clone(),
        pass: credentials.pwd.reveal().clone(),
    }));
    lite.0.set_ice_lite(true);
    lite.0.add_local_candidate(is::Candidate::host(address(V4[1]), "udp").expect("a fit address"));
    let local = ours.local_credentials();
    lite.0.set_remote_credentials(is::IceCreds { ufrag: local.ufrag.clone(), pass: local.pwd.reveal().clone() });
    lite.0.handle_timeout(now);
    let mut network = Network::new(ours, lite, now, 12);
    network.a.set_remote_credentials(&credentials, now).expect("our credentials are well-formed");
    network.a.add_remote_candidate(&host(V4[1]), None, now).expect("a fit candidate");
    assert!(network.run_until(SECOND, |a, lite| a.state() == IceState::Connected && lite.0.state().is_connected()));
    assert_eq!(network.a.role(), Role::Controlling);
    network.run(60 * SECOND);
    assert_eq!(network.a.state(), IceState::Connected);
}

#[test]
fn a_restart_keeps_the_old_pair_until_the_new_one_is_selected() {
    let mut network = usual(13);
    network.run(3 * SECOND);
    let old = network.a.selected();
    let old_ufrag = network.b.local_credentials().ufrag.clone();
    assert!(old.is_some());
    network.a.restart(ice::new_credentials(), network.now);
    network.run(10 * SECOND);
    assert_eq!((network.a.selected(), network.a.state()), (old, IceState::Connected));
    assert_eq!(network.a.generation(), 1);
    assert!(network.a.local_candidates().iter().all(|candidate| candidate.generation == 1));

    network.b.restart(ice::new_credentials(), network.now);
    let now = network.now;
    introduce(&mut network.a, &network.b, now);
    introduce(&mut network.b, &network.a, now);
    trickle(&mut network.a, &network.b, now);
    let late = network.a.add_remote_candidate(&host("198.51.100.9:9"), Some(&old_ufrag), now);
    assert_eq!(late, Err(CandidateError::OldGeneration));
    events(&mut network.a);
    network.run(20 * SECOND);
    assert!(connected(&network.a, &network.b) && mirrored(&network.a, &network.b));
    assert!(!events(&mut network.a).contains(&Event::ConsentLost));
    network.run(60 * SECOND);
    assert!(connected(&network.a, &network.b));
}

#[test]
fn a_restart_moves_to_a_new_address_of_the_peer() {
    let mut network = usual(14);
    network.run(3 * SECOND);
    network.a.restart(ice::new_credentials(), network.now);
    network.b = agent(Role::Controlled, &["198.51.100.8:40000"]);
    let now = network.now;
    introduce(&mut network.a, &network.b, now);
    introduce(&mut network.b, &network.a, now);
    trickle(&mut network.b, &network.a, now);
    let moved = |a: &Agent, _: &Agent| a.selected().is_some_and(|pair| pair.remote == address("198.51.100.8:40000"));
    assert!(network.run_until(SECOND, moved));
    assert!(network.a.is_validated(Pair { local: address(V4[0]), remote: address(V4[1]) }));
    network.run(10 * SECOND);
    assert!(!network.a.is_validated(Pair { local: address(V4[0]), remote: address(V4[1]) }));
}

#[test]
fn credentials_change_only_by_a_restart_and_together() {
    let now = start();
    let mut ours = agent(Role::Controlled, &V4[..1]);
    let first = ice::new_credentials();
    assert_eq!(ours.set_remote_credentials(&first, now), Ok(()));
    assert_eq!(ours.set_remote_credentials(&first, now), Ok(()));
    let half = IceParameters { pwd: ice::new_credentials().pwd, ..first };
    assert_eq!(ours.set_remote_credentials(&half, now), Err(CredentialsError::HalfChanged));
    assert_eq!(ours.set_remote_credentials(&ice::new_credentials(), now), Err(CredentialsError::NotRestarted));
    ours.restart(ice::new_credentials(), now);
    assert_eq!(ours.set_remote_credentials(&ice::new_credentials(), now), Ok(()));
}

#[test]
fn consent_is_lost_within_thirty_seconds_of_silence_and_only_a_restart_helps() {
    let mut network = usual(15);
    network.run(30 * SECOND);
    assert!(connected(&network.a, &network.b));
    events(&mut network.a);
    network.dead.insert(address(V4[1]).ip());
    let silent = network.now;
    assert!(network.run_until(40 * SECOND, |a, _| a.state() == IceState::Disconnected));
    assert!(network.a.selected().is_some(), "a short silence is not yet a loss of consent");
    assert!(network.run_until(40 * SECOND, |a, b| a.selected().is_none() && b.selected().is_none()));
    assert!(network.now - silent <= 30 * SECOND, "consent lost only after {:?}", network.now - silent);
    assert_eq!(events(&mut network.a), [Event::State(IceState::Disconnected), Event::ConsentLost]);
    let sent = network.sent;
    network.dead.clear();
    network.run(60 * SECOND);
    assert_eq!((network.sent, network.a.selected()), (sent, None), "sent without consent");

    network.a.restart(ice::new_credentials(), network.now);
    network.b.restart(ice::new_credentials(), network.now);
    let now = network.now;
    introduce(&mut network.a, &network.b, now);
    introduce(&mut network.b, &network.a, now);
    trickle(&mut network.a, &network.b, now);
    assert!(network.run_until(SECOND, connected));
}

#[test]
fn a_peer_that_checks_but_never_answers_does_not_consent() {
    let now = start();
    let mut network = Network::new(agent(Role::Controlling, &V4[..1]), Mute::new(&V4[1..], now), now, 16);
    network.a.set_remote_credentials(network.b.agent.local_credentials(), now).expect("well-formed");
    introduce(&mut network.b.agent, &network.a, now);
    trickle(&mut network.a, &network.b.agent, now);
    trickle(&mut network.b.agent, &network.a, now);
    network.run(10 * SECOND);
    assert_eq!(network.a.state(), IceState::Connected);
    network.b.muted = true;
    assert!(network.run_until(31 * SECOND, |a, _| a.selected().is_none()));
    assert!(events(&mut network.a).contains(&Event::ConsentLost));
}

#[test]
fn thirty_seconds_without_a_pair_is_failure() {
    let mut network = usual(17);
    network.dead.insert(address(V4[1]).ip());
    network.run(29 * SECOND);
    assert_eq!(network.a.state(), IceState::Checking);
    network.run(2 * SECOND);
    assert_eq!(events(&mut network.a), [Event::State(IceState::Failed)]);
}

#[test]
fn after_the_last_candidate_failure_comes_as_soon_as_all_are_tried() {
    let mut network = usual(18);
    network.dead.insert(address(V4[1]).ip());
    network.a.end_of_candidates(network.now);
    assert!(network.run_until(25 * SECOND, |a, _| a.state() == IceState::Failed));
}

#[test]
fn a_flood_of_candidates_is_refused_and_leaves_the_rest_working() {
    let now = start();
    let mut network = Network::new(agent(Role::Controlling, &V4[..1]), agent(Role::Controlled, &V4[1..]), now, 19);
    introduce(&mut network.a, &network.b, now);
    introduce(&mut network.b, &network.a, now);
    trickle(&mut network.a, &network.b, now);
    let refused = (0..10_000_u16)
        .map(|port| network.a.add_remote_candidate(&host(&format!("203.0.113.1:{}", 1000 + port)), None, now))
        .filter(|added| *added == Err(CandidateError::TooMany))
        .count();
    assert_eq!(refused, 10_000 - 63);
    assert!(network.run_until(5 * SECOND, connected));
}

#[test]
fn a_flood_of_sources_with_the_right_password_is_bounded() {
    let now = start();
    let mut ours = agent(Role::Controlled, &V4[..1]);
    let theirs = ice::new_credentials();
    ours.set_remote_credentials(&theirs, now).expect("our credentials are well-formed");
    let check = check(&ours, &theirs.ufrag);
    let accepted = (0..1000_u16)
        .map(|port| Pair { local: address(V4[0]), remote: address(&format!("203.0.113.1:{}", 1000 + port)) })
        .filter(|pair| ours.handle_packet(&check, *pair, now).is_ok())
        .count();
    assert_eq!(accepted, 64);
}

#[test]
fn strangers_are_told_so_ten_times_a_second_and_never_with_more_than_they_sent() {
    let now = start();
    let mut ours = agent(Role::Controlled, &V4[..1]);
    let pair = Pair { local: address(V4[0]), remote: address("203.0.113.1:9") };
    let wrong = agent(Role::Controlled, &V4[..1]);
    let check = check(&wrong, "them");
    for _ in 0..100 {
        assert_eq!(ours.handle_packet(&check, pair, now), Err(Dropped::UnknownUsername));
    }
    let answers: Vec<Transmit> = std::iter::from_fn(|| ours.poll_transmit()).collect();
    assert_eq!(answers.len(), 10);
    assert!(answers.iter().all(|answer| answer.bytes.len() <= check.len() && answer.pair == pair));
    assert_eq!(ours.handle_packet(&check[..20], pair, now), Err(Dropped::Malformed));
    assert!(!ours.is_validated(pair) && ours.poll_event().is_none());
}

#[test]
fn a_response_from_elsewhere_than_the_request_went_is_not_believed() {
    let mut network = usual(20);
    let check = network.a.poll_transmit().expect("a first check");
    let reply =
        network.b.handle_packet(&check.bytes, Pair { local: check.pair.remote, remote: check.pair.local }, network.now);
    assert_eq!(reply, Ok(()));
    let answers = std::iter::from_fn(|| network.b.poll_transmit());
    let answer = answers.filter(|answer| answer.bytes[0] == 1).last().expect("a response");
    let elsewhere = Pair { remote: address("203.0.113.1:9"), ..check.pair };
    assert_eq!(network.a.handle_packet(&answer.bytes, elsewhere, network.now), Err(Dropped::UnexpectedResponse));
    assert_eq!(network.a.handle_packet(&answer.bytes, check.pair, network.now), Ok(()));
    assert_eq!(network.a.handle_packet(&answer.bytes, check.pair, network.now), Err(Dropped::UnexpectedResponse));
}

#[test]
fn garbage_is_dropped_without_a_trace() {
    let now = start();
    let mut ours = agent(Role::Controlled, &V4[..1]);
    let pair = Pair { local: address(V4[0]), remote: address(V4[1]) };
    let mut seed = 1_u64;
    let good = check(&ours, "them");
    let authenticated = good.len() - 8; // what follows is FINGERPRINT, which may be missing
    for round in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bytes = good.clone();
        let bits = 1 + round % 4;
        for step in 0..bits {
            let bit = usize::try_from(seed >> (8 * step + 20)).expect("64-bit") % (authenticated * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        bytes.truncate(bytes.len() - round % 3);
        if bytes != good {
            assert!(ours.handle_packet(&bytes, pair, now).is_err(), "{bytes:02x?}");
        }
    }
    assert!(!ours.is_validated(pair));
}

/// A check by a peer of that fragment, with the right password.
fn check(of: &Agent, ufrag: &str) -> Vec<u8> {
    use is::Sha1HmacProvider;
    let local = of.local_credentials();
    let username = format!("{}:{ufrag}", local.ufrag);
    let message = StunMessage::binding_request(&username, is::stun::TransId::new(), true, 7, 1, false);
    let mut bytes = vec![0; 500];
    let length = message
        .to_bytes(Some(local.pwd.reveal().as_bytes()), &mut bytes, |key, parts| {
            is::DefaultSha1HmacProvider.sha1_hmac(key, parts)
        })
        .expect("a check fits");
    bytes.truncate(length);
    bytes
}

fn host(text: &str) -> Candidate {
    Candidate {
        foundation: "1".to_owned(),
        component: Component::Rtp,
        priority: 2_130_706_431,
        address: address(text),
        kind: CandidateKind::Host,
        related: None,
        generation: 0,
    }
}

/// A lite agent of the `is` crate.
struct Lite(is::IceAgent);

impl Peer for Lite {
    fn handle_packet(&mut self, datagram: &[u8], pair: Pair, now: Instant) {
        let message = StunMessage::parse(datagram).expect("our messages are well-formed");
        let packet = StunPacket { proto: is::Protocol::Udp, source: pair.remote, destination: pair.local, message };
        self.0.handle_packet(now, packet);
        self.0.handle_timeout(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.0.poll_transmit()?;
        let pair = Pair { local: transmit.source, remote: transmit.destination };
        Some(Transmit { pair, bytes: transmit.contents.into() })
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.0.poll_timeout()
    }
}

/// An agent whose responses can be withheld.
struct Mute {
    agent: Agent,
    muted: bool,
}

impl Mute {
    fn new(addresses: &[&str], _now: Instant) -> Self {
        Self { agent: agent(Role::Controlled, addresses), muted: false }
    }
}

impl Peer for Mute {
    fn handle_packet(&mut self, datagram: &[u8], pair: Pair, now: Instant) {
        let _ = self.agent.handle_packet(datagram, pair, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.agent.handle_timeout(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        let muted = self.muted;
        std::iter::from_fn(|| self.agent.poll_transmit()).find(|transmit| !muted || transmit.bytes[0] == 0)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.agent.poll_timeout()
    }
}

#[test]
fn a_secret_does_not_show_in_debug() {
    let ours = agent(Role::Controlled, &V4[..1]);
    let pwd: &Secret<String> = &ours.local_credentials().pwd;
    assert!(!format!("{ours:?}").contains(pwd.reveal()));
}
