//! The XMPP server: Prosody with accounts for `alice` and `bob`, and a component for the gateway.

use crate::log::Log;
use crate::ports;
use crate::process::Process;
use crate::temp_dir::TempDir;

const CONFIG: &str = include_str!("prosody.cfg.lua");

/// A running Prosody; it serves `localhost`, and `sip.localhost` as a component with the secret `s3cret`.
pub(crate) struct Prosody {
    process: Process,
    dir: TempDir,
    http: u16,
    component: u16,
}

impl Prosody {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new("prosody");
        let (http, component) = (ports::free(1), ports::free(1));
        for user in ["alice", "bob"] {
            dir.write(&format!("data/localhost/accounts/{user}.dat"), format!("return {{ password = \"{user}pw\" }};"));
        }
        let config = CONFIG
            .replace("@DIR@", dir.path().to_str().expect("a plain path"))
            .replace("@HTTP@", &http.to_string())
            .replace("@COMPONENT@", &component.to_string());
        dir.write("prosody.cfg.lua", config);
        Self { process: run(&dir), dir, http, component }
    }

    /// Lets `contact` see when `user` comes and goes, and the other way round, as after an accepted subscription.
    pub(crate) fn befriend(&self, user: &str, contact: &str) {
        let roster = format!("return {{ [\"{contact}\"] = {{ subscription = \"both\", groups = {{}} }} }};");
        self.dir.write(&format!("data/localhost/roster/{user}.dat"), roster);
    }

    /// Stops the server as an operator would, and starts it again on the same ports.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Starts the server that was stopped.
    pub(crate) fn start_again(&mut self) {
        self.process = run(&self.dir);
    }

    /// Stops the server as an operator would.
    pub(crate) fn stop(&mut self) {
        self.process.terminate();
        self.process.wait(crate::log::PATIENCE);
    }

    pub(crate) fn websocket(&self) -> String {
        format!("ws://127.0.0.1:{}/xmpp-websocket", self.http)
    }

    pub(crate) fn component_port(&self) -> u16 {
        self.component
    }

    pub(crate) fn log(&self) -> &Log {
        self.process.log()
    }
}

fn run(dir: &TempDir) -> Process {
    let process = Process::start("prosody", "prosody", |command| {
        command.arg("-F").arg("--config").arg(dir.path().join("prosody.cfg.lua"));
    });
    process.log().wait_for("Activated service 'http'");
    process.log().wait_for("Activated service 'component'");
    process
}
