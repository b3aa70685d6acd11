//! A SIP peer that follows a scenario to the letter: SIPp with a file of `sipp/`.

use std::fs;

use crate::gateway::Gateway;
use crate::log::PATIENCE;
use crate::ports;
use crate::process::Process;
use crate::temp_dir::TempDir;

/// A running scenario; it handles one call and ends.
pub(crate) struct Sipp {
    process: Process,
    dir: TempDir,
}

impl Sipp {
    /// Waits for a call from the gateway at the trunk's address; `options` are SIPp's own.
    pub(crate) fn answers(gateway: &Gateway, scenario: &str, options: &[&str]) -> Self {
        let sipp = Self::start(gateway.phones_port(), &read(scenario), options);
        ports::wait_taken(gateway.phones_port());
        sipp
    }

    /// Waits for a call from the gateway and refuses it with a status line.
    pub(crate) fn refuses(gateway: &Gateway, status: &str) -> Self {
        let sipp = Self::start(gateway.phones_port(), &read("refuse").replace("@STATUS@", status), &[]);
        ports::wait_taken(gateway.phones_port());
        sipp
    }

    /// Calls `user` through the gateway, from the trunk's address.
    pub(crate) fn calls(gateway: &Gateway, scenario: &str, user: &str) -> Self {
        Self::calls_at(gateway.sip_port(), gateway.phones_port(), scenario, user)
    }

    /// Calls `user` at whoever takes SIP at `port`, from one of its own.
    pub(crate) fn calls_at(port: u16, own: u16, scenario: &str, user: &str) -> Self {
        Self::start(own, &read(scenario), &["-s", user, &format!("127.0.0.1:{port}")])
    }

    fn start(port: u16, scenario: &str, options: &[&str]) -> Self {
        let dir = TempDir::new("sipp");
        let scenario = dir.write("scenario.xml", scenario);
        // Its own port and the next but one are for RTP that it echoes, the others for RTCP.
        let media = ports::free(4);
        let process = Process::start("sipp", "sipp", |command| {
            command.arg("-sf").arg(scenario).args(["-i", "127.0.0.1", "-p", &port.to_string()]);
            command.args(["-mp", &media.to_string(), "-rtp_echo", "-m", "1", "-nostdin", "-timeout", "60", "-f", "60"]);
            command.args(["-trace_msg", "-message_file", "messages", "-trace_err", "-error_file", "errors"]);
            command.args(options).current_dir(dir.path());
        });
        Self { process, dir }
    }

    /// Waits for the end of the scenario, in which nothing unexpected may have happened.
    pub(crate) fn succeeds(mut self) {
        let status = self.process.wait(PATIENCE);
        assert!(status.success(), "SIPp: {status}");
    }
}

fn read(scenario: &str) -> String {
    let path = format!("{}/tests/peers/sipp/{scenario}.xml", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Drop for Sipp {
    fn drop(&mut self) {
        for file in ["messages", "errors"] {
            let text = fs::read_to_string(self.dir.path().join(file)).unwrap_or_default();
            text.lines().for_each(|line| self.process.log().push(line.to_owned()));
        }
    }
}
