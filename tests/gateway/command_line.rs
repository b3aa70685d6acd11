//! What the commands say about a configuration, and their exit codes.

use std::fs;
use std::net::TcpListener;
use std::process::Output;

use crate::binary::{Stox, command, directory_with};
use crate::scene::{PATIENCE, config, free_tcp, free_udp};

fn right(more: &str) -> String {
    config(free_tcp(), free_udp(), free_udp(), free_tcp(), "rtp", more)
}

fn outcome(words: &[&str], config: &str) -> (Option<i32>, String) {
    let directory = directory_with(config);
    let mut command = command(words, Some(&directory));
    let Output { status, stdout, stderr } =
        command.env("STOX_TEST_SECRET", "hunter2").output().expect("the binary was built");
    fs::remove_dir_all(directory).expect("it is ours");
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(!text.contains("hunter2"), "{text}");
    (status.code(), text)
}

#[test]
fn check_finds_nothing_wrong_with_a_right_configuration() {
    let (code, text) = outcome(&["check"], &right(""));
    assert_eq!((code, text.contains("nothing stands in the way")), (Some(0), true), "{text}");
}

#[test]
fn check_says_everything_that_is_wrong_and_exits_with_2() {
    let wrong = right("ports = \"9-1\"\nworker = 2").replace("worker = 2", "dscp = 99").replace("udp:", "sctp:");
    let (code, text) = outcome(&["check"], &wrong);
    assert_eq!(code, Some(2), "{text}");
    for part in ["relay.ports", "relay.dscp", "sip.listen"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let (code, text) = outcome(&["check"], &right("worker = 2"));
    assert_eq!((code, text.contains("unknown field `worker`")), (Some(2), true), "{text}");
    let (code, text) = outcome(&["check"], &right("").replace("trunk:phones/{1}", "trunk:fones/{1}"));
    assert_eq!((code, text.contains("there is no trunk \"fones\"")), (Some(2), true), "{text}");
}

#[test]
fn check_looks_where_records_would_go_and_makes_nothing() {
    let file = std::env::temp_dir().join(format!("stox-check-{}.jsonl", std::process::id()));
    let with = |path: &str| right(&format!("[records]\nfile = \"{path}\""));
    let (code, text) = outcome(&["check"], &with(&file.display().to_string()));
    assert_eq!((code, file.exists()), (Some(0), false), "{text}");
    for (path, said) in [("/nonexistent/calls.jsonl", "there is no directory /nonexistent"), ("/proc", "records.file")]
    {
        let (code, text) = outcome(&["check"], &with(path));
        assert_eq!((code, text.contains(said)), (Some(2), true), "{path}: {text}");
    }
}

#[test]
fn a_route_is_tested_without_a_call() {
    for (words, code, said) in [
        (&["alice@localhost", "100@sip.localhost"][..], 0, "Request-URI         sip:100@127.0.0.1:"),
        (
            &["alice@localhost", "100@sip.localhost"],
            0,
            r#"from = "xmpp", user = '(\+?[0-9]+)', to = ["trunk:phones/{1}"]"#,
        ),
        (&["sip:100@127.0.0.1", "sip:alice@127.0.0.1", "--trunk", "phones"], 0, "XMPP callee         alice@localhost"),
        (&["alice@localhost", "bob@sip.localhost"], 1, "refused             no route"),
        (&["sip:100@127.0.0.1", "sip:alice@127.0.0.1"], 1, "SIP status          403"),
        (&["alice@localhost", "@"], 2, "expected a JID"),
        (&["sip:100@127.0.0.1", "sip:alice@127.0.0.1", "--trunk", "fones"], 2, "there is no trunk \"fones\""),
    ] {
        let (exit, text) = outcome(&[&["route-test"], words].concat(), &right(""));
        assert_eq!((exit, text.contains(said)), (Some(code), true), "{words:?}: {text}");
    }
    let (code, text) = outcome(&["route-test", "a@b", "c@d"], &right("worker = 2"));
    assert_eq!((code, text.contains("unknown field `worker`")), (Some(2), true), "{text}");
}

#[test]
fn check_knows_a_file_for_a_relay_alone() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let taken = format!("tcp:{}", taken.local_addr().expect("it is bound"));
    let free = format!("udp:{}", free_udp());
    for (listen, bind, code, said) in [
        (&free, "127.0.0.1", 0, "nothing stands in the way"),
        (&taken, "127.0.0.1", 2, "ng.listen \"tcp:127.0.0.1:"),
        (&free, "192.0.2.1", 2, "not an address of this machine"),
        (&"udp:5".to_owned(), "127.0.0.1", 2, "ng.listen = \"udp:5\""),
    ] {
        let file = format!("[relay]\naddresses = [{{ bind = \"{bind}\" }}]\n[ng]\nlisten = [\"{listen}\"]\n");
        let (exit, text) = outcome(&["check"], &file);
        assert_eq!((exit, text.contains(said)), (Some(code), true), "{file}: {text}");
    }
    let no_certificate =
        "[relay]\naddresses = [{ bind = \"127.0.0.1\" }]\n[ng.tls]\ncertificate = \"/dev/null\"\nkey = \"/dev/null\"\n";
    let (exit, text) = outcome(&["check"], no_certificate);
    assert_eq!((exit, text.contains("ng.tls: ")), (Some(2), true), "{text}");
}

#[test]
fn check_finds_what_the_machine_does_not_give() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = taken.local_addr().expect("it is bound");
    let (code, text) = outcome(&["check"], &config(free_tcp(), free_udp(), free_udp(), address, "rtp", ""));
    assert_eq!((code, text.contains("http.listen")), (Some(2), true), "{text}");
    let no_certificate =
        right("").replace("[http]", "[sip.tls]\ncertificate = \"/dev/null\"\nkey = \"/dev/null\"\n[http]");
    let (code, text) = outcome(&["check"], &no_certificate);
    assert_eq!((code, text.contains("sip.tls: ")), (Some(2), true), "{text}");
    let elsewhere = right("").replace("bind = \"127.0.0.1\"", "bind = \"192.0.2.1\"");
    let (code, text) = outcome(&["check"], &elsewhere);
    assert_eq!((code, text.contains("not an address of this machine")), (Some(2), true), "{text}");
}

#[test]
fn no_command_starts_without_a_configuration_that_can_be_read() {
    for word in ["run", "check"] {
        let output = command(&[word, "--config", "/nonexistent/stox.toml"], None).output().expect("it was built");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), text.contains("/nonexistent/stox.toml")), (Some(2), true), "{text}");
        let (code, text) = outcome(&[word], "[xmpp]\nsecret = \"hunter2\"\n");
        assert_eq!((code, text.contains("missing field")), (Some(2), true), "{text}");
    }
}

#[tokio::test]
async fn run_takes_as_many_open_files_as_it_may() {
    let directory = directory_with(&right(""));
    let mut limited = std::process::Command::new("sh");
    let words = ["-c", "ulimit -Sn 100; exec \"$0\" run --config \"$1\"", env!("CARGO_BIN_EXE_stox")];
    limited.args(words).arg(directory.join("stox.toml")).env("STOX_TEST_SECRET", "hunter2");
    let stox = Stox::start(limited, directory);
    stox.prints("serving /healthz", PATIENCE).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", stox.id())).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("there is such a limit");
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{line}");
}
