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
        let told = |error| format!("{}: {error}", path.display());
        let config = Config::read(path).map_err(told)?;
        let translator = settings::translator(&config).map_err(told)?;
        let verdict = signaling::route_test::route_test(&translator, from, to, trunk.as_deref())?;
        Ok::<_, String>((verdict, config.routes))
    };
    match read() {
        Ok((verdict, rows)) => {
            print!("{verdict}");
            if let Some(row) = verdict.row.and_then(|row| rows.get(row - 1)) {
                println!("{:<20}from = {:?}, user = '{}', to = {:?}", "route says", row.from, row.user, row.to);
            }
            if verdict.made { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}
