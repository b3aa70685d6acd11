//! What a trial shows while it runs, on standard error: a bar with live figures on a terminal, elsewhere a line each
//! second.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use load::trial::Snapshot;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Standard error.
pub(crate) enum Screen {
    /// A terminal.
    Bar(ProgressBar),
    /// Anything else.
    Lines {
        /// When the next line is due, by the trial's own time.
        next: Duration,
    },
}

impl Screen {
    /// Looks at what standard error is.
    pub(crate) fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines { next: Duration::ZERO };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        bar.set_style(style("{prefix}  {spinner}\n{msg}"));
        Self::Bar(bar)
    }

    /// Shows how a trial is.
    pub(crate) fn show(&mut self, snapshot: &Snapshot) {
        match self {
            Self::Bar(bar) => draw(bar, snapshot),
            Self::Lines { next } => {
                if snapshot.elapsed >= *next {
                    *next = snapshot.elapsed + LINE_EVERY;
                    eprintln!("{:>6.1} s  {}: {snapshot}", snapshot.elapsed.as_secs_f64(), snapshot.phase);
                }
            }
        }
    }

    /// Says something beside the figures.
    pub(crate) fn say(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.println(text),
            Self::Lines { .. } => eprintln!("{text}"),
        }
    }

    /// Leaves the terminal as it was.
    pub(crate) fn leave(self) {
        match self {
            Self::Bar(bar) => bar.finish_and_clear(),
            Self::Lines { .. } => {}
        }
    }
}

fn draw(bar: &ProgressBar, snapshot: &Snapshot) {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if let Some(total) = snapshot.total
        && bar.length().is_none()
    {
        bar.set_length(milliseconds(total).max(1));
        bar.set_style(style("{prefix}  [{wide_bar}] {percent:>3} %\n{msg}").progress_chars("=> "));
    }
    bar.set_prefix(format!("{:>6.1} s  {}", snapshot.elapsed.as_secs_f64(), snapshot.phase));
    bar.set_message(format!("  {snapshot}"));
    bar.set_position(milliseconds(snapshot.elapsed));
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("our own templates are well formed")
}
