//! What the demonstration shows: lines, and a table that is drawn anew in place where the output is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use load::endpoint::Status;
use tokio::time::Instant;

/// One leg.
pub(crate) struct Row {
    /// Which.
    pub(crate) leg: &'static str,
    /// Where it is.
    pub(crate) state: String,
    /// What protects it.
    pub(crate) security: String,
    /// Its figures, as its end sees them.
    pub(crate) status: Status,
}

/// Standard output.
pub(crate) struct Screen {
    terminal: bool,
    /// Lines of the table that stands above the cursor.
    drawn: usize,
    /// When plain output shows the table again.
    next_plain: Instant,
}

impl Screen {
    /// Looks at where the output goes.
    pub(crate) fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), drawn: 0, next_plain: Instant::now() }
    }

    /// Writes a line below all that is there.
    pub(crate) fn line(&mut self, text: &str) {
        self.leave_table();
        println!("{text}");
    }

    /// Draws the table: on a terminal in the place of the last one, elsewhere once a second.
    pub(crate) fn table(&mut self, rows: impl Iterator<Item = Row>) {
        if !self.terminal && Instant::now() < self.next_plain {
            return;
        }
        self.next_plain = Instant::now() + Duration::from_secs(1);
        let mut text = String::new();
        if self.terminal && self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        let mut lines = 0;
        let header = ["leg", "state", "security", "sent", "received", "lost", "jitter", "hears"].map(str::to_owned);
        for cells in std::iter::once(header).chain(rows.map(cells)) {
            let [leg, state, security, sent, received, lost, jitter, hears] = cells;
            let clear = if self.terminal { "\x1b[2K" } else { "" };
            text.push_str(&format!(
                "{clear}  {leg:<7} {state:<16} {security:<38} {sent:>6} {received:>8} {lost:>5} {jitter:>8} {hears:>7}\n"
            ));
            lines += 1;
        }
        self.drawn = if self.terminal { lines } else { 0 };
        print!("{text}");
        // A screen that is gone shows nothing; the calls go on.
        let _ = io::stdout().flush();
    }

    /// Leaves the table as it stands; the next one is drawn below.
    pub(crate) fn leave_table(&mut self) {
        self.drawn = 0;
        self.next_plain = Instant::now();
    }
}

fn cells(Row { leg, state, security, status }: Row) -> [String; 8] {
    [
        leg.to_owned(),
        state,
        security,
        status.packets_sent.to_string(),
        status.packets_received.to_string(),
        status.packets_lost.to_string(),
        format!("{:.1} ms", status.jitter_ms),
        status.heard.map_or_else(|| "nothing".to_owned(), |heard| format!("{heard:.0} Hz")),
    ]
}
