//! `stox load`: compares what two runs of the load generator found.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use load::trial::Report;
use load::trial::compare::Comparison;

use crate::relay_process;

/// What is done with load.
#[derive(clap::Subcommand)]
pub(crate) enum Load {
    /// Shows two reports (of --json) side by side, and says which differences are more than noise.
    ///
    /// Exit code 0: they were compared. 2: a report cannot be read.
    Compare {
        /// The report to compare with.
        #[arg(value_name = "A.json")]
        a: PathBuf,
        /// The report that is compared.
        #[arg(value_name = "B.json")]
        b: PathBuf,
    },
    /// Is the relay under test, for the target `channel`.
    #[command(hide = true)]
    RelayProcess(relay_process::Arguments),
}

impl Load {
    /// Does it. The exit code is as the help says.
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Compare { a, b } => compare(&a, &b),
            Self::RelayProcess(arguments) => relay_process::run(&arguments),
        }
    }
}

/// Shows two reports side by side.
fn compare(a: &Path, b: &Path) -> ExitCode {
    let reports = read(a).and_then(|of_a| Ok((of_a, read(b)?)));
    let (of_a, of_b) = match reports {
        Ok(reports) => reports,
        Err(error) => return refuse(format_args!("{error:#}")),
    };
    for (name, path, report) in [("A", a, &of_a), ("B", b, &of_b)] {
        println!("{name} is {}: {}: {}", path.display(), report.plan.target, report.plan);
    }
    print!("\n{}", Comparison::of(&of_a, &of_b));
    ExitCode::SUCCESS
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Report::from_json(&text).with_context(|| format!("{} is no report of stox load relay", path.display()))
}

/// Says why something is not done.
fn refuse(why: impl Display) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(2)
}
