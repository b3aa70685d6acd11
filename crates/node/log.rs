//! What is logged goes to standard error, a line each, with the call's id on every line about a call.

use std::io;

use signaling::LogLine;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::Log;

/// Below warnings the SIP stack logs whole messages, with the SRTP keys and digests in them, and the ICE checklist its
/// credentials.
const KEEPERS_OF_KEYS: [&str; 2] = ["rsipstack", "is"];

/// Starts logging. `RUST_LOG`, where it is set, overrules the configuration.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&log.level));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if log.json {
        lines.json().boxed()
    } else {
        lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed()
    };
    tracing_subscriber::registry().with(filter).with(lines.with_filter(filter_fn(may_be_shown))).init();
}

/// Says whether a line cannot hold a secret, whatever the configuration asks for.
fn may_be_shown(line: &Metadata<'_>) -> bool {
    let crate_name = line.target().split("::").next().unwrap_or_default();
    *line.level() <= Level::WARN || !KEEPERS_OF_KEYS.contains(&crate_name)
}

/// Logs a line of the translator's.
pub(crate) fn line(line: &LogLine) {
    // tracing wants the level where the line stands.
    macro_rules! at {
        ($level:expr) => {
            match line.call {
                Some(call) => tracing::event!(target: "signaling", $level, %call, "{}", line.text),
                None => tracing::event!(target: "signaling", $level, "{}", line.text),
            }
        };
    }
    match line.level {
        Level::ERROR => at!(Level::ERROR),
        Level::WARN => at!(Level::WARN),
        Level::INFO => at!(Level::INFO),
        Level::DEBUG => at!(Level::DEBUG),
        Level::TRACE => at!(Level::TRACE),
    }
}
