//! What is logged goes to standard error, a line each, with the call's id on every line about a call.

use signaling::LogLine;
use tracing::Level;
use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// The SIP stack logs whole messages below this level, with the SRTP keys and digests in them.
const SIP_STACK: &str = "rsipstack=warn";

/// Starts logging. `RUST_LOG`, where it is set, overrules the configuration.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&log.level));
    let filter = filter.add_directive(SIP_STACK.parse().expect("a directive"));
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
