//! `stox relay --import-rtpengine-conf`.

use std::fs;

use super::PINGS;
use super::client::Socket;
use crate::binary::{Stox, command, directory_with};
use crate::scene::{PATIENCE, free_udp};

#[tokio::test]
async fn a_relay_runs_with_the_file_of_rtpengine() {
    let address = free_udp();
    let directory = directory_with("");
    let file = directory.join("rtpengine.conf");
    let text = format!(
        "[rtpengine]\ninterface = 127.0.0.1\nlisten-ng = {address}\nnum-threads = 1\nredis = 127.0.0.1:6379/5\n"
    );
    fs::write(&file, text).expect("the directory can be written to");
    fs::remove_file(directory.join("stox.toml")).expect("it is ours");
    let import = format!("--import-rtpengine-conf={}", file.display());
    let printed = command(&["relay", &import, "--print-config"], None).output().expect("the binary was built");
    let (out, err) = (String::from_utf8_lossy(&printed.stdout), String::from_utf8_lossy(&printed.stderr));
    assert!(printed.status.success() && out.contains(&format!("listen = [ \"udp:{address}\" ]")), "{out}{err}");
    assert!(err.contains("line 5: redis: calls are kept in memory alone"), "{err}");
    let stox = Stox::start(command(&["relay", &import], None), directory);
    stox.prints("ready", PATIENCE).await;
    let (ping, pong) = PINGS[0];
    assert_eq!(Socket::connect(address).await.ask(ping).await, pong);
}

#[test]
fn a_file_that_cannot_be_read_starts_no_relay() {
    let directory = directory_with("[rtpengine]\nport-min = 80\n");
    let file = directory.join("stox.toml");
    let file = file.to_str().expect("it is text");
    for (words, said) in [
        (&["--import-rtpengine-conf", file][..], "stox.toml: line 2: port-min = \"80\": expected a port"),
        (&["--import-rtpengine-conf", "/nonexistent"], "cannot read /nonexistent"),
        (&["--import-rtpengine-conf", file, "--config", file], "cannot be used with"),
        (&["--print-config"], "--import-rtpengine-conf"),
    ] {
        let output = command(&["relay"], None).args(words).output().expect("the binary was built");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), text.contains(said)), (Some(2), true), "{words:?}: {text}");
    }
    fs::remove_dir_all(directory).expect("it is ours");
}
