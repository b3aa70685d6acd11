//! The demonstration, as a newcomer runs it.

use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn the_demonstration_makes_a_call_in_each_direction_and_both_ends_hear_the_other() {
    #[expect(clippy::disallowed_methods, reason = "the demonstration promises to be quick")]
    let now = Instant::now;
    let begun = now();
    let run = Command::new(env!("CARGO_BIN_EXE_stox")).arg("demo").output().expect("the binary was built");
    let shown = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{shown}{}", String::from_utf8_lossy(&run.stderr));
    assert!(shown.contains("Jingle to SIP: answered") && shown.contains("SIP to Jingle: answered"), "{shown}");
    assert!(now() - begun < Duration::from_secs(15), "it took {:?}", now() - begun);
}
