//! What is logged goes to standard error, a line each, with the call's id on every line about a call.

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Starts logging. `RUST_LOG`, where it is set, overrules the configuration.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&log.level));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if log.json {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}
