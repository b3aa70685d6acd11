//! What the other party is told, line by line.

use super::*;

/// An SDP of one phone, given from its `m=` lines on.
fn phone(address: &str, media: &str) -> String {
    format!("v=0\no=- 1 1 IN IP4 {address}\ns=-\nc=IN IP4 {address}\nt=0 0\n{media}").replace('\n', "\r\n")
}

/// A request about the call between `a` and `b`, with wishes in one string.
fn ask(world: &mut World, command: &'static str, wishes: &'static str, sdp: String) -> String {
    let request = Dictionary::new().with("command", command).with("call-id", "c").with("from-tag", "a");
    let request = if command == "answer" { request.with("to-tag", "b") } else { request };
    let reply = world.ask(&request.with("rtpp-flags", wishes).with("sdp", sdp));
    let sdp = reply.text("sdp").unwrap_or_else(|| panic!("{reply:?}"));
    assert_eq!(sdp.matches('\n').count(), sdp.matches("\r\n").count());
    sdp.lines().skip_while(|line| !line.starts_with("m=")).map(|line| format!("{}\n", masked(line))).collect()
}

/// What an offer becomes.
fn offered(world: &mut World, wishes: &'static str, media: &str) -> String {
    ask(world, "offer", wishes, phone("192.0.2.10", media))
}

/// A line, with a word in the place of what the relay draws.
fn masked(line: &str) -> String {
    let drawn = |name: &str| line.starts_with(name).then(|| format!("{name}{}", line.len() - name.len()));
    let mut words: Vec<&str> = line.split(' ').collect();
    match line.split([':', '=']).nth(usize::from(line.starts_with("a="))).unwrap_or_default() {
        "m" if words[1] != "0" => words[1] = "PORT",
        "candidate" => words[5] = "PORT",
        "rtcp" => return "a=rtcp:PORT".to_owned(),
        _ => {}
    }
    drawn("a=ice-ufrag:").or_else(|| drawn("a=ice-pwd:")).unwrap_or_else(|| words.join(" "))
}

#[test]
fn a_party_that_holds_by_having_no_address_may_still_send() {
    let held = |wishes, offer: &str, answer: &str| {
        let mut world = World::new();
        [("offer", offer), ("answer", answer)]
            .map(|(command, media)| ask(&mut world, command, wishes, phone("0.0.0.0", media)))
    };
    let told = |address, direction| {
        format!("m=audio PORT RTP/AVP 8\nc=IN IP4 {address}\na=rtpmap:8 PCMA/8000\na={direction}\na=rtcp:PORT\n")
    };
    let [offer, answer] = ["m=audio 3000 RTP/AVP 8\na=sendrecv\n", "m=audio 3000 RTP/AVP 8\na=recvonly\n"];
    assert_eq!(held("", offer, answer), [told("0.0.0.0", "sendonly"), told("0.0.0.0", "inactive")]);
    assert_eq!(held("original-sendrecv", offer, answer), [told("0.0.0.0", "sendrecv"), told("0.0.0.0", "recvonly")]);
    let ours = held("replace=[zero-address]", offer, answer);
    assert!(ours[0].contains("c=IN IP4 198.51.100.") && ours[0].contains("a=sendonly\n"), "{ours:?}");
}

#[test]
fn ice_is_spelt_as_clients_of_rtpengine_know_it() {
    let mut world = World::new();
    let told =
        offered(&mut world, "ICE=force rtcp-mux=[offer] direction=[internal external]", "m=audio 3000 RTP/AVP 8\n");
    assert_eq!(
        told,
        "m=audio PORT RTP/AVP 8
c=IN IP4 198.51.100.2
a=rtpmap:8 PCMA/8000
a=sendrecv
a=rtcp:PORT
a=rtcp-mux
a=ice-ufrag:8
a=ice-pwd:26
a=candidate:0000000000000001 1 UDP 2130706431 198.51.100.2 PORT typ host
a=candidate:0000000000000001 2 UDP 2130706430 198.51.100.2 PORT typ host
"
    );
    let told = offered(&mut World::new(), "ICE=force trickle-ICE", "m=audio 3000 RTP/AVP 8\n");
    assert!(told.contains("\na=ice-pwd:26\na=ice-options:trickle\na=candidate:"), "{told}");
    assert!(told.ends_with("typ host\na=end-of-candidates\n"), "{told}");
}
