//! Records of calls through the binary, held against their documentation.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use load::{jingle, phone};
use model::Security;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::scene::{PATIENCE, Scene};

const DOCUMENTATION: &str = include_str!("../../deploy/records.md");

/// A file of its own for each test.
fn file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("stox-records-{}-{name}.jsonl", std::process::id()));
    let _ = fs::remove_file(&path); // of an earlier run, if there was one
    path
}

/// The records of a file, which is removed.
fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("it was written");
    fs::remove_file(path).expect("it is ours");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// What the documentation says: the type of each field. Those of streams begin with `streams.`.
fn documented() -> BTreeMap<String, &'static str> {
    let mut fields = BTreeMap::new();
    let (record, stream) = DOCUMENTATION.split_once("Each of the streams has").expect("it has two tables");
    for (text, prefix) in [(record, ""), (stream, "streams.")] {
        for row in text.lines().filter(|line| line.starts_with("| `")) {
            let columns: Vec<_> = row.split('|').map(str::trim).collect();
            for name in columns[1].split(',') {
                fields.insert(format!("{prefix}{}", name.trim().trim_matches('`')), columns[2]);
            }
        }
    }
    fields
}

/// The fields of a record, with their values; those of all its streams under one name.
fn fields(prefix: &str, value: &Value, into: &mut BTreeMap<String, Vec<Value>>) {
    let Value::Object(object) = value else { return };
    for (key, value) in object {
        let name = format!("{prefix}{key}");
        if !["end", "xmpp", "sip"].contains(&name.as_str()) {
            into.entry(name.clone()).or_default().push(value.clone());
        }
        fields(&format!("{name}."), value, into);
        if key == "streams" {
            value.as_array().into_iter().flatten().for_each(|stream| fields("streams.", stream, into));
        }
    }
}

fn is_of_type(value: &Value, types: &str) -> bool {
    types.split(", ").any(|one| match one {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        "list" => value.is_array(),
        "list of strings" => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        unknown => panic!("no such type: {unknown}"),
    })
}

/// A record has the fields that the documentation has, and no others, each of its type.
fn assert_documented(record: &Value) {
    let mut found = BTreeMap::new();
    fields("", record, &mut found);
    let documented = documented();
    assert_eq!(found.keys().collect::<Vec<_>>(), documented.keys().collect::<Vec<_>>());
    for (name, values) in found {
        for value in values {
            assert!(is_of_type(&value, documented[&name]), "{name} = {value} is no {}", documented[&name]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_put_on_record_as_documented() {
    let path = file("call");
    let more = format!("[records]\nfile = \"{}\"\n", path.display());
    let mut scene = Scene::set_up(Security::Sdes, &more).await;
    scene.alice_calls_and_is_answered().await;
    scene.both_hear_each_other().await;
    // So long that the relay has figures to judge by.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    scene.alice.hang_up();
    scene.phone_sees("BYE", |event| *event == phone::Event::Ended).await;
    scene.metric("stox_records_total{event=\"written\"}", |value| value == 1).await;
    let records = records(&path);
    let [record] = records.as_slice() else { panic!("one record: {records:?}") };
    assert_documented(record);
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| record.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    for (pointer, expected) in [
        ("/direction", "xmpp-to-sip"),
        ("/end/by", "xmpp"),
        ("/end/reason", "success"),
        ("/xmpp/user", "alice@localhost/test"),
        ("/xmpp/gateway_user", "100@sip.localhost/sip"),
        ("/xmpp/transport", "ice"),
        ("/xmpp/security", "dtls"),
        ("/sip/trunk", "phones"),
        ("/sip/from", "sip:alice%40localhost@sip.localhost"),
        ("/sip/transport", "udp"),
        ("/sip/security", "sdes"),
        ("/sip/streams/0/kind", "audio"),
    ] {
        assert_eq!(text(pointer), expected, "{pointer} in {record:#}");
    }
    assert!(text("/sip/to").starts_with("sip:100@127.0.0.1:"), "{record:#}");
    assert_eq!(number("/end/q850"), 16.0);
    assert!(number("/talking_ms") >= 6_000.0 && number("/ringing_ms") < 60_000.0, "{record:#}");
    for leg in ["xmpp", "sip"] {
        assert!(!text(&format!("/{leg}/streams/0/codecs/0")).is_empty(), "{record:#}");
        for way in ["received", "sent"] {
            let of = |figure: &str| number(&format!("/{leg}/streams/0/{way}/{figure}"));
            assert!(of("packets") > 200.0 && of("bytes") > 10_000.0, "{leg} {way} in {record:#}");
            assert!(of("mos") > 3.0 && of("mos") <= 4.5, "{leg} {way} in {record:#}");
            assert!(of("lost").abs() < 50.0 && of("jitter_ms") < 100.0, "{leg} {way} in {record:#}");
        }
    }
    let time = |pointer: &str| text(pointer);
    assert!(time("/started") <= time("/rang") && time("/rang") <= time("/answered"), "{record:#}");
    assert!(time("/answered") < time("/ended") && time("/ended").ends_with('Z'), "{record:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_outlive_rotation_and_sigterm_and_are_posted() {
    let (path, moved) = (file("rotated"), file("moved"));
    let peer = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let url = format!("http://{}/calls", peer.local_addr().expect("it is bound"));
    let more = format!("[records]\nfile = \"{}\"\nurl = \"{url}\"\n", path.display());
    let mut scene = Scene::set_up(Security::Rtp, &more).await;

    scene.alice_calls().await;
    scene.phone.reject(486).expect("it rings");
    let busy = jingle::Event::Ended(xmpp::jingle::ReasonCondition::Busy);
    scene.alice_sees("refusal", |event| *event == busy).await;
    scene.metric("stox_records_total{event=\"written\"}", |value| value == 1).await;
    let posted = take_post(&peer).await;

    fs::rename(&path, &moved).expect("it was written");
    scene.stox.signal("HUP");
    scene.phone_calls().await;
    scene.stox.signal("TERM");
    scene.alice_sees("the end", |event| matches!(event, jingle::Event::Ended(_))).await;
    take_post(&peer).await;
    assert!(scene.stox.ends(PATIENCE).await.success());
    assert!(!scene.stox.output().contains("may be lost"), "{}", scene.stox.output());

    let (first, second) = (records(&moved), records(&path));
    let ([first], [second]) = (first.as_slice(), second.as_slice()) else { panic!("{first:?} {second:?}") };
    assert_eq!(&posted, first);
    assert_eq!((&first["end"]["by"], &first["end"]["sip_status"]), (&"sip".into(), &486.into()));
    assert_eq!((&first["end"]["reason"], &first["answered"]), (&"busy".into(), &Value::Null));
    assert_eq!((&second["end"]["by"], &second["direction"]), (&"gateway".into(), &"sip-to-xmpp".into()));
    assert!(second["end"]["sip_status"].is_number() && second["sip"]["call_id"].is_string(), "{second:#}");
}

/// Takes one record that is posted.
async fn take_post(peer: &TcpListener) -> Value {
    let (mut connection, _) =
        tokio::time::timeout(PATIENCE, peer.accept()).await.expect("it posts").expect("it connects");
    let mut request = String::new();
    let body = loop {
        let mut bytes = [0; 4096];
        let length = connection.read(&mut bytes).await.expect("it sends");
        assert!(length > 0, "it ended within {request}");
        request.push_str(std::str::from_utf8(&bytes[..length]).expect("it is text"));
        if let Some((_, body)) = request.split_once("\r\n\r\n")
            && let Ok(record) = serde_json::from_str(body)
        {
            break record;
        }
    };
    assert!(request.starts_with("POST /calls HTTP/1.1\r\n"), "{request}");
    connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("it listens");
    body
}
