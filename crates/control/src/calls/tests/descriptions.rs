//! What the other party is told, line by line.

use super::*;

/// A relay with an address of each family.
fn both_families() -> World {
    let address = |bind: &str| Address { name: None, bind: bind.parse().expect("an address"), advertise: None };
    World::on(vec![address("198.51.100.1"), address("2001:db8::1")], 100, 30_000..=30_099)
}

/// An SDP of one phone, given from its `m=` lines on.
fn phone(address: &str, media: &str) -> String {
    let family = if address.contains(':') { "IP6" } else { "IP4" };
    format!("v=0\no=- 1 1 IN {family} {address}\ns=-\nc=IN {family} {address}\nt=0 0\n{media}").replace('\n', "\r\n")
}

/// What a request about the call between `a` and `b` is replied, with wishes in one string.
fn replied(world: &mut World, command: &'static str, wishes: &'static str, sdp: String) -> String {
    let request = Dictionary::new().with("command", command).with("call-id", "c").with("from-tag", "a");
    let request = if command == "answer" { request.with("to-tag", "b") } else { request };
    let reply = world.ask(&request.with("rtpp-flags", wishes).with("sdp", sdp));
    let sdp = reply.text("sdp").unwrap_or_else(|| panic!("{reply:?}"));
    assert_eq!(sdp.matches('\n').count(), sdp.matches("\r\n").count());
    sdp.to_owned()
}

/// The same from the first m-line on.
fn ask(world: &mut World, command: &'static str, wishes: &'static str, sdp: String) -> String {
    let sdp = replied(world, command, wishes, sdp);
    sdp.lines().skip_while(|line| !line.starts_with("m=")).map(|line| format!("{}\n", masked(line))).collect()
}

/// What an offer becomes.
fn offered(world: &mut World, wishes: &'static str, media: &str) -> String {
    ask(world, "offer", wishes, phone("192.0.2.10", media))
}

/// What an answer becomes.
fn answered(world: &mut World, wishes: &'static str, media: &str) -> String {
    ask(world, "answer", wishes, phone("192.0.2.20", media))
}

/// A line, with a word in the place of what the relay draws.
fn masked(line: &str) -> String {
    let drawn = |name: &str| line.starts_with(name).then(|| format!("{name}{}", line.len() - name.len()));
    if let Some((start, key)) = line.split_once("inline:") {
        return format!("{start}inline:{}", key.len());
    }
    let mut words: Vec<&str> = line.split(' ').collect();
    match line.split([':', '=']).nth(usize::from(line.starts_with("a="))).unwrap_or_default() {
        "m" if words[1] != "0" => words[1] = "PORT",
        "candidate" => words[5] = "PORT",
        "rtcp" => return "a=rtcp:PORT".to_owned(),
        _ => {}
    }
    let secrets = ["a=ice-ufrag:", "a=ice-pwd:", "a=tls-id:", "a=fingerprint:sha-256 ", "a=fingerprint:sha-1 "];
    secrets.iter().find_map(|name| drawn(name)).unwrap_or_else(|| words.join(" "))
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

#[test]
fn the_receiver_is_told_an_address_of_the_family_that_is_asked_for_or_of_the_senders() {
    let connection = |wishes, address: &str, ice: &str| {
        let media = format!("m=audio 3000 RTP/AVP 8\n{ice}");
        let told = ask(&mut both_families(), "offer", wishes, phone(address, &media));
        let of_interest = |line: &&str| line.starts_with("c=") || line.starts_with("a=candidate");
        told.lines().filter(of_interest).map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(connection("", "192.0.2.10", ""), "c=IN IP4 198.51.100.1");
    assert_eq!(connection("", "2001:db8::9", ""), "c=IN IP6 2001:db8::1");
    assert_eq!(connection("address-family=IP6", "192.0.2.10", ""), "c=IN IP6 2001:db8::1");
    assert_eq!(connection("address-family=IP6", "0.0.0.0", ""), "c=IN IP6 ::");
    assert_eq!(connection("", "::", ""), "c=IN IP6 ::");
    let ice = "a=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\na=ice-options:trickle\na=rtcp-mux\n";
    assert_eq!(
        connection("rtcp-mux=[require]", "::", ice),
        "c=IN IP6 2001:db8::1
a=candidate:0000000000000001 1 UDP 2130706431 2001:db8::1 PORT typ host
a=candidate:0000000000000002 1 UDP 2130706175 198.51.100.1 PORT typ host"
    );
}

#[test]
fn keys_and_a_fingerprint_are_offered_together_and_the_answer_chooses() {
    let keys = "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n";
    let dtls = format!("a=setup:active\na=fingerprint:sha-256 {}\n", ["AB"; 32].join(":"));
    let start = "m=audio PORT RTP/SAVP 0
c=IN IP4 198.51.100.1
a=rtpmap:0 PCMU/8000
a=sendrecv
a=rtcp:PORT
";
    for (answer, chosen) in [(keys, "a=crypto"), (&dtls, "a=setup")] {
        let mut world = both_families();
        assert_eq!(
            offered(&mut world, "transport-protocol=RTP/SAVP", "m=audio 3000 RTP/AVP 0\n"),
            format!(
                "{start}a=crypto:1 AEAD_AES_256_GCM inline:59
a=crypto:2 AEAD_AES_128_GCM inline:38
a=crypto:3 AES_256_CM_HMAC_SHA1_80 inline:62
a=crypto:4 AES_256_CM_HMAC_SHA1_32 inline:62
a=crypto:5 AES_192_CM_HMAC_SHA1_80 inline:51
a=crypto:6 AES_192_CM_HMAC_SHA1_32 inline:51
a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:40
a=crypto:8 AES_CM_128_HMAC_SHA1_32 inline:40
a=setup:actpass
a=fingerprint:sha-256 95
a=tls-id:32
"
            )
        );
        let told = answered(&mut world, "", &format!("m=audio 4000 RTP/SAVP 0\n{answer}"));
        assert_eq!(told, start.replace("SAVP", "AVP"));
        let again = offered(&mut world, "", "m=audio 3002 RTP/AVP 0\n");
        assert!(again.starts_with(start), "what was wished for once stays: {again}");
        let kinds = ["a=crypto", "a=setup"].map(|kind| again.contains(kind));
        assert_eq!(kinds, ["a=crypto", "a=setup"].map(|kind| kind == chosen), "{again}");
    }
    let alone = |wishes| offered(&mut both_families(), wishes, "m=audio 3000 RTP/AVP 0\n");
    assert!(!alone("RTP/SAVP SDES-off").contains("a=crypto") && !alone("RTP/SAVP DTLS=off").contains("a=setup"));
    assert!(!alone("RTP/SAVP no-tls-id").contains("a=tls-id"));
    assert!(alone("RTP/SAVP DTLS-fingerprint=SHA-1").contains("a=fingerprint:sha-1 59\n"));
}

#[test]
fn an_offer_with_a_fingerprint_is_answered_in_the_role_that_is_asked_for() {
    let dtls = format!("a=setup:actpass\na=fingerprint:sha-1 {}\n", ["AB"; 20].join(":"));
    for (wishes, setup) in [("RTP/AVP", "active"), ("RTP/AVP DTLS=passive", "passive")] {
        let mut world = World::new();
        offered(&mut world, wishes, &format!("m=audio 3000 RTP/SAVP 0\n{dtls}"));
        let told = answered(&mut world, "", "m=audio 4000 RTP/AVP 0\n");
        let end = format!("a=setup:{setup}\na=fingerprint:sha-1 59\na=tls-id:32\n");
        assert!(told.starts_with("m=audio PORT RTP/SAVP 0\n") && told.ends_with(&end), "{told}");
    }
}

#[test]
fn a_number_that_was_not_offered_is_not_answered_unless_that_is_allowed() {
    let answer = |offer, wishes, media: &str| {
        let mut world = World::new();
        offered(&mut world, offer, "m=audio 3000 RTP/AVP 8 0 101\na=rtpmap:101 telephone-event/8000\n");
        answered(&mut world, wishes, media).lines().next().map(str::to_owned).unwrap_or_default()
    };
    let renumbered = "m=audio 4000 RTP/AVP 8 97\na=rtpmap:97 telephone-event/8000\n";
    assert_eq!(answer("", "", renumbered), "m=audio PORT RTP/AVP 8");
    assert_eq!(answer("", "allow-asymmetric-codecs", renumbered), "m=audio PORT RTP/AVP 8 97");
    assert_eq!(answer("codec-accept-telephone-event", "", renumbered), "m=audio PORT RTP/AVP 8 101");
    let all = "m=audio 4000 RTP/AVP 98 97\na=rtpmap:98 PCMA/8000\na=rtpmap:97 telephone-event/8000\n";
    assert_eq!(answer("", "", all), "m=audio PORT RTP/AVP 8 101", "there would be nothing left");
}

#[test]
fn what_may_only_be_translated_is_not_offered_and_what_is_to_be_added_stays() {
    let told = |wishes| {
        let told = offered(&mut World::new(), wishes, "m=audio 3000 RTP/AVP 8 0 9 18\n");
        told.lines().next().map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(told("codec=[mask=[PCMA] consume=[G722]]"), "m=audio PORT RTP/AVP 0 18");
    assert_eq!(told("codec=[strip=[all] transcode=[G722]]"), "m=audio PORT RTP/AVP 9");
    assert_eq!(told("codec=[mask=[all] transcode=[opus]]"), "m=audio PORT RTP/AVP 8 0 9 18", "nothing is translated");
}

#[test]
fn packet_times_are_those_asked_for_or_the_parties_own() {
    let told = |wishes, ours: &str, theirs: &str| {
        let mut world = World::new();
        let of = |told: String| {
            told.lines()
                .find_map(|line| line.strip_prefix("a=ptime:"))
                .map(|ptime| ptime.parse::<u32>().expect("a time"))
        };
        let offer = offered(&mut world, wishes, &format!("m=audio 3000 RTP/AVP 0\n{ours}"));
        let answer = answered(&mut world, "", &format!("m=audio 4000 RTP/AVP 0\n{theirs}"));
        [of(offer), of(answer)]
    };
    assert_eq!(told("", "", ""), [None, None]);
    assert_eq!(told("", "a=ptime:20\n", "a=ptime:30\n"), [Some(20), Some(30)]);
    assert_eq!(told("", "a=ptime:20\n", ""), [Some(20), Some(20)]);
    assert_eq!(told("ptime=30", "a=ptime:50\n", "a=ptime:30\n"), [Some(30), Some(50)]);
    assert_eq!(told("ptime=30 ptime-reverse=40", "a=ptime:50\n", ""), [Some(30), Some(40)]);
}

#[test]
fn a_party_is_told_the_same_names_again_and_a_version_of_ours() {
    let said = |origin: &str, name: &str, port: u16| {
        let media = format!("t=0 0\r\nm=audio {port} RTP/AVP 8\r\n");
        format!("v=0\r\no={origin} IN IP4 192.0.2.10\r\ns={name}\r\nc=IN IP4 192.0.2.10\r\n{media}")
    };
    let all =
        [("alice 3 7", "one", 3000), ("bob 4 9", "two", 3000), ("bob 4 9", "two", 3002), ("bob 4 3", "two", 3002)];
    let told = |wishes| {
        let mut world = World::new();
        all.map(|(origin, name, port)| {
            let sdp = replied(&mut world, "offer", wishes, said(origin, name, port));
            let begin: Vec<_> = sdp.lines().skip(1).take(2).collect();
            begin.join(" ").replace("IN IP4 ", "").replace(['=', ':'], " ")
        })
    };
    let [a, b] = ["192.0.2.10", "198.51.100.1"];
    let line = |name: &str, address: &str, session: &str| format!("o {name} {address} s {session}");
    assert_eq!(told("replace=[username]")[..2], [line("alice 3 7", a, "one"), line("alice 4 9", a, "two")]);
    assert_eq!(told("replace=[session-name]")[..2], [line("alice 3 7", a, "one"), line("bob 4 9", a, "one")]);
    assert_eq!(told("replace=[origin]")[..2], [line("alice 3 7", b, "one"), line("bob 4 9", b, "two")]);
    // Another session name or port is news; another `o=` alone is none.
    let counted = ["alice 3 7", "bob 4 8", "bob 4 9", "bob 4 9"];
    let names = ["one", "two", "two", "two"];
    assert_eq!(told("replace=[SDP-version]"), [0, 1, 2, 3].map(|i| line(counted[i], a, names[i])));
    let full = ["alice 3 7", "alice 3 8", "alice 3 9", "alice 3 9"];
    assert_eq!(told("replace=[origin-full]"), [0, 1, 2, 3].map(|i| line(full[i], b, names[i])));
    let forced = ["alice 3 8", "bob 4 9", "bob 4 10", "bob 4 11"];
    assert_eq!(told("replace=[force-increment-sdp-ver]"), [0, 1, 2, 3].map(|i| line(forced[i], a, names[i])));
    assert_eq!(told("replace=[username session-name SDP-version]")[3], line("alice 4 9", a, "one"));
}

#[test]
fn what_is_removed_from_an_offer_is_refused_in_its_answer() {
    let mut world = World::new();
    let (sound, sight) =
        ("m=audio 3000 RTP/AVP 8\na=mid:s\n", "m=video 3002 RTP/AVP 105\na=rtpmap:105 H264/90000\na=mid:v\n");
    let more = "m=application 3004 UDP/BFCP *\na=mid:x\n";
    let told_sound = "m=audio PORT RTP/AVP 8
c=IN IP4 198.51.100.1
a=mid:s
a=rtpmap:8 PCMA/8000
a=sendrecv
a=rtcp:PORT
";
    let refused = "m=video 0 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=mid:v\n";
    let told = offered(&mut world, "sdp-media-remove=[video other]", &format!("{sight}{sound}{more}"));
    assert_eq!(told, told_sound);
    let told = answered(&mut world, "", "m=audio 3000 RTP/AVP 8\n");
    assert_eq!(told, format!("{refused}{told_sound}m=application 0 UDP/BFCP 0\nc=IN IP4 0.0.0.0\n"));
    // A client that has put the m-lines back is taken at its word.
    let mut world = World::new();
    offered(&mut world, "sdp-media-remove=[video]", &format!("{sight}{sound}"));
    let told = answered(&mut world, "", "m=video 0 RTP/AVP 0\nm=audio 3000 RTP/AVP 8\n");
    assert_eq!(told, format!("{refused}{told_sound}"));
    // One that an answerer leaves out is refused.
    let mut world = World::new();
    offered(&mut world, "", &format!("{sound}{sight}"));
    assert_eq!(answered(&mut world, "", "m=audio 3000 RTP/AVP 8\n"), format!("{told_sound}{refused}"));
}

#[test]
fn a_description_that_has_come_by_here_stays_as_it_is() {
    let mut world = World::new();
    let sdp = phone("192.0.2.10", "m=audio 3000 RTP/AVP 8\n");
    let marked = replied(&mut world, "offer", "loop-protect", sdp.clone());
    let (_, mark) = marked.split_once("t=0 0\r\na=rtpengine:").expect("it is marked");
    assert!(mark.find("\r\nm=audio").is_some_and(|length| length == 12), "{marked}");
    for command in ["offer", "answer"] {
        assert_eq!(replied(&mut world, command, "loop-protect", marked.clone()), marked);
    }
    let again = marked.replace("198.51.100.1", "192.0.2.10");
    assert!(replied(&mut world, "offer", "", again.clone()).contains("c=IN IP4 198.51.100.1"));
    let other = again.replace("a=rtpengine:", "a=rtpengine:0");
    assert!(replied(&mut world, "offer", "loop-protect", other).contains("a=rtpengine:0"), "that of another stays");
}

#[test]
fn header_extensions_are_stripped_or_taken_from_the_sender_alone() {
    let [level, mid] = ["a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\n", "a=extmap:2 urn:x:y\n"];
    let media = format!("m=audio 3000 RTP/AVP 8\n{level}{mid}");
    let told = |[offer, answer]: [&'static str; 2]| {
        let mut world = World::new();
        let said = [offered(&mut world, offer, &media), answered(&mut world, answer, &media)];
        said.map(|said| [level, mid].map(|line| said.contains(line)))
    };
    assert_eq!(told(["", ""]), [[true, true], [true, true]]);
    assert_eq!(told(["extmap=[strip=[urn:x:y]]", ""]), [[true, false], [true, false]]);
    assert_eq!(told(["extmap=[strip=[all]]", ""]), [[false, false], [false, false]]);
    assert_eq!(told(["", "extmap=[strip=[urn:x:y]]"]), [[true, true], [true, false]]);
    assert_eq!(told(["extmap=[mask=[urn:x:y]]", ""]), [[true, false], [true, true]]);
}

#[test]
fn a_sender_s_suites_keep_their_tags_and_others_go_on_behind_them() {
    let key = "inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";
    let media = format!(
        "m=audio 3000 RTP/SAVP 8\na=crypto:4 AES_CM_128_HMAC_SHA1_80 {key}\na=crypto:7 AES_CM_128_HMAC_SHA1_32 {key}\n"
    );
    let told = |wishes| {
        let told = offered(&mut World::new(), wishes, &media);
        let tags = told.lines().filter_map(|line| line.strip_prefix("a=crypto:")?.split(" inline").next());
        tags.map(|tag| tag.split("_HMAC").next().unwrap_or(tag).to_owned()).take(4).collect::<Vec<_>>()
    };
    let [first, second] = ["4 AES_CM_128", "7 AES_CM_128"];
    assert_eq!(told(""), [first, second, "8 AEAD_AES_256_GCM", "9 AEAD_AES_128_GCM"]);
    assert_eq!(told("SDES=nonew"), [first, second]);
    assert_eq!(told("SDES=no-AES_CM_128_HMAC_SHA1_32")[..2], [first, "5 AEAD_AES_256_GCM"]);
    assert_eq!(told("SDES=only-AEAD_AES_128_GCM"), ["1 AEAD_AES_128_GCM"]);
    let order = "SDES=order:AEAD_AES_128_GCM;AES_CM_128_HMAC_SHA1_32";
    assert_eq!(told(order), ["9 AEAD_AES_128_GCM", second, first, "8 AEAD_AES_256_GCM"]);
    // The answer is to be matched with what was offered by these tags.
    let mut world = World::new();
    offered(&mut world, "", &media);
    let answer = format!("m=audio 3000 RTP/SAVP 8\na=crypto:7 AES_CM_128_HMAC_SHA1_32 {key}\n");
    assert!(answered(&mut world, "", &answer).contains("a=crypto:7 AES_CM_128_HMAC_SHA1_32 "));
}

#[test]
fn of_a_sender_s_suites_the_receiver_s_is_taken_unless_another_is_preferred() {
    let short = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";
    let long = format!("{short}Hh8gISIjJCUmJygpKissLQ==");
    let suites =
        [("AES_CM_128", 80, short), ("AES_CM_128", 32, short), ("AES_256_CM", 80, &long), ("AES_256_CM", 32, &long)];
    let lines: Vec<String> = (1..)
        .zip(suites)
        .map(|(tag, (name, bits, key))| format!("a=crypto:{tag} {name}_HMAC_SHA1_{bits} inline:{key}\n"))
        .collect();
    let told = |wishes, answer: u8| {
        let mut world = World::new();
        let profile = if answer == 0 { "RTP/AVP" } else { "RTP/SAVP" };
        offered(&mut world, wishes, &format!("m=audio 3000 RTP/SAVP 0\n{}", lines.concat()));
        let keys = if answer == 0 { "" } else { &lines[usize::from(answer) - 1] };
        let told = answered(&mut world, "", &format!("m=audio 4000 {profile} 0\n{keys}"));
        let tags = told.lines().filter_map(|line| line.strip_prefix("a=crypto:")?.split(' ').next());
        tags.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!([1, 2, 3, 4].map(|answer| told("", answer)), ["1", "2", "3", "4"]);
    let preferred = "SDES=offerer_pref:AES_256_CM_HMAC_SHA1_32;AES_256_CM_HMAC_SHA1_80";
    assert_eq!([1, 3, 4].map(|answer| told(preferred, answer)), ["4", "4", "4"]);
    let absent = "SDES=offerer_pref:AEAD_AES_128_GCM";
    assert_eq!([1, 3].map(|answer| told(absent, answer)), ["1", "3"]);
    assert_eq!(told("RTP/AVP", 0), "1");
    assert_eq!(told("RTP/AVP SDES=offerer_pref:AES_256_CM_HMAC_SHA1_80", 0), "3");
}

#[test]
fn keys_beside_a_plain_profile_are_the_receivers_to_take_or_to_decline() {
    let plain = "m=audio 3000 RTP/AVP 0\n";
    let keys =
        "m=audio 3000 RTP/AVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\n";
    let told = |wishes, offer, answer| {
        let mut world = World::new();
        let mut counts = Vec::new();
        for said in [offered(&mut world, wishes, offer), answered(&mut world, "", answer)] {
            assert!(said.starts_with("m=audio PORT RTP/AVP 0\n"), "{said}");
            counts.push(said.matches("a=crypto:").count());
        }
        counts
    };
    assert_eq!(told("", keys, keys), [8, 1]);
    assert_eq!(told("", keys, plain), [8, 0]);
    assert_eq!(told("", plain, plain), [0, 0]);
    for declined in ["SDES=off", "RTP/AVP"] {
        assert_eq!(told(declined, keys, plain), [0, 0], "{declined}");
    }
    assert_eq!(told("OSRTP=offer", plain, plain), [8, 0]);
    assert_eq!(told("OSRTP=accept", keys, plain), [0, 1]);
    let secure = keys.replace("AVP", "SAVP");
    assert_eq!(told("", keys, &secure), [8, 1]);
}

#[test]
fn a_party_is_told_of_a_lite_agent_and_of_lifetimes_where_that_is_asked_for() {
    let media = "m=audio 3000 RTP/SAVP 8\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\n";
    let told = |wishes, part: &str| {
        let mut world = World::new();
        [("offer", "192.0.2.10"), ("answer", "192.0.2.20")]
            .map(|(command, address)| replied(&mut world, command, wishes, phone(address, media)).contains(part))
    };
    let lite = "t=0 0\r\na=ice-lite\r\nm=audio";
    assert_eq!(told("", lite), [false, false]);
    assert_eq!(told("ICE-lite=forward", lite), [true, false]);
    assert_eq!(told("ICE-lite=backward", lite), [false, true]);
    assert_eq!(told("ICE-lite=both", lite), [true, true]);
    assert_eq!(told("", "|2^31\r\n"), [false, false]);
    assert_eq!(told("SDES=lifetime", "|2^31\r\n"), [true, true]);
}

/// The formats of the first m-line.
fn formats(told: &str) -> String {
    let line = told.lines().next().unwrap_or_default();
    line.split_whitespace().skip(3).collect::<Vec<_>>().join(" ")
}

const SOUND: &str = "a=rtpmap:96 opus/48000/2
a=rtpmap:97 telephone-event/8000
a=rtpmap:98 telephone-event/48000
a=rtpmap:99 CN/16000
";

#[test]
fn key_presses_and_comfort_noise_go_with_the_last_codec_of_their_clock() {
    let told = |wishes, list: &str| {
        formats(&offered(&mut World::new(), wishes, &format!("m=audio 3000 RTP/AVP {list}\n{SOUND}")))
    };
    assert_eq!(told("codec-strip-PCMA", "8 96 97 98"), "96 98");
    assert_eq!(told("codec-mask-opus", "8 96 97 98"), "8 97");
    assert_eq!(told("codec-strip-PCMA", "8 0 97 98 13"), "0 97 98 13", "another codec has the clock, or none ever had");
    assert_eq!(told("codec-strip-CN", "8 96 13 99 97"), "8 96 97");
    assert_eq!(told("codec=[strip=[all] offer=[PCMA telephone-event]]", "8 96 97 98"), "8 97");
    assert_eq!(told("codec-strip-PCMA", "8 97"), "8 97", "nothing would be left");
    let answer = |wishes, list: &str| {
        let mut world = World::new();
        offered(&mut world, "", &format!("m=audio 3000 RTP/AVP 0 8 96 97 98\n{SOUND}"));
        formats(&answered(&mut world, wishes, &format!("m=audio 4000 RTP/AVP {list}\n{SOUND}")))
    };
    assert_eq!(answer("", "0 8 96 97 98"), "0 8 96 97 98");
    assert_eq!(answer("single-codec", "0 8 96 97 98"), "0 97");
    assert_eq!(answer("single-codec", "97 98 96 8"), "98 96");
    assert_eq!(answer("codec-strip-opus", "96 8 97 98"), "8 97");
}

#[test]
fn a_receiver_may_be_told_its_old_codecs_whatever_the_sender_offers_now() {
    let told = |first: &str, wishes, second: &str| {
        let mut world = World::new();
        offered(&mut world, "", &format!("m=audio 3000 RTP/AVP {first}\n{SOUND}"));
        answered(&mut world, "", "m=audio 4000 RTP/AVP 8\n");
        formats(&offered(&mut world, wishes, &format!("m=audio 3000 RTP/AVP {second}\n{SOUND}")))
    };
    assert_eq!(told("0 8 96", "", "9 8 0"), "9 8 0");
    assert_eq!(told("0 8 96", "static-codecs", "9 8 0"), "0 8");
    assert_eq!(told("0 8 96", "static-codecs", "9 3"), "9 3", "nothing is translated");
    assert_eq!(told("0 8 96", "reuse-codecs", "9 0 8"), "8 9 0");
    assert_eq!(told("0 8 96", "no-codec-renegotiation", "9 0"), "9 0");
}

#[test]
fn what_the_receiver_is_told_by_old_numbers_the_sender_is_answered_by_its_new_ones() {
    let mut world = World::new();
    let [old, new] = ["96 opus/48000/2", "110 opus/48000/2"].map(|map| format!("a=rtpmap:{map}\n"));
    offered(&mut world, "", &format!("m=audio 3000 RTP/AVP 96 0\n{old}"));
    answered(&mut world, "", &format!("m=audio 4000 RTP/AVP 96 0\n{old}"));
    let told = offered(&mut world, "static-codecs", &format!("m=audio 3000 RTP/AVP 0 110\n{new}"));
    assert_eq!(formats(&told), "96 0");
    let told = answered(&mut world, "", &format!("m=audio 4000 RTP/AVP 96 0\n{old}"));
    assert!(told.starts_with("m=audio PORT RTP/AVP 110 0\n") && told.contains("a=rtpmap:110 opus/48000/2\n"), "{told}");
}

#[test]
fn an_offerer_may_be_answered_first_with_what_it_was_answered_before() {
    let told = |wishes| {
        let mut world = World::new();
        ["8 0", "0 8"].map(|list| {
            offered(&mut world, "", &format!("m=audio 3000 RTP/AVP {list}\n"));
            formats(&answered(&mut world, wishes, &format!("m=audio 4000 RTP/AVP {list}\n")))
        })
    };
    assert_eq!(told("single-codec"), ["8", "0"]);
    assert_eq!(told("single-codec reuse-codecs"), ["8", "8"]);
}

#[test]
fn a_party_is_offered_ice_again_unless_it_refused_it() {
    let plain = "m=audio 3000 RTP/AVP 8\n";
    let by_ice = "m=audio 3000 RTP/AVP 8\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n";
    let told = |first, answer: &str, second| {
        let mut world = World::new();
        offered(&mut world, first, plain);
        answered(&mut world, "", answer);
        let open = world.open.0.clone();
        let told = offered(&mut world, second, plain).contains("a=ice-ufrag:");
        (told, world.open.0 == open)
    };
    assert_eq!(told("ICE=force", by_ice, ""), (true, true));
    assert!(!told("ICE=force", by_ice, "ICE=remove").0);
    assert_eq!(told("ICE=force", plain, ""), (false, true), "with the ports that it has");
    assert_eq!(told("ICE=force", plain, "ICE=force"), (false, true));
    assert!(told("ICE=force", plain, "ICE=force reset").0);
    assert!(told("", plain, "ICE=force").0);
    assert_eq!(told("", plain, ""), (false, true));
    // It changes its mind.
    let mut world = World::new();
    offered(&mut world, "ICE=force", plain);
    answered(&mut world, "", plain);
    let other = |command, sdp: &str| {
        let asked = Dictionary::new().with("command", command).with("call-id", "c").with("from-tag", "b");
        asked.with("to-tag", "a").with("sdp", phone("192.0.2.20", sdp)).into_owned()
    };
    assert_eq!(error(&world.ask(&other("offer", by_ice))), None);
    assert_eq!(error(&world.ask(&other("answer", plain))), None);
    assert!(offered(&mut world, "", plain).contains("a=ice-ufrag:"));
}

#[test]
fn a_party_that_is_told_of_a_lite_agent_is_told_so_again() {
    let media = "m=audio 3000 RTP/AVP 8\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n";
    let told = |wishes| {
        let mut world = World::new();
        ["ICE-lite=both", wishes].map(|wishes| {
            [("offer", "192.0.2.10"), ("answer", "192.0.2.20")].map(|(command, address)| {
                let told = replied(&mut world, command, wishes, phone(address, media));
                told.contains("a=ice-lite\r\n")
            })
        })
    };
    assert_eq!(told(""), [[true; 2]; 2]);
    assert_eq!(told("ICE-lite=forward"), [[true; 2], [true, false]]);
    assert_eq!(told("ICE-lite=off"), [[true; 2], [false; 2]]);
}

const BUNDLE: &str = "m=audio 3000 RTP/AVP 8\na=mid:a\nm=video 3000 RTP/AVP 96\na=rtpmap:96 VP8/90000\na=mid:v\n";
const NO_BUNDLE: &str = "m=audio 4000 RTP/AVP 8\nm=video 4002 RTP/AVP 96\na=rtpmap:96 VP8/90000\n";

#[test]
fn bundles_are_taken_and_offered_as_they_were_before_until_they_are_refused() {
    let bundled = |sdp: String| sdp.replace("t=0 0\r\n", "t=0 0\r\na=group:BUNDLE a v\r\n");
    let is_bundled = |sdp: &str| sdp.contains("a=group:BUNDLE");
    let told = |wishes: [&'static str; 2], answers: [String; 2]| {
        let mut world = World::new();
        [0, 1].map(|number: usize| {
            let offer = bundled(phone("192.0.2.10", BUNDLE));
            let told = replied(&mut world, "offer", wishes[number], offer);
            let answer = replied(&mut world, "answer", "", answers[number].clone());
            [is_bundled(&told), is_bundled(&answer)]
        })
    };
    let alone = || phone("192.0.2.20", NO_BUNDLE);
    let together = || bundled(phone("192.0.2.20", BUNDLE));
    let [none, sender, receiver, both] = [[false; 2], [false, true], [true, false], [true; 2]];
    assert_eq!(told(["", ""], [alone(), alone()]), [none, none]);
    assert_eq!(told(["bundle=accept", ""], [alone(), alone()]), [sender, sender]);
    assert_eq!(told(["bundle=accept", "bundle=reject"], [alone(), alone()]), [sender, none]);
    assert_eq!(told(["bundle=offer", ""], [alone(), alone()]), [receiver, none]);
    assert_eq!(told(["bundle=offer", ""], [together(), together()]), [receiver, receiver]);
    assert_eq!(told(["bundle=[accept offer]", ""], [together(), together()]), [both, both]);
    assert_eq!(told(["bundle=[accept offer]", "bundle=reject"], [together(), together()]), [both, none]);
}

#[test]
fn an_answer_may_have_another_profile_but_no_other_protection() {
    let told = |offer: &str, wishes, answer: &str| {
        let mut world = World::new();
        offered(&mut world, "RTP/AVP", &format!("m=audio 3000 {offer} 0\n"));
        let told = answered(&mut world, wishes, &format!("m=audio 4000 {answer} 0\n"));
        told.split(' ').nth(2).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(told("RTP/AVP", "", "RTP/AVPF"), "RTP/AVP");
    assert_eq!(told("RTP/AVP", "transport-protocol=accept", "RTP/AVPF"), "RTP/AVPF");
    assert_eq!(told("RTP/AVP", "RTP/AVPF", "RTP/AVP"), "RTP/AVPF");
    assert_eq!(told("RTP/AVP", "RTP/SAVPF", "RTP/AVP"), "RTP/AVP");
    assert_eq!(told("RTP/AVPF", "RTP/AVP", "RTP/AVPF"), "RTP/AVP");
}

#[test]
fn an_answer_repeats_the_names_of_the_offer_and_gives_none() {
    let told = |offer: &str, wishes| {
        let mut world = World::new();
        offered(&mut world, "generate-mid", &format!("m=audio 3000 RTP/AVP 0\n{offer}"));
        let told = answered(&mut world, wishes, "m=audio 4000 RTP/AVP 0\na=mid:theirs\n");
        told.lines().filter(|line| line.starts_with("a=mid:")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told("", ""), Vec::<String>::new());
    assert_eq!(told("", "generate-mid"), ["a=mid:1"]);
    assert_eq!(told("a=mid:ours\n", ""), ["a=mid:ours"]);
}

#[test]
fn the_suite_in_use_stays_first_with_its_key_and_others_go_on_behind_it() {
    let suites = |told: &str| -> Vec<String> {
        let lines = told.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
        lines.take(3).map(|line| line.split("_HMAC").next().unwrap_or(line).to_owned()).collect()
    };
    let key = |told: &str, tag: &str| {
        let line = told.lines().find(|line| line.starts_with(&format!("a=crypto:{tag} "))).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{told}"))
    };
    let mut world = World::new();
    let offer = |world: &mut World, codecs: &str| {
        let media = format!("m=audio 3000 RTP/AVP {codecs}\n");
        replied(world, "offer", "RTP/SAVP DTLS=off", phone("192.0.2.10", &media))
    };
    let first = offer(&mut world, "0");
    assert!(suites(&first)[0].starts_with("1 AEAD_AES_256_GCM"), "{first}");
    let answer = "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n";
    answered(&mut world, "", &format!("m=audio 4000 RTP/SAVP 0\n{answer}"));
    for codecs in ["0 8", "8 0"] {
        let again = offer(&mut world, codecs);
        assert_eq!(suites(&again)[0], "7 AES_CM_128");
        assert!(suites(&again)[1].starts_with("8 AEAD_AES_256_GCM"), "{again}");
        assert_eq!(key(&again, "7"), key(&first, "7"));
        answered(&mut world, "", &format!("m=audio 4000 RTP/SAVP 0\n{answer}"));
    }
}
