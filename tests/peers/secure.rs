//! Requests to `stox relay` over TLS, by clients that know nothing of it: curl and OpenSSL.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::ports;
use crate::process::Process;
use crate::temp_dir::TempDir;

/// Where certificates are: for 127.0.0.1, by an authority of their own.
pub(crate) fn certificates(name: &str) -> String {
    format!("{}/crates/sip/tests/agent/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// `stox relay` over TLS alone.
struct Relay {
    _process: Process,
    _dir: TempDir,
    tls: u16,
    https: u16,
}

impl Relay {
    fn start() -> Self {
        let (dir, tls, https) = (TempDir::new("secure"), ports::free(1), ports::free(1));
        let (certificate, key) = (certificates("certificate.pem"), certificates("key.pem"));
        let config = format!(
            r#"
[relay]
addresses = [{{ bind = "127.0.0.1" }}]
workers = 1
[ng]
listen = ["tls:127.0.0.1:{tls}", "https:127.0.0.1:{https}"]
tls = {{ certificate = "{certificate}", key = "{key}" }}
token = "s3cret"
"#
        );
        let config = dir.write("stox.toml", config);
        let process = Process::start("stox", env!("CARGO_BIN_EXE_stox"), |command| {
            command.arg("relay").arg("--config").arg(config);
        });
        process.log().wait_for("ready");
        Self { _process: process, _dir: dir, tls, https }
    }

    /// What curl prints, or with which code it fails.
    fn curl(&self, path: &str, words: &[&str]) -> Result<String, i32> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--fail", "--max-time", "10"]).args(words);
        let output = command.arg(format!("https://127.0.0.1:{}{path}", self.https)).output();
        let output = output.unwrap_or_else(|error| panic!("cannot start curl: {error}"));
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(output.status.code().expect("nobody kills it"))
        }
    }

    /// What the relay says to messages until it closes the connection.
    fn openssl(&self, messages: &str) -> String {
        let mut child = Command::new("timeout")
            .args(["10", "openssl", "s_client", "-quiet", "-verify_return_error"])
            .args(["-CAfile", &certificates("authority.pem"), "-connect", &format!("127.0.0.1:{}", self.tls)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start openssl: {error}"));
        let mut stdin = child.stdin.take().expect("it was asked for as a pipe");
        stdin.write_all(messages.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("a child can be waited for");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
#[ignore = "needs curl and OpenSSL"]
fn requests_may_come_over_tls() {
    let relay = Relay::start();
    // Nobody waits for a handshake of somebody else.
    let _silent = [relay.tls, relay.https].map(|port| TcpStream::connect(("127.0.0.1", port)).expect("it listens"));
    let authority = certificates("authority.pem");
    let known = ["--cacert", &authority];
    let ping = ["-H", "Content-Type: application/json", "-d", r#"{"command":"ping"}"#];
    let token = ["-H", "Authorization: Bearer s3cret"];
    let pong = relay.curl("/ng-plain", &[&known[..], &ping, &token].concat());
    assert_eq!(pong.as_deref(), Ok(r#"{"result":"pong"}"#));
    const REFUSED: i32 = 22;
    assert_eq!(relay.curl("/ng-plain", &[&known[..], &ping].concat()), Err(REFUSED), "there is a token");
    const UNKNOWN_AUTHORITY: i32 = 60;
    assert_eq!(relay.curl("/ping", &[]), Err(UNKNOWN_AUTHORITY));

    // A message without a cookie ends a connection.
    let said = relay.openssl(r#"1 {"command":"ping","token":"s3cret"}2 {"command":"ping"} "#);
    assert_eq!(said, r#"1 {"result":"pong"}2 {"result":"pong"}"#);
    let refused = relay.openssl(r#"1 {"command":"ping"}"#);
    assert!(refused.starts_with("1 {\"error-reason\"") && refused.contains("token"), "{refused}");

    let mut in_clear = TcpStream::connect(("127.0.0.1", relay.tls)).expect("it listens");
    in_clear.write_all(b"1 d7:command4:pinge").expect("it reads");
    let mut alert = Vec::new();
    // It may be torn down.
    let _ = in_clear.read_to_end(&mut alert);
    let metrics = relay.curl("/metrics", &[&known[..], &token].concat()).expect("there are metrics");
    // curl broke off one, because it does not know the authority.
    assert!(metrics.contains("stox_ng_dropped_total{reason=\"handshake\"} 2"), "{metrics}");
}
