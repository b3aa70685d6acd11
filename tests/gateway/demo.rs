//! The demonstration: the README's first command.

use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::binary::{Stox, command, directory_with};
use crate::scene::PATIENCE;

fn demo(command: Command) -> Stox {
    Stox::start(command, directory_with(""))
}

#[tokio::test]
async fn the_demonstration_proves_a_call_in_each_direction() {
    let begun = Instant::now();
    let mut stox = demo(command(&["demo"], None));
    assert!(stox.ends(PATIENCE).await.success(), "{}", stox.output());
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    let output = stox.output();
    for part in ["DTLS AEAD_AES_", "plain RTP", "lost", "jitter", "Both calls went well"] {
        assert!(output.contains(part), "no {part} in:\n{output}");
    }
    let summary = ["Jingle to SIP: ", "SIP to Jingle: "].map(|direction| {
        output.lines().find(|line| line.trim_start().starts_with(direction)).unwrap_or_default().to_owned()
    });
    for line in summary {
        assert!(line.contains("alice heard 660 Hz, the phone 440 Hz"), "{line} in:\n{output}");
    }
}

#[tokio::test]
async fn the_demonstration_stays_up_until_it_is_interrupted() {
    let mut stox = demo(command(&["demo", "--hold"], None));
    stox.prints("Ctrl-C ends it", PATIENCE).await;
    let before = Instant::now();
    stox.signal("INT");
    assert!(stox.ends(PATIENCE).await.success(), "{}", stox.output());
    assert!(before.elapsed() < Duration::from_secs(10), "it took {:?}", before.elapsed());
}

#[tokio::test]
async fn the_demonstration_names_the_step_that_failed_and_exits_with_1() {
    // Files enough to start, but not for the sockets of a call.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 24; exec \"$0\" demo", env!("CARGO_BIN_EXE_stox")]);
    let mut stox = demo(limited);
    let status = stox.ends(PATIENCE).await;
    let output = stox.output();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("FAILED: "), "{output}");
}
