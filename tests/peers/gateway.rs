//! The gateway under test: `stox run` with the smallest useful configuration, on free ports.

use std::process::ExitStatus;

use crate::log::{Log, PATIENCE};
use crate::ports;
use crate::process::Process;
use crate::prosody::Prosody;
use crate::temp_dir::TempDir;

/// How the gateway reaches the phones; the default is plain RTP and SIP over UDP.
#[derive(Clone, Copy)]
pub(crate) struct Trunk {
    /// Protection of the media: `rtp`, `sdes` or `dtls`.
    pub(crate) media: &'static str,
    /// `udp` or `tcp`.
    pub(crate) transport: &'static str,
    /// Whether the gateway registers with the trunk, as `gateway` with the password `s3cret`.
    pub(crate) register: bool,
    /// A proxy that stands before the phones, on this port: a provider's, at which the gateway registers as `100`.
    pub(crate) proxy: Option<u16>,
    /// Whether calls carry video.
    pub(crate) video: bool,
    /// How long a call may ring, where that is not the default.
    pub(crate) ring_timeout: Option<&'static str>,
}

impl Default for Trunk {
    fn default() -> Self {
        Self { media: "rtp", transport: "udp", register: false, proxy: None, video: false, ring_timeout: None }
    }
}

/// A running gateway between `sip.localhost` on Prosody and the phones behind one trunk.
pub(crate) struct Gateway {
    process: Process,
    sip: u16,
    phones: u16,
    desk: u16,
    _dir: TempDir,
}

impl Gateway {
    /// Starts the gateway and waits until the server has accepted it.
    pub(crate) fn start(prosody: &Prosody, trunk: Trunk) -> Self {
        let dir = TempDir::new("gateway");
        // baresip takes the port above its own as well.
        let (sip, phones, desk, relay) = (ports::free(1), ports::free(2), ports::free(2), ports::free(100));
        let config = dir.write("stox.toml", config(prosody, trunk, sip, [phones, desk], relay));
        let process = Process::start("stox", env!("CARGO_BIN_EXE_stox"), |command| {
            command.arg("run").arg("--config").arg(config).env("RUST_LOG", "debug");
        });
        let gateway = Self { process, sip, phones, desk, _dir: dir };
        gateway.wait_connected(prosody);
        gateway
    }

    /// Waits until the server has the gateway as its component, which it had not before the log's mark.
    pub(crate) fn wait_connected(&self, prosody: &Prosody) {
        prosody.log().wait_for("External component successfully authenticated");
    }

    /// What the gateway logs.
    pub(crate) fn log(&self) -> &Log {
        self.process.log()
    }

    /// Where the phones of the trunk are: the port of the first one.
    pub(crate) fn phones_port(&self) -> u16 {
        self.phones
    }

    /// Where the phone of another trunk is, which has the numbers that begin with 3.
    pub(crate) fn desk_port(&self) -> u16 {
        self.desk
    }

    /// Where the gateway listens for SIP.
    pub(crate) fn sip_port(&self) -> u16 {
        self.sip
    }

    /// The SIP address of an XMPP user behind the gateway.
    pub(crate) fn sip_uri(&self, user: &str) -> String {
        format!("sip:{user}@127.0.0.1:{}", self.sip)
    }

    /// Ends the gateway as a service manager does, and waits until it is gone.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.process.terminate();
        self.process.wait(PATIENCE)
    }
}

fn config(prosody: &Prosody, trunk: Trunk, sip: u16, [phones, desk]: [u16; 2], relay: u16) -> String {
    let component = prosody.component_port();
    let Trunk { media, transport, register, proxy, video, ring_timeout } = trunk;
    let ring_timeout = ring_timeout.map(|time| format!("ring_timeout = \"{time}\"")).unwrap_or_default();
    let relay_last = relay + 99;
    let (provider, account) = match proxy {
        Some(port) => (
            port,
            "username = \"100\"\npassword = \"change-me\"\nregister = true\ncaller = \"number\"\nnumber = \"100\""
                .to_owned(),
        ),
        None => (phones, format!("username = \"gateway\"\npassword = \"s3cret\"\nregister = {register}")),
    };
    format!(
        r#"
[xmpp]
component = "sip.localhost"
server = "127.0.0.1:{component}"
secret = "s3cret"
[sip]
listen = ["udp:127.0.0.1:{sip}", "tcp:127.0.0.1:{sip}"]
[sip.trunk.phones]
uri = "sip:127.0.0.1:{provider};transport={transport}"
media = "{media}"
{account}
[sip.trunk.desk]
uri = "sip:127.0.0.1:{desk};transport={transport}"
media = "{media}"
[relay]
addresses = [{{ bind = "127.0.0.1" }}]
ports = "{relay}-{relay_last}"
[call]
video = {video}
{ring_timeout}
[[route]]
from = "xmpp"
user = '(3[0-9]+)'
to = "trunk:desk/{{1}}"
[[route]]
from = "xmpp"
user = '(\+?[0-9]+)'
to = "trunk:phones/{{1}}"
[[route]]
from = "trunk:phones"
user = '100'
to = "xmpp:alice@localhost"
[[route]]
from = "trunk:phones"
user = '(.+)'
to = "xmpp:{{1}}@localhost"
"#
    )
}
