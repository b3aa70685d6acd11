//! `stox route-test`: which row of the address table is for a call, and what each side will see of it.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Config;
use crate::settings;

/// What to look up.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Who calls: a JID, or a sip: or tel: URI.
    from: String,
    /// Who is called: a JID of the component; where the caller is on the SIP side, the Request-URI.
    to: String,
    /// The trunk that a call from the SIP side comes by; it is nobody's if left out.
    #[arg(long)]
    trunk: Option<String>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/stox/stox.toml")]
    config: PathBuf,
}

/// Says what becomes of a call, without making it.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Arguments { from, to, trunk, config: path } = arguments;
    let read = || {
        let config = Config::read(path).and_then(|config| settings::translator(&config));
        let config = config.map_err(|error| format!("{}: {error}", path.display()))?;
        signaling::route_test::route_test(&config, from, to, trunk.as_deref())
    };
    match read() {
        Ok(verdict) => {
            print!("{verdict}");
            if verdict.made { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}
