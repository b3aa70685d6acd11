mod descriptions;
mod rollback;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::{Direction, FromRelay};
use relay::{Address, CertificatePolicy, OpenError, PortShare, Relay, SocketId, Sockets, Traffic};

use super::*;
use crate::Value;

const OFFER: &str = "v=0\r\no=alice 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
    a=x-session:kept\r\nm=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=x-media:kept\r\n";
const ANSWER: &str = "v=0\r\no=bob 2 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
    m=audio 5000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// A relay of ours, driven as clients drive it.
struct World {
    calls: Calls,
    relay: Relay,
    open: Fakes,
    now: Instant,
    tickets: u64,
}

#[derive(Default)]
struct Fakes(HashMap<SocketId, SocketAddr>);

impl Sockets for Fakes {
    fn open(&mut self, id: SocketId, address: SocketAddr, _: Traffic) -> Result<(), OpenError> {
        self.0.insert(id, address);
        Ok(())
    }

    fn close(&mut self, id: SocketId) {
        self.0.remove(&id);
    }
}

impl World {
    fn new() -> Self {
        Self::with(100, 30_000..=30_099)
    }

    fn with(max_calls: usize, range: std::ops::RangeInclusive<u16>) -> Self {
        let address = |name: &str, last| Address {
            name: Some(name.to_owned()),
            bind: IpAddr::from(Ipv4Addr::new(198, 51, 100, last)),
            advertise: None,
        };
        Self::on(vec![address("internal", 1), address("external", 2)], max_calls, range)
    }

    fn on(addresses: Vec<Address>, max_calls: usize, range: std::ops::RangeInclusive<u16>) -> Self {
        let usual_interface = addresses.first().and_then(|address| address.name.clone());
        let config = relay::Config {
            port_quarantine: Duration::ZERO,
            ..relay::Config::new(addresses, PortShare { range, number: 0, of: 1 }, CertificatePolicy::PerCall)
        };
        #[expect(clippy::disallowed_methods, reason = "any time will do to begin with")]
        let now = Instant::now();
        let config_of_calls = Config {
            max_calls,
            delete_delay: Duration::from_secs(30),
            offer_timeout: Duration::from_secs(3600),
            endpoint_learning: EndpointLearning::Heuristic,
            interfaces: ["internal", "external"].map(|name| (name.to_owned(), name.to_owned())).into(),
            usual_interface,
        };
        let mut next = 0_u8;
        let random =
            move |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| (*byte, next) = (next, next.wrapping_add(7)));
        Self {
            calls: Calls::new(config_of_calls, now, Duration::from_secs(1_000_000)),
            relay: Relay::new(config, Box::new(random)),
            open: Fakes::default(),
            now,
            tickets: 0,
        }
    }

    /// The reply to a request.
    fn ask(&mut self, request: &Dictionary<'_>) -> Dictionary<'static> {
        self.tickets += 1;
        let request = Request::read(request).expect("it is a request");
        self.calls.handle_request(Ticket(self.tickets), request, self.now);
        self.work();
        let (ticket, reply) = self.calls.poll_reply().expect("every request is answered");
        assert_eq!(ticket, Ticket(self.tickets));
        reply
    }

    /// Lets the relay do what it is asked.
    fn work(&mut self) {
        self.now += Duration::from_millis(1);
        while let Some(model::Request { id, command }) = self.calls.poll_command() {
            let outcome = self.relay.handle_command(command, self.now, &mut self.open);
            self.calls.handle_relay(FromRelay::Reply { id, outcome }, self.now);
        }
        while let Some(event) = self.relay.poll_event() {
            self.calls.handle_relay(FromRelay::Event(event), self.now);
        }
        while let Some(socket) = self.relay.poll_close() {
            self.open.close(socket);
        }
    }

    /// Sends a packet of sound to where the first offerer was told to.
    fn speak(&mut self, from: &str, number: u8) {
        self.send(from, 8, number);
    }

    /// Sends a packet of a payload type there, and returns the payload that goes on.
    fn send(&mut self, from: &str, payload_type: u8, number: u8) -> Option<Vec<u8>> {
        self.send_to(0, from, payload_type, number)
    }

    /// The same to where the party of a leg was told to.
    fn send_to(&mut self, leg: usize, from: &str, payload_type: u8, number: u8) -> Option<Vec<u8>> {
        let header = [0x80, payload_type, 0, number, 0, 0, number, 0, 1, 2, 3, 4];
        self.forwarded(leg, from, header).map(|packet| packet[12..].to_vec())
    }

    /// Sends a packet to where the party of a leg was told to, and returns what goes on.
    fn forwarded(&mut self, leg: usize, from: &str, header: [u8; 12]) -> Option<Vec<u8>> {
        let call = self.calls.calls.values().next().expect("there is a call");
        let local = call.dialogues[0].local[leg].as_ref();
        let to = local.and_then(|local| local.streams[0].path.rtp).expect("it was told");
        let socket = self.open.0.iter().find(|(_, address)| **address == to).map(|(id, _)| *id).expect("it is open");
        let mut buffer = [0; 512];
        buffer[..12].copy_from_slice(&header);
        let from = from.parse().expect("an address");
        let datagram = relay::Datagram { arrived_on: socket, from, buffer: &mut buffer, length: 172 };
        let mut forwards = Vec::new();
        self.relay.handle_batch([(0, datagram)], self.now, &mut forwards);
        forwards.first().map(|(_, forward)| buffer[forward.bytes.clone()].to_vec())
    }

    fn offer(&mut self, more: &[(&'static str, &'static str)]) -> Dictionary<'static> {
        self.ask(&request("offer", OFFER, &[&[("from-tag", "alice")], more].concat()))
    }

    fn answer(&mut self, more: &[(&'static str, &'static str)]) -> Dictionary<'static> {
        self.ask(&request("answer", ANSWER, &[&[("from-tag", "alice"), ("to-tag", "bob")], more].concat()))
    }

    fn delete(&mut self, more: &[(&'static str, &'static str)]) -> Dictionary<'static> {
        let named = more.iter().fold(Dictionary::new(), |all, (name, value)| all.with(name, *value));
        self.ask(&named.with("command", "delete").with("call-id", "c"))
    }
}

fn request(command: &'static str, sdp: &'static str, more: &[(&'static str, &'static str)]) -> Dictionary<'static> {
    let named = more.iter().fold(Dictionary::new(), |all, (name, value)| all.with(name, *value));
    named.with("command", command).with("call-id", "c").with("sdp", sdp)
}

fn error(reply: &Dictionary<'_>) -> Option<String> {
    reply.text("error-reason").map(str::to_owned)
}

/// The port of the first m-line.
fn port(reply: &Dictionary<'_>) -> u16 {
    let sdp = reply.text("sdp").unwrap_or_else(|| panic!("{reply:?}"));
    let line = sdp.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("it has audio");
    line.split(' ').next().and_then(|port| port.parse().ok()).expect("it has a port")
}

#[test]
fn an_offer_and_its_answer_lead_through_the_relay_and_keep_what_is_not_the_relays() {
    let mut world = World::new();
    let offered = world.offer(&[]);
    let sdp = offered.text("sdp").expect("it was rewritten");
    assert!(sdp.contains("c=IN IP4 198.51.100.") && !sdp.contains("c=IN IP4 192.0.2.10"), "{sdp}");
    assert!(sdp.contains("a=x-session:kept\r\n") && sdp.contains("a=x-media:kept\r\n"), "{sdp}");
    assert!(sdp.contains(&format!("m=audio {} RTP/AVP 0 8 101\r\n", port(&offered))), "{sdp}");
    let codecs = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n";
    let end = format!("{codecs}a=x-media:kept\r\na=sendrecv\r\na=rtcp:{}\r\n", port(&offered) + 1);
    assert!(sdp.ends_with(&end), "{sdp}");
    let answered = world.answer(&[]);
    let sdp = answered.text("sdp").expect("it was rewritten");
    assert!(sdp.contains(&format!("m=audio {} RTP/AVP 8 101\r\n", port(&answered))), "{sdp}");
    assert!(!sdp.contains("c=IN IP4 192.0.2.20"), "{sdp}");
    assert_ne!(port(&offered), port(&answered));
    assert_eq!(world.open.0.len(), 4);
}

#[test]
fn the_same_again_is_answered_with_the_same() {
    let mut world = World::new();
    assert_eq!(world.offer(&[]), world.offer(&[]));
    assert_eq!(world.answer(&[]), world.answer(&[]));
    assert_eq!(world.open.0.len(), 4);
}

#[test]
fn another_tag_in_an_answer_is_another_name_of_the_answerer() {
    let mut world = World::new();
    world.offer(&[]);
    let early = world.answer(&[]);
    let other = request("answer", ANSWER, &[("from-tag", "alice"), ("to-tag", "carol")]);
    assert_eq!(port(&world.ask(&other)), port(&early));
    let asked = Dictionary::new().with("command", "query").with("call-id", "c").with("from-tag", "carol");
    let told = world.ask(&asked);
    let tags = told.get("tags").and_then(Value::dictionary).expect("it has tags");
    let bob = tags.get("bob").and_then(Value::dictionary).expect("the first tag stays");
    assert_eq!(bob.get("tag-aliases"), Some(&Value::from(vec!["carol"])));
    assert_eq!(tags.len(), 2);
}

#[test]
fn either_party_may_offer_anew_and_keeps_its_ports() {
    let mut world = World::new();
    let (to_bob, to_alice) = (port(&world.offer(&[])), port(&world.answer(&[])));
    let hold = "v=0\r\no=bob 2 2 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
        m=audio 5000 RTP/AVP 8\r\na=sendonly\r\n";
    let again = world.ask(&request("offer", hold, &[("from-tag", "bob"), ("to-tag", "alice")]));
    assert_eq!(port(&again), to_alice);
    assert!(again.text("sdp").is_some_and(|sdp| sdp.contains("a=sendonly\r\n")), "{again:?}");
    let answer = "v=0\r\no=alice 1 2 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 8\r\na=recvonly\r\n";
    let answered = world.ask(&request("answer", answer, &[("from-tag", "bob"), ("to-tag", "alice")]));
    assert_eq!(port(&answered), to_bob);
    assert_eq!(world.open.0.len(), 4);
}

#[test]
fn a_party_may_hold_a_call_by_naming_no_address() {
    let held = |sdp: &str| {
        sdp.replace("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0").replace("c=IN IP4 192.0.2.20", "c=IN IP4 0.0.0.0")
    };
    let offer = |world: &mut World, sdp: String| {
        let offer = request("offer", "", &[("from-tag", "alice")]);
        world.ask(&offer.with("sdp", sdp))
    };
    let answer = |world: &mut World, sdp: String| {
        let answer = request("answer", "", &[("from-tag", "alice"), ("to-tag", "bob")]);
        world.ask(&answer.with("sdp", sdp))
    };
    let mut world = World::new();
    for (offered, answered) in [(held(OFFER), ANSWER.to_owned()), (OFFER.to_owned(), held(ANSWER))] {
        for reply in [offer(&mut world, offered), answer(&mut world, answered)] {
            assert_eq!(error(&reply), None, "{reply:?}");
        }
    }
}

#[test]
fn by_ice_a_party_is_told_the_addresses_of_one_interface_which_stays_the_same() {
    let candidates = |reply: &Dictionary<'_>| -> Vec<String> {
        let lines = reply.text("sdp").expect("it was rewritten").lines();
        let udp = lines.filter_map(|line| line.strip_prefix("a=candidate:")?.split(' ').nth(4).map(str::to_owned));
        let mut all: Vec<_> = udp.collect();
        all.dedup();
        all
    };
    let mut world = World::new();
    assert_eq!(candidates(&world.offer(&[("ICE", "force")])), ["198.51.100.1"]);
    let mut world = World::new();
    assert!(candidates(&world.offer(&[("to-interface", "external")])).is_empty());
    // Another way to the party, for which a new leg is made.
    assert_eq!(candidates(&world.offer(&[("ICE", "force")])), ["198.51.100.2"]);
}

#[test]
fn branches_of_a_forked_offer_have_ports_of_their_own_and_end_by_themselves() {
    let mut world = World::new();
    let first = world.offer(&[("via-branch", "1")]);
    let second = world.offer(&[("via-branch", "2")]);
    assert_ne!(port(&first), port(&second));
    let bob = world.answer(&[("via-branch", "1")]);
    let carol =
        world.ask(&request("answer", ANSWER, &[("from-tag", "alice"), ("to-tag", "carol"), ("via-branch", "2")]));
    assert_ne!(port(&bob), port(&carol));
    assert_eq!(world.open.0.len(), 8);
    assert_eq!(error(&world.delete(&[("from-tag", "alice"), ("via-branch", "1")])), None);
    assert_eq!(world.open.0.len(), 4);
    world.delete(&[("delete-delay", "0")]);
    assert!(world.open.0.is_empty() && world.calls.is_empty());
}

#[test]
fn a_deleted_call_can_be_revived_until_it_is_over() {
    let mut world = World::new();
    world.offer(&[]);
    world.answer(&[]);
    let told = world.delete(&[]);
    assert!(told.get("totals").is_some() && world.calls.poll_timeout().is_some());
    world.offer(&[("to-tag", "bob")]);
    assert_eq!(world.calls.poll_timeout(), None);
    world.delete(&[]);
    world.now += Duration::from_secs(31);
    world.calls.handle_timeout(world.now);
    world.work();
    assert!(world.open.0.is_empty() && world.calls.is_empty());
    let told = world.ask(&Dictionary::new().with("command", "statistics"));
    let total = told.get("statistics").and_then(Value::dictionary).and_then(|all| all.get("totalstatistics"));
    let total = total.and_then(Value::dictionary).expect("it is told");
    for (name, wanted) in [("managedsessions", 1), ("regularterminatedsessions", 1), ("rejectedsessions", 0)] {
        assert_eq!(total.get(name), Some(&Value::Integer(wanted)), "{name}");
    }
    let warning = "Call-ID not found or tags didn't match";
    assert_eq!(world.delete(&[]).text("warning"), Some(warning));
    assert_eq!(error(&world.delete(&[("flags", "fatal")])).as_deref(), Some(warning));
}

#[test]
fn a_call_has_so_many_parties_at_most_and_those_it_has_go_on() {
    let mut world = World::with(100, 30_000..=39_999);
    let branches: Vec<String> = (0..70).map(|number| format!("z9hG4bK{number}")).collect();
    let offer = |branch: &str| {
        request("offer", OFFER, &[("from-tag", "alice")]).with("via-branch", branch.to_owned()).into_owned()
    };
    let refused: Vec<_> = branches.iter().filter_map(|branch| error(&world.ask(&offer(branch)))).collect();
    assert_eq!(refused, vec!["Too many parties in one call"; 7]);
    assert_eq!(error(&world.ask(&offer(&branches[0]))), None, "it is known");
}

#[test]
fn an_offer_that_is_refused_does_not_revive_a_call_that_was_deleted() {
    let mut world = World::new();
    world.offer(&[]);
    world.answer(&[]);
    world.delete(&[]);
    let to_itself = world.offer(&[("to-tag", "alice")]);
    assert_eq!(error(&to_itself).as_deref(), Some("Invalid dialogue association"));
    world.now += Duration::from_secs(31);
    world.calls.handle_timeout(world.now);
    world.work();
    assert!(world.calls.is_empty() && world.open.0.is_empty());
}

#[test]
fn what_makes_no_sense_is_refused_in_words_that_others_know() {
    let mut world = World::new();
    assert_eq!(error(&world.answer(&[])).as_deref(), Some("Unknown call-id"));
    assert_eq!(error(&world.offer(&[("to-tag", "alice")])).as_deref(), Some("Invalid dialogue association"));
    let broken = request("offer", "v=1\r\n", &[("from-tag", "alice")]);
    assert_eq!(error(&world.ask(&broken)).as_deref(), Some("Failed to parse SDP"));
    assert!(world.calls.is_empty(), "nothing is kept of what was refused");
    let unknown = Dictionary::new().with("command", "query").with("call-id", "nobody's");
    assert_eq!(error(&world.ask(&unknown)).as_deref(), Some("Unknown call-id"));
}

#[test]
fn a_relay_that_is_full_says_so_and_keeps_nothing() {
    let mut world = World::with(1, 30_000..=30_001);
    assert_eq!(error(&world.offer(&[])), None);
    let more = |supports: &'static str| {
        request("offer", OFFER, &[("from-tag", "x"), ("supports", supports)]).with("call-id", "another")
    };
    assert_eq!(error(&world.ask(&more(""))).as_deref(), Some("Parallel session limit reached"));
    let limited = world.ask(&more("load limit"));
    assert_eq!(
        (limited.text("result"), limited.text("message")),
        (Some("load limit"), Some("Parallel session limit reached"))
    );
    // The ports for the answer are not to be had.
    assert_eq!(error(&world.answer(&[])).as_deref(), Some("Ran out of ports"));
    assert!(world.open.0.is_empty() && world.calls.is_empty(), "the call goes");
}

#[test]
fn a_relay_that_is_to_stop_takes_no_new_call_and_keeps_those_it_has() {
    let mut world = World::new();
    assert_eq!(error(&world.offer(&[])), None);
    world.calls.refuse_new();
    let another = request("offer", OFFER, &[("from-tag", "x")]).with("call-id", "another");
    assert_eq!(error(&world.ask(&another)).as_deref(), Some("Parallel session limit reached"));
    assert_eq!(error(&world.answer(&[])), None);
    assert_eq!(error(&world.offer(&[("to-tag", "bob")])), None);
}

#[test]
fn requests_about_a_call_are_carried_out_one_after_the_other() {
    let mut world = World::new();
    let requests = [
        request("offer", OFFER, &[("from-tag", "alice")]),
        request("answer", ANSWER, &[("from-tag", "alice"), ("to-tag", "bob")]),
    ];
    for (ticket, asked) in (1..).zip(&requests) {
        let asked = Request::read(asked).expect("it is a request");
        world.calls.handle_request(Ticket(ticket), asked, world.now);
    }
    world.work();
    let replies: Vec<_> = std::iter::from_fn(|| world.calls.poll_reply()).collect();
    assert_eq!(replies.iter().map(|(ticket, _)| ticket.0).collect::<Vec<_>>(), [1, 2]);
    assert!(replies.iter().all(|(_, reply)| reply.text("result") == Some("ok")), "{replies:?}");
}

#[test]
fn a_request_that_contradicts_itself_is_carried_out_and_warned_of() {
    let mut world = World::new();
    let contradiction =
        request("offer", OFFER, &[("from-tag", "alice"), ("ICE", "remove"), ("rtpp-flags", "trickle-ICE")]);
    let offered = world.ask(&contradiction);
    assert!(offered.text("sdp").is_some() && offered.text("warning").is_some(), "{offered:?}");
    assert_eq!(world.answer(&[]).text("warning"), None);
}

#[test]
fn media_is_held_back_and_keys_are_pressed_for_the_party_that_is_named() {
    let mut world = World::new();
    world.offer(&[("from-label", "caller")]);
    world.answer(&[]);
    for command in ["block media", "unblock media"] {
        for more in [
            named(command),
            named(command).with("from-tag", "bob").with("flags", "directional"),
            named(command).with("label", "caller"),
        ] {
            assert_eq!(error(&world.ask(&more)), None, "{more:?}");
        }
    }
    assert_eq!(error(&world.ask(&named("play DTMF").with("code", "5").with("from-tag", "alice"))), None);
    let nobody = named("block media").with("label", "nobody");
    assert_eq!(error(&world.ask(&nobody)).as_deref(), Some("No monologue matching the given label"));
    let nobody = named("play DTMF").with("code", "5").with("from-tag", "nobody");
    assert_eq!(error(&world.ask(&nobody)).as_deref(), Some("From-tag given, but no such tag exists"));
}

#[test]
fn what_is_blocked_of_the_call_and_of_a_party_is_let_go_by_itself() {
    let mut world = World::new();
    world.offer(&[]);
    world.answer(&[("flags", "block-DTMF")]);
    let bob = |command| named(command).with("from-tag", "bob").with("flags", "directional");
    let mute = |leg, sound, key_presses| Command::Mute {
        call: CallId::from(1),
        leg: LegId(leg),
        mute: model::Mute { sound, key_presses },
    };
    let hold = |leg, direction| Command::Hold { call: CallId::from(1), leg: LegId(leg), direction };
    for (request, commands) in [
        (named("silence media"), vec![mute(0, true, false), mute(1, true, true)]),
        (named("silence media"), vec![]),
        (bob("unblock DTMF"), vec![mute(1, true, false)]),
        (bob("block media"), vec![hold(1, Direction::SendOnly)]),
        (named("block media"), vec![hold(0, Direction::SendOnly)]),
        (named("unblock media"), vec![hold(0, Direction::SendRecv)]),
        (named("unblock media").with("all", "all"), vec![hold(1, Direction::SendRecv)]),
        (named("unsilence media"), vec![mute(0, false, false), mute(1, false, false)]),
    ] {
        world.tickets += 1;
        let read = Request::read(&request).expect("it is a request");
        world.calls.handle_request(Ticket(world.tickets), read, world.now);
        let asked: Vec<Command> = world.calls.commands.iter().map(|request| request.command.clone()).collect();
        assert_eq!(asked, commands, "{request:?}");
        world.work();
        assert_eq!(world.calls.poll_reply().map(|(_, reply)| error(&reply)), Some(None));
    }
}

#[test]
fn what_is_silenced_is_heard_as_silence_and_keys_that_are_blocked_not_at_all() {
    let mut world = World::new();
    world.offer(&[]);
    world.answer(&[]);
    let mut number = 0;
    let mut heard = |world: &mut World, payload_type| {
        number += 1;
        world.send("192.0.2.10:4000", payload_type, number)
    };
    let sound = Some(vec![0; 160]);
    assert_eq!([heard(&mut world, 8), heard(&mut world, 101)], [sound.clone(), sound.clone()]);
    world.ask(&named("silence media"));
    assert_eq!([heard(&mut world, 8), heard(&mut world, 101)], [Some(vec![0xD5; 160]), sound.clone()]);
    world.ask(&named("unsilence media"));
    world.ask(&named("block DTMF"));
    assert_eq!([heard(&mut world, 8), heard(&mut world, 101)], [sound.clone(), None]);
    world.ask(&named("unblock DTMF"));
    assert_eq!([heard(&mut world, 8), heard(&mut world, 101)], [sound.clone(), sound]);
}

#[test]
fn media_of_a_party_may_come_from_where_its_last_message_came_from() {
    let mut world = World::new();
    let mut number = 0;
    let mut heard = |world: &mut World| {
        number += 1;
        [(0, "203.0.113.4:4000"), (0, "203.0.113.5:4000"), (1, "203.0.113.5:5000"), (1, "203.0.113.6:5000")]
            .map(|(leg, from)| world.send_to(leg, from, 8, number).is_some())
    };
    world.offer(&[("rtpp-flags", "endpoint-learning=off received-from=203.0.113.4")]);
    world.answer(&[("received-from", "203.0.113.5")]);
    assert_eq!(heard(&mut world), [true, false, true, false]);
    world.offer(&[("rtpp-flags", "endpoint-learning=off received-from=203.0.113.5"), ("to-tag", "bob")]);
    world.answer(&[("received-from", "203.0.113.6")]);
    assert_eq!(heard(&mut world), [false, true, false, true]);
}

#[test]
fn a_party_that_is_to_be_heard_first_is_sent_nothing_before() {
    for learning in ["off", "immediate", "delayed", "heuristic"] {
        let mut world = World::new();
        let flags = format!("NAT-wait endpoint-learning={learning}");
        world.ask(&request("offer", OFFER, &[("from-tag", "alice")]).with("rtpp-flags", flags));
        world.answer(&[]);
        let from_bob = |world: &mut World, number| world.send_to(1, "192.0.2.20:5000", 8, number).is_some();
        assert!(!from_bob(&mut world, 1), "{learning}");
        assert!(world.send("192.0.2.10:4000", 8, 2).is_some(), "who is to be heard is not to wait itself");
        assert!(from_bob(&mut world, 3), "{learning}");
        // What was heard stays so when the same address is named again.
        world.offer(&[("rtpp-flags", "NAT-wait"), ("to-tag", "bob")]);
        world.answer(&[]);
        assert!(from_bob(&mut world, 4), "{learning}");
    }
}

#[test]
fn the_way_from_a_party_is_pierced_until_it_is_heard() {
    let mut world = World::new();
    let pierced = |world: &mut World, seconds| {
        world.now += Duration::from_secs(seconds);
        world.relay.handle_timeout(world.now);
        let empty = std::iter::from_fn(|| world.relay.poll_transmit()).filter(|sent| sent.bytes.is_empty());
        let mut to: Vec<String> = empty.map(|sent| sent.to.to_string()).collect();
        to.sort();
        to
    };
    world.offer(&[]);
    world.answer(&[("flags", "pierce-NAT")]);
    let both = ["192.0.2.20:5000", "192.0.2.20:5001"];
    assert_eq!(pierced(&mut world, 0), both);
    assert_eq!(pierced(&mut world, 0), Vec::<String>::new());
    assert_eq!(pierced(&mut world, 1), both);
    assert!(world.send_to(1, "192.0.2.20:5000", 8, 1).is_some());
    assert_eq!(pierced(&mut world, 1), both[1..], "RTCP was not heard");
}

#[test]
fn a_party_that_declines_ice_is_learnt_like_one_that_was_offered_none() {
    for (learning, is_heard) in [("immediate", true), ("off", false)] {
        let mut world = World::new();
        let flags = format!("ICE=force endpoint-learning={learning}");
        world.ask(&request("offer", OFFER, &[("from-tag", "alice")]).with("rtpp-flags", flags));
        world.answer(&[]);
        assert_eq!(world.send_to(1, "203.0.113.9:777", 8, 1).is_some(), is_heard, "{learning}");
    }
}

#[test]
fn media_is_dropped_for_as_long_as_an_offer_or_answer_says() {
    let mut world = World::new();
    let mut number = 0;
    let mut is_heard = |world: &mut World| {
        number += 1;
        world.send("192.0.2.10:4000", 8, number).is_some()
    };
    world.offer(&[("drop-traffic", "start")]);
    world.answer(&[]);
    assert!(!is_heard(&mut world));
    world.offer(&[("to-tag", "bob")]);
    world.answer(&[("drop-traffic", "stop")]);
    assert!(is_heard(&mut world));
}

#[test]
fn an_unknown_tag_is_another_name_of_who_said_the_same_where_that_is_asked_for() {
    for (key, is_alias) in [("off", false), ("SDP", true), ("address", true)] {
        let mut world = World::new();
        world.offer(&[]);
        world.ask(&request("offer", OFFER, &[("from-tag", "alice-again"), ("alias key", key)]));
        let told = world.ask(&named("query"));
        let tags = told.get("tags").and_then(Value::dictionary).expect("it has tags");
        let aliases = at(&told, "tags/alice/tag-aliases/0").and_then(Value::text);
        assert_eq!((aliases, tags.len()), if is_alias { (Some("alice-again"), 2) } else { (None, 4) }, "{key}");
    }
}

fn named(command: &'static str) -> Dictionary<'static> {
    Dictionary::new().with("command", command).with("call-id", "c")
}

#[test]
fn what_a_call_took_in_is_told_by_party() {
    let mut world = World::new();
    world.offer(&[]);
    world.answer(&[]);
    let told = world.ask(&Dictionary::new().with("command", "query").with("call-id", "c"));
    let totals = told.get("totals").and_then(Value::dictionary).and_then(|totals| totals.get("RTP"));
    assert_eq!(totals.and_then(Value::dictionary).and_then(|rtp| rtp.get("packets")), Some(&Value::Integer(0)));
    let tags = told.get("tags").and_then(Value::dictionary).expect("it has tags");
    let alice = tags.get("alice").and_then(Value::dictionary).expect("it names her");
    assert_eq!(alice.text("in dialogue with"), Some("bob"));
    let medias = alice.get("medias").map(Value::members).unwrap_or_default();
    let media = medias.first().and_then(Value::dictionary).expect("she has sound");
    assert_eq!((media.text("type"), media.text("protocol")), (Some("audio"), Some("RTP/AVP")));
    let stream = media.get("streams").map(Value::members).and_then(|streams| streams.first()?.dictionary());
    let endpoint = stream.and_then(|stream| stream.get("endpoint")).and_then(Value::dictionary);
    assert_eq!(endpoint.and_then(|endpoint| endpoint.text("address")), Some("192.0.2.10"));
    let list = world.ask(&Dictionary::new().with("command", "list"));
    assert_eq!(list.get("calls"), Some(&Value::from(vec!["c"])));
}

#[test]
fn who_was_heard_is_told_by_ssrc() {
    let mut world = World::new();
    world.offer(&[]);
    world.answer(&[]);
    world.speak("192.0.2.10:4000", 3);
    world.now += Duration::from_secs(7);
    let told = world.ask(&Dictionary::new().with("command", "query").with("call-id", "c"));
    let number = |path| at(&told, path).and_then(Value::integer);
    assert_eq!(number("totals/RTP/packets"), Some(1));
    assert_eq!(number("tags/alice/medias/0/ingress SSRCs/0/SSRC"), Some(0x0102_0304));
    assert_eq!(number("tags/alice/medias/0/streams/0/SSRC"), Some(0x0102_0304));
    assert_eq!((number("SSRC/16909060/packets"), number("SSRC/16909060/last RTP seq")), (Some(1), Some(3)));
    assert_eq!(number("tags/alice/medias/0/streams/0/last packet"), Some(1_000_000));
    assert_eq!(number("tags/bob/medias/0/streams/0/last packet"), Some(0));
    let sent = number("tags/bob/medias/0/egress SSRCs/0/SSRC");
    assert_eq!(sent, Some(0x0102_0304), "it bears the number that its sender may have told him of");
    assert_eq!(at(&told, "tags/bob/medias/0/streams/1/flags/0").and_then(Value::text), Some("RTCP"));
}

#[test]
fn packets_pass_as_their_senders_number_them_and_speak_of_them() {
    let mut world = World::new();
    let sources = "a=ssrc:16909060 cname:alice\r\na=ssrc-group:FID 16909060 5\r\n";
    let offer = format!("{OFFER}{sources}");
    let told = world.ask(&request("offer", &offer.leak()[..], &[("from-tag", "alice")]));
    assert!(told.text("sdp").is_some_and(|sdp| sdp.contains(sources)), "{told:?}");
    world.answer(&[]);
    // The first, one after a rollover, one before it, one of another source.
    let (alice, bob) = ("192.0.2.10:4000", "192.0.2.20:5000");
    for (leg, from, header) in [
        (0, alice, [0x80, 8, 0xFF, 0xFF, 9, 9, 9, 9, 1, 2, 3, 4]),
        (0, alice, [0x80, 8, 0, 0, 9, 9, 9, 169, 1, 2, 3, 4]),
        (0, alice, [0x80, 0x88, 0, 2, 9, 9, 11, 9, 1, 2, 3, 4]),
        (0, alice, [0x80, 8, 0, 1, 9, 9, 10, 89, 1, 2, 3, 4]),
        (1, bob, [0x80, 8, 0x12, 0x34, 0, 0, 0, 1, 1, 2, 3, 4]),
    ] {
        let packet = world.forwarded(leg, from, header).expect("it passes");
        assert_eq!((&packet[..12], packet.len()), (&header[..], 172), "{header:?}");
    }
}

/// What stands at a place in a reply; members of lists go by their numbers.
fn at<'a>(reply: &'a Dictionary<'a>, path: &str) -> Option<&'a Value<'a>> {
    let (first, rest) = path.split_once('/')?;
    let first = reply.get(first)?;
    rest.split('/').try_fold(first, |value, part| match value.dictionary() {
        Some(dictionary) => dictionary.get(part),
        None => value.members().get(part.parse::<usize>().ok()?),
    })
}

#[test]
fn keys_and_profile_towards_the_receiver_are_as_wished_and_towards_the_sender_as_offered() {
    let mut world = World::new();
    let offered = world.offer(&[("rtpp-flags", "transport-protocol=RTP/SAVP ICE=force rtcp-mux=[offer]")]);
    let sdp = offered.text("sdp").expect("it was rewritten");
    for part in [" RTP/SAVP 0 8 101\r\n", "a=crypto:", "a=ice-ufrag:", "a=candidate:", "a=rtcp-mux\r\n"] {
        assert!(sdp.contains(part), "{part}: {sdp}");
    }
    let suite = "AES_CM_128_HMAC_SHA1_80";
    let line = sdp.lines().find(|line| line.contains(suite)).expect("it is offered");
    let (tag, _) = line.split_once(' ').expect("it has a key");
    let key = format!("{tag} {suite} inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n");
    let answer = ANSWER.replace("RTP/AVP", "RTP/SAVP") + &key;
    let asked = Dictionary::new().with("command", "answer").with("call-id", "c").with("from-tag", "alice");
    let answered = world.ask(&asked.with("to-tag", "bob").with("sdp", answer.as_str()));
    let sdp = answered.text("sdp").unwrap_or_else(|| panic!("{answered:?}"));
    assert!(sdp.contains(" RTP/AVP 8 101\r\n") && !sdp.contains("crypto") && !sdp.contains("ice-"), "{sdp}");
}

#[test]
fn candidates_trickle_to_the_party_that_is_reached_by_ice() {
    let mut world = World::new();
    let offer = OFFER.to_owned()
        + "a=mid:sound\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=ice-options:trickle\r\n";
    let asked = |sdp: &str| {
        let asked = Dictionary::new().with("command", "offer").with("call-id", "c").with("from-tag", "alice");
        asked.with("sdp", sdp).into_owned()
    };
    let fragment = |ufrag: &str| {
        let candidate = "a=candidate:1 1 UDP 2130706431 192.0.2.10 4000 typ host\r\n";
        asked(&format!(
            "a=ice-ufrag:{ufrag}\r\nm=audio 9 RTP/AVP 0\r\na=mid:sound\r\n{candidate}a=end-of-candidates\r\n"
        ))
        .with("flags", "fragment")
    };
    assert_eq!(error(&world.ask(&fragment("abcd"))).as_deref(), Some("Unknown call-id"));
    assert_eq!(error(&world.ask(&asked(&offer))), None);
    assert_eq!(error(&world.answer(&[])), None);
    assert!(world.relay.poll_transmit().is_none());
    let added = world.ask(&fragment("abcd"));
    assert_eq!((error(&added), added.get("sdp")), (None, None));
    world.relay.handle_timeout(world.now + Duration::from_secs(1));
    let check = world.relay.poll_transmit().expect("it is checked");
    assert_eq!(check.to, "192.0.2.10:4000".parse().expect("an address"));
}

#[test]
fn an_offer_that_nobody_answers_ends_and_with_it_the_call_that_has_no_other() {
    let later = |world: &mut World, seconds| {
        world.now += Duration::from_secs(seconds);
        world.calls.handle_timeout(world.now);
        world.work();
    };
    let mut world = World::new();
    world.offer(&[("via-branch", "1")]);
    world.offer(&[("via-branch", "2")]);
    world.answer(&[("via-branch", "2")]);
    later(&mut world, 1800);
    assert_eq!(world.calls.counts.unanswered, 0);
    let open = world.open.0.len();
    later(&mut world, 1801);
    assert_eq!((world.calls.len(), world.calls.counts.unanswered), (1, 1));
    assert!(!world.open.0.is_empty() && world.open.0.len() < open, "the branch that was answered goes on");
    world.delete(&[("delete-delay", "0")]);
    // An offer that is made again is waited for anew.
    world.offer(&[]);
    later(&mut world, 1800);
    world.offer(&[("ICE", "force")]);
    later(&mut world, 1801);
    assert_eq!(world.calls.len(), 1);
    later(&mut world, 1800);
    assert_eq!((world.calls.len(), world.open.0.len(), world.calls.counts.unanswered), (0, 0, 2));
    // What is over is not waited for.
    world.offer(&[]);
    world.delete(&[("delete-delay", "0")]);
    assert_eq!(world.calls.poll_timeout(), None);
}

#[test]
fn a_call_in_which_nobody_speaks_ends_and_one_in_which_somebody_does_goes_on() {
    for somebody_speaks in [false, true] {
        let mut world = World::new();
        world.offer(&[]);
        world.answer(&[]);
        for number in 0..80_u8 {
            world.now += Duration::from_secs(1);
            world.relay.handle_timeout(world.now);
            if somebody_speaks {
                world.speak("192.0.2.10:4000", number);
            }
            world.work();
            world.work();
        }
        assert_eq!((world.calls.is_empty(), world.open.0.is_empty()), (!somebody_speaks, !somebody_speaks));
    }
}
