//! A user in a browser: headless Chromium with the page of `browser/`, driven by commands.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::log::{Log, PATIENCE};
use crate::page_server::PageServer;
use crate::process::Process;
use crate::prosody::Prosody;
use crate::temp_dir::TempDir;

/// Longer than the page takes to give up by itself, so that its own words reach the test.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// How the user's client sets up calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Setup {
    /// By session-initiate to a full JID at once (XEP-0166).
    Direct,
    /// By proposing them first (XEP-0353).
    Proposed,
}

/// One user, logged in.
pub(crate) struct Browser {
    page: PageServer,
    reports: Log,
    jid: String,
    setup: Setup,
    next_id: AtomicU64,
    _process: Process,
    _profile: TempDir,
}

impl Browser {
    pub(crate) fn log_in(prosody: &Prosody, user: &str, setup: Setup) -> Self {
        let reports = Log::new(user);
        let page = PageServer::start(script(), reports.clone());
        let profile = TempDir::new("browser");
        let process = Process::start(&format!("{user}'s browser"), "chromium", |command| {
            command
                .args(["--headless", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"])
                .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
                .args(["--mute-audio", "--autoplay-policy=no-user-gesture-required"])
                .args(["--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns"])
                .arg(format!("--user-data-dir={}", profile.path().display()))
                .env("HOME", profile.path())
                .env("TMPDIR", profile.path())
                .arg(page.url());
        });
        let mut browser = Self {
            page,
            reports,
            jid: String::new(),
            setup,
            next_id: AtomicU64::new(0),
            _process: process,
            _profile: profile,
        };
        let jid = browser.command(
            "login",
            json!({
                "jid": format!("{user}@localhost"), "password": format!("{user}pw"),
                "websocket": prosody.websocket(), "withJmi": setup == Setup::Proposed,
            }),
        );
        jid.as_str().expect("login answers with the JID").clone_into(&mut browser.jid);
        browser
    }

    /// The full JID that the server gave the user.
    pub(crate) fn jid(&self) -> &str {
        &self.jid
    }

    /// Calls `to`, with a tone of `frequency` as the user's voice.
    pub(crate) fn call(&self, to: &str, frequency: u32) {
        self.command("call", json!({ "to": to, "frequency": frequency }));
    }

    /// Calls `to` directly with a picture beside the voice.
    pub(crate) fn call_with_video(&self, to: &str, frequency: u32) {
        self.command("call", json!({ "to": to, "frequency": frequency, "video": true }));
    }

    /// Dials a number behind the gateway.
    pub(crate) fn dial(&self, number: &str, frequency: u32) {
        match self.setup {
            // The gateway's users have one resource, always the same.
            Setup::Direct => self.call(&format!("{number}@sip.localhost/sip"), frequency),
            Setup::Proposed => self.call(&format!("{number}@sip.localhost"), frequency),
        }
    }

    /// Takes the call that came in.
    pub(crate) fn accept(&self, frequency: u32) {
        self.command("accept", json!({ "frequency": frequency }));
    }

    /// Takes the call that came in, with a picture beside the voice.
    pub(crate) fn accept_with_video(&self, frequency: u32) {
        self.command("accept", json!({ "frequency": frequency, "video": true }));
    }

    /// Turns the camera on in a call without one.
    pub(crate) fn add_video(&self) {
        self.command("addVideo", json!({}));
    }

    /// Waits until the user has seen the other side's picture move.
    pub(crate) fn sees(&self) {
        self.command("see", json!({}));
    }

    /// Restarts ICE, as after a change of network.
    pub(crate) fn restart_ice(&self) {
        self.command("restartIce", json!({}));
    }

    /// Puts the call on hold.
    pub(crate) fn hold(&self) {
        self.command("hold", json!({}));
    }

    /// Takes the call up again.
    pub(crate) fn resume(&self) {
        self.command("resume", json!({}));
    }

    pub(crate) fn decline(&self) {
        self.command("decline", json!({}));
    }

    /// Ends the call, with the condition that the client gives as its reason.
    pub(crate) fn hang_up(&self, reason: &str) {
        self.command("hangUp", json!({ "reason": reason }));
    }

    /// Presses keys of the telephone during a call.
    pub(crate) fn press(&self, digits: &str) {
        self.command("press", json!({ "digits": digits }));
    }

    /// Waits until the user has clearly heard the other side's tone for a second.
    pub(crate) fn hears(&self, frequency: u32) {
        self.command("hear", json!({ "frequency": frequency }));
    }

    /// The state of DTLS and the names of the suites that the browser reports for the call.
    pub(crate) fn security(&self) -> Value {
        self.command("security", json!({}))
    }

    /// Sends a stanza as it stands.
    pub(crate) fn send(&self, xml: &str) {
        self.command("send", json!({ "xml": xml }));
    }

    /// Makes later waits look only at what happens from now on.
    pub(crate) fn forget_past(&self) {
        self.reports.mark();
    }

    /// Waits for something to happen at the user's side, such as `incoming` or `terminated`.
    pub(crate) fn event(&self, name: &str) -> Value {
        self.reports.wait_until(name, PATIENCE, |line| {
            serde_json::from_str::<Value>(line).ok().filter(|report| report["event"] == name)
        })
    }

    /// Waits for the end of the call, and checks the reason that the user was told.
    pub(crate) fn call_ended(&self, reason: &str) {
        assert_eq!(self.event("terminated")["reason"], reason);
    }

    /// Everything the page has reported, the stanzas among it.
    pub(crate) fn reports(&self) -> &Log {
        &self.reports
    }

    fn command(&self, command: &str, mut input: Value) -> Value {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        input["id"] = json!(id);
        input["command"] = json!(command);
        self.page.send(input.to_string());
        let answer = self.reports.wait_until(&format!("answer to {command}"), COMMAND_PATIENCE, |line| {
            serde_json::from_str::<Value>(line).ok().filter(|report| report["id"] == id)
        });
        assert!(answer["error"].is_null(), "{command}: {}", answer["error"].as_str().unwrap_or("no text"));
        answer["ok"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.reports.print_on_failure();
    }
}

/// The page's code, bundled once for all tests.
fn script() -> Arc<str> {
    static SCRIPT: LazyLock<Arc<str>> = LazyLock::new(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/browser");
        let bundle = Command::new(format!("{source}/node_modules/.bin/esbuild"))
            .args([
                "page.js",
                "--bundle",
                "--format=esm",
                "--target=chrome110",
                "--log-level=error",
                "--define:global=globalThis",
            ])
            .current_dir(source)
            .output()
            .expect("./tests/run has installed the browser's Jingle client");
        assert!(bundle.status.success(), "{}", String::from_utf8_lossy(&bundle.stderr));
        String::from_utf8(bundle.stdout).expect("JavaScript is UTF-8").into()
    });
    Arc::clone(&SCRIPT)
}
