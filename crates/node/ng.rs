//! `stox relay`: the packet relay, driven by other people's signalling gateways through the ng protocol.
//!
//! ```text
//! udp, tcp, http ──> intake ──> Loop ──> calls <──> relay threads
//!    ^                 ^          │
//!    └─────────────────┴── reply ─┘
//! ```
//!
//! - [`listen`]: where requests are taken; `udp`, [`accept`], `tcp`, `http`: how
//! - [`intake`]: who may ask, cookies, encodings; [`peers`], [`rate`], [`counters`]
//! - [`control::calls`]: what is done
//! - [`statistics`]: what is told of all calls
//! - [`send`]: the other end, for the command line; [`explain`]: what would be done, in words

mod about;
mod accept;
mod counters;
pub(crate) mod explain;
mod http;
mod intake;
mod listen;
mod metrics;
mod peers;
mod rate;
pub(crate) mod send;
mod statistics;
mod tcp;
mod udp;

use std::collections::{HashMap, HashSet};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use control::calls::{Calls, Ticket};
use control::{Dictionary, Finding, Reply, Request};
use model::{FromRelay, ToRelay};
use netio::RelayThreads;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use self::about::About;
pub(crate) use self::accept::Tls;
use self::intake::{Asked, Intake, ReplyTo};
pub(crate) use self::listen::Listen;
use self::metrics::{Metrics, Sessions};
pub(crate) use self::peers::Prefix;
pub(crate) use self::rate::Rate;
use self::statistics::Looked;
use crate::config::{Imported, RelayConfig, RelayFlags};
use crate::gateway::{now, since_1970, until};
use crate::settings;

/// Findings that are remembered as told.
const MAX_TOLD: usize = 256;

/// Runs the relay until a signal ends it and no call is left, or a second one comes.
pub(crate) fn relay(flags: RelayFlags) -> ExitCode {
    let is_print = flags.print_config;
    let config = match flags.import_rtpengine_conf.clone() {
        None => RelayConfig::read(flags),
        Some(path) => Imported::read(&path).and_then(|imported| {
            imported.notes.iter().for_each(|note| eprintln!("{}: {note}", path.display()));
            if is_print {
                print!("{}", imported.toml);
            }
            RelayConfig::of(&imported, flags)
        }),
    };
    match config {
        Ok(_) if is_print => ExitCode::SUCCESS,
        Ok(config) => crate::serve(&config.log, crate::one_thread(), run(&config)),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

async fn run(config: &RelayConfig) -> anyhow::Result<()> {
    let stops = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Unbounded, because a worker must not wait: the relay owes one reply to each command and a few events to each call.
    let (relay_news, from_relay) = mpsc::unbounded_channel();
    let relay = RelayThreads::start(settings::relay(&config.relay, config.max_calls)?, move |news| {
        // Only after the end of the loop below is nobody left to tell.
        let _ = relay_news.send(news);
    })
    .context("relay")?;
    let relay = Arc::new(relay);
    let (intake, requests) = Intake::new(&config.ng);
    let metrics = Arc::new(Metrics::new(Arc::clone(&relay), Arc::clone(&intake), &config.relay));
    for listen in &config.ng.listen {
        listen
            .serve(&intake, &metrics, config.ng.tls.as_ref())
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        tracing::info!("taking requests on {listen}");
    }
    tracing::info!("ready");
    let (asking, told) = Default::default();
    let calls = Calls::new(settings::calls(config), now(), since_1970());
    let sessions = Arc::clone(metrics.sessions());
    let looked = Looked::at(&relay.counters().relay, now());
    Loop { calls, relay, sessions, asking, next: 0, told, looked }.run(requests, from_relay, stops).await;
    Ok(())
}

/// The one place where the calls are touched.
struct Loop {
    calls: Calls,
    relay: Arc<RelayThreads>,
    sessions: Arc<Sessions>,
    /// Who waits for a reply.
    asking: HashMap<Ticket, ReplyTo>,
    next: u64,
    /// What was odd about requests.
    told: HashSet<String>,
    /// What the relay had counted at the last request for statistics.
    looked: Looked,
}

impl Loop {
    async fn run(
        mut self,
        mut requests: mpsc::Receiver<Asked>,
        mut from_relay: mpsc::UnboundedReceiver<FromRelay>,
        (mut terminate, mut interrupt): (Signal, Signal),
    ) {
        let mut is_stopping = false;
        loop {
            self.drain();
            self.sessions.publish(&self.calls);
            if is_stopping && self.calls.is_empty() {
                break;
            }
            tokio::select! {
                Some(asked) = requests.recv() => self.handle_request(asked),
                Some(news) = from_relay.recv() => self.calls.handle_relay(news, now()),
                () = until(self.calls.poll_timeout()) => self.calls.handle_timeout(now()),
                _ = async { tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} } } => {
                    if is_stopping {
                        tracing::warn!("stopping at once");
                        break;
                    }
                    tracing::info!("stopping when the last call is over");
                    is_stopping = true;
                    self.calls.refuse_new();
                }
            }
        }
        self.relay.stop();
    }

    fn handle_request(&mut self, Asked { request, reply_to }: Asked) {
        let (action, findings) = Request::read_with_findings(&request);
        findings.iter().for_each(|finding| self.tell(finding, &reply_to));
        match action {
            Ok(action) => {
                let ticket = Ticket(self.next);
                self.next += 1;
                self.asking.insert(ticket, reply_to);
                self.calls.handle_request(ticket, Request { action, findings }, now());
            }
            Err(error) => reply_to.send(&Reply::error(&error.to_string())),
        }
    }

    /// Logs what is odd about a request; louder the first time, because a proxy's script says the same in every call.
    fn tell(&mut self, finding: &Finding, of: &ReplyTo) {
        let text = finding.to_string();
        let About { call_id, from_tag, to_tag } = of.about();
        let (call_id, from_tag, to_tag) = (call_id.as_deref(), from_tag.as_deref(), to_tag.as_deref());
        if self.told.len() < MAX_TOLD && self.told.insert(text.clone()) {
            tracing::warn!(peer = %of.peer(), command = of.command(), call_id, from_tag, to_tag, "{text}");
        } else {
            tracing::debug!(peer = %of.peer(), command = of.command(), call_id, from_tag, to_tag, "{text}");
        }
    }

    /// Carries out what the calls want.
    fn drain(&mut self) {
        while let Some(request) = self.calls.poll_command() {
            self.relay.send(ToRelay::Command(request));
        }
        while let Some((ticket, reply)) = self.calls.poll_reply() {
            let Some(reply_to) = self.asking.remove(&ticket) else { continue };
            let reply = if reply_to.command() == "statistics" { self.completed(&reply, &reply_to) } else { reply };
            reply_to.send(&reply);
        }
    }

    /// A reply to `statistics`, with what the calls do not know.
    fn completed(&mut self, reply: &Dictionary<'static>, reply_to: &ReplyTo) -> Dictionary<'static> {
        let looked = Looked::at(&self.relay.counters().relay, now());
        let before = std::mem::replace(&mut self.looked, looked);
        statistics::complete(reply, &before, &looked, &reply_to.counters().all_answered())
    }
}
