//! What is logged goes to standard error, a line each, with the call's id on every line about a call.

use signaling::LogLine;
use tracing::Level;
use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Below these levels the SIP stack logs whole messages, with the SRTP keys and digests in them, and the ICE checklist
/// its credentials.
const KEEPERS_OF_KEYS: [&str; 2] = ["rsipstack=warn", "is=warn"];

/// Starts logging. `RUST_LOG`, where it is set, overrules the configuration.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&log.level));
    let filter = KEEPERS_OF_KEYS
        .iter()
        .fold(filter, |filter, quiet| filter.add_directive(quiet.parse().expect("the constants are directives")));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if log.json {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
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
