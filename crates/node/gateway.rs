//! The gateway: the translator's shell. Joins the component stream, the SIP user agent and the relay around it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use model::FromRelay;
use netio::RelayThreads;
use signaling::{Action, Translator};
use sip::agent::Agent;
use sip::message::{FromAgent, ToAgent};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use xmpp::component::{Component, Event};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::records::Recorder;
use crate::{http, settings};

/// How long the SIP agent may take to say goodbye to what the translator did not end: registrations.
const STOP_AGENT: Duration = Duration::from_secs(2);

/// A running gateway.
pub(crate) struct Gateway {
    agent: Agent,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    /// Has the file of records opened anew, because it was moved away.
    reopen_records: Box<dyn Fn() + Send>,
}

/// Runs the gateway until SIGTERM or SIGINT, then ends its calls properly.
///
/// # Errors
///
/// Something it needs is not to be had.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut hang_up = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    let gateway = start(config).await?;
    for listen in gateway.sip_addresses() {
        tracing::info!(transport = ?listen.transport, address = %listen.address, "taking calls from SIP");
    }
    loop {
        tokio::select! {
            _ = hang_up.recv() => (gateway.reopen_records)(),
            _ = terminate.recv() => break,
            result = tokio::signal::ctrl_c() => break result?,
        }
    }
    tracing::info!("stopping");
    gateway.stop().await;
    Ok(())
}

/// Starts the gateway on the current runtime. The XMPP server need not be there yet: the component keeps trying.
///
/// # Errors
///
/// An address cannot be listened on, or a certificate cannot be read.
pub(crate) async fn start(config: Config) -> anyhow::Result<Gateway> {
    let clock = Some((now(), SystemTime::UNIX_EPOCH + since_1970()));
    let translator = signaling::Config { clock, ..settings::translator(&config)? };
    let translator = Translator::new(translator, Box::new(random));
    // Unbounded, because a worker must not wait: the relay owes one reply to each command and a few events to each call.
    let (relay_news, from_relay) = mpsc::unbounded_channel();
    let relay = RelayThreads::start(settings::relay(&config.relay, config.call.max_calls)?, move |news| {
        // Only after the end of the loop below is nobody left to tell.
        let _ = relay_news.send(news);
    })
    .context("relay")?;
    let relay = Arc::new(relay);
    let (agent, to_agent, from_agent) = Agent::start(settings::agent(&config)).await?;
    let (component, from_component) = Component::start(settings::component(&config));
    let recorder = Recorder::start(&config.records)?;
    let sip = (agent.counters(), agent.trunks());
    let metrics = Arc::new(Metrics::new(Arc::clone(&relay), component.clone(), sip, recorder.counters()));
    if let Some(address) = config.http {
        http::serve(address, Arc::clone(&metrics)).await?;
    }
    let (stop, stopped) = oneshot::channel();
    let reopen_records = Box::new(recorder.reopener());
    let gateway = Loop {
        translator,
        relay,
        component,
        to_agent,
        waiting_for_agent: VecDeque::new(),
        metrics,
        recorder,
        stop_timeout: config.call.stop_timeout,
    };
    let task = tokio::spawn(gateway.run(from_component, from_agent, from_relay, stopped));
    Ok(Gateway { agent, stop, task, reopen_records })
}

impl Gateway {
    /// Where the SIP agent listens.
    pub(crate) fn sip_addresses(&self) -> &[sip::agent::Listen] {
        self.agent.addresses()
    }

    /// Ends all calls, waits for both sides within `call.stop_timeout`, and lets go of everything.
    pub(crate) async fn stop(self) {
        // The file of records is closed when nobody is left who could have it opened anew.
        drop(self.reopen_records);
        // Both fail only where the loop has ended already.
        let _ = self.stop.send(());
        let _ = self.task.await;
        self.agent.stop(STOP_AGENT).await;
    }
}

/// The one place where the translator is called.
struct Loop {
    translator: Translator,
    relay: Arc<RelayThreads>,
    component: Component,
    to_agent: mpsc::Sender<ToAgent>,
    /// What the agent has not taken yet. The loop never waits for it, because it may be waiting for the loop.
    waiting_for_agent: VecDeque<ToAgent>,
    metrics: Arc<Metrics>,
    recorder: Recorder,
    stop_timeout: Duration,
}

impl Loop {
    async fn run(
        mut self,
        mut from_component: mpsc::Receiver<Event>,
        mut from_agent: mpsc::Receiver<FromAgent>,
        mut from_relay: mpsc::UnboundedReceiver<FromRelay>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut give_up_at: Option<Instant> = None;
        loop {
            self.drain();
            self.metrics.publish(self.translator.counters());
            let is_over =
                self.translator.is_idle() && !self.translator.owes_records() && self.waiting_for_agent.is_empty();
            if give_up_at.is_some_and(|at| is_over || at <= now()) {
                break;
            }
            let timeout = [self.translator.poll_timeout(), give_up_at].into_iter().flatten().min();
            tokio::select! {
                Some(event) = from_component.recv() => match event {
                    Event::Connected => self.translator.handle_xmpp_link(true, now()),
                    Event::Disconnected(_) => self.translator.handle_xmpp_link(false, now()),
                    Event::Stanza(stanza) => self.translator.handle_stanza(*stanza, now()),
                },
                Some(event) = from_agent.recv() => self.translator.handle_sip(event, now()),
                Some(news) = from_relay.recv() => self.translator.handle_relay(news, now()),
                Ok(permit) = self.to_agent.reserve(), if !self.waiting_for_agent.is_empty() => {
                    if let Some(request) = self.waiting_for_agent.pop_front() {
                        permit.send(request);
                    }
                }
                () = until(timeout) => self.translator.handle_timeout(now()),
                _ = &mut stopped, if give_up_at.is_none() => {
                    self.translator.stop(now());
                    give_up_at = Some(now() + self.stop_timeout);
                }
            }
        }
        self.component.stop().await;
        self.relay.stop();
        self.recorder.stop().await;
    }

    /// Carries out what the translator wants.
    fn drain(&mut self) {
        while let Some(action) = self.translator.poll_action() {
            match action {
                Action::Stanza(stanza) => {
                    if let Err(error) = self.component.send(&stanza) {
                        tracing::warn!(to = %stanza.to, "stanza not sent: {error}");
                    }
                }
                Action::Sip(request) => self.waiting_for_agent.push_back(request),
                Action::Relay(command) => self.relay.send(command),
                Action::Log(line) => crate::log::line(&line),
                Action::Record(record) => self.recorder.record(&record, (now(), since_1970())),
            }
        }
    }
}

/// Waits until a time, or for ever.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// The system's random numbers.
fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("Linux always gives random bytes once it has booted");
}

#[allow(clippy::disallowed_methods, reason = "this is the shell in which the signalling side reads its clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "this is the shell in which the signalling side reads its clock")]
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
