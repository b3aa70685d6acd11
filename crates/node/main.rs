//! The `stox` command: reads the configuration, starts the gateway, shows what it does.

mod check;
mod config;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Joins XMPP/Jingle and SIP, so that people call across the two worlds.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says in plain words what is wrong with a configuration and what this machine lacks for it.
    ///
    /// Exit code 0: it will work. 2: it will not.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = "/etc/stox/stox.toml")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check { config } => check::check(&config),
    }
}
