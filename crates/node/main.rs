//! The `stox` command: reads the configuration, starts the gateway, shows what it does.

mod check;
mod config;
mod demo;
mod gateway;
mod http;
mod load;
mod log;
mod metrics;
mod ng;
mod records;
mod relay_process;
mod route_test;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::config::Config;

/// Joins XMPP/Jingle and SIP, so that people call across the two worlds.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway: signalling translator and media relay.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = "/etc/stox/stox.toml")]
        config: PathBuf,
    },
    /// Runs the media relay alone, driven by other people's signalling gateways through the ng protocol.
    Relay(config::RelayFlags),
    /// Makes a call in each direction on this machine, and proves that both ends heard each other.
    ///
    /// It needs no root, no configuration and no other software. Exit code 0: both calls went well. 1: a step failed.
    Demo {
        /// Keeps the second call up until Ctrl-C.
        #[arg(long)]
        hold: bool,
    },
    /// Says in plain words what is wrong with a configuration and what this machine lacks for it.
    ///
    /// A file without `[xmpp]`, `[sip]` and routes is one for `stox relay`.
    ///
    /// Exit code 0: it will work. 2: it will not.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = "/etc/stox/stox.toml")]
        config: PathBuf,
    },
    /// Says which route a call would take, and what each side would see of it. No call is made.
    ///
    /// Exit code 0: it would be made. 1: it would be refused. 2: the configuration or an address cannot be read.
    RouteTest(route_test::Arguments),
    /// Speaks to a relay by the ng protocol.
    #[command(subcommand)]
    Ng(Ng),
    /// Measures a packet relay, stox's own or another: what it forwards, loses, delays and costs.
    #[command(subcommand)]
    Load(load::Load),
}

#[derive(Subcommand)]
enum Ng {
    /// Sends one request, and prints the reply.
    ///
    /// Exit code 0: it was done. 1: it was not, or nobody answered.
    Send(ng::send::Arguments),
    /// Says in words what a relay does with flags, or with a request, and what is wrong with them. Nothing is sent.
    ///
    /// Exit code 0: all is understood, and done. 1: something contradicts itself, is unknown or has no effect, or the
    /// request would be refused. 2: it cannot be read.
    Explain(ng::explain::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Relay(flags) => ng::relay(flags),
        Command::Demo { hold } => demo::demo(hold),
        Command::Check { config } => check::check(&config),
        Command::RouteTest(arguments) => route_test::run(&arguments),
        Command::Ng(Ng::Send(arguments)) => ng::send::send(&arguments),
        Command::Ng(Ng::Explain(arguments)) => ng::explain::run(&arguments),
        Command::Load(command) => command.run(),
    }
}

/// Runs the gateway until a signal ends it.
fn run(path: &std::path::Path) -> ExitCode {
    let config = match Config::read(path) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    serve(&config.log.clone(), two_threads(), gateway::run(config))
}

/// Runs what serves until a signal ends it.
fn serve(log: &config::Log, runtime: Runtime, service: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    log::start(log);
    if let Err(error) = netio::raise_open_files() {
        tracing::warn!("the number of open files stays as it is: {error}");
    }
    match runtime.block_on(service) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The runtime of a signalling side with more to do than one thread can. Media has threads of its own.
fn two_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .thread_name("signaling")
        .build()
        .expect("a process may have three threads")
}

/// The runtime of a signalling side in which one thing leads to the next: no request waits for another thread to wake.
fn one_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a process may wait for its sockets")
}
