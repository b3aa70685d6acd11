//! What the demonstration shows: lines, and a table that is drawn anew in place where the output is a terminal.

use std::io::{self, IsTerminal, Write};
use std::iter;
use std::time::Duration;

use load::endpoint::Status;
use model::{DtlsState, IceState};
use tokio::time::Instant;

/// One leg.
pub(crate) struct Row {
    /// Which.
    pub(crate) leg: &'static str,
    /// What protects it, less the suite.
    pub(crate) security: &'static str,
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

    /// Draws the table: on a terminal in the place of the last one, elsewhere a new one each second.
    pub(crate) fn table(&mut self, rows: impl Iterator<Item = Row>) {
        if !self.terminal && Instant::now() < self.next_plain {
            return;
        }
        self.next_plain = Instant::now() + Duration::from_secs(1);
        let mut text = String::new();
        if self.terminal && self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        let clear = if self.terminal { "\x1b[2K" } else { "" };
        let header = ["leg", "state", "security", "sent", "recv", "lost", "jitter", "hears"].map(str::to_owned);
        self.drawn = 0;
        for [leg, state, security, sent, received, lost, jitter, hears] in iter::once(header).chain(rows.map(cells)) {
            text.push_str(&format!(
                "{clear}  {leg:<7}{state:<13}{security:<23}{sent:>6}{received:>6}{lost:>5}{jitter:>9}{hears:>8}\n"
            ));
            self.drawn += 1;
        }
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

fn cells(Row { leg, security, status }: Row) -> [String; 8] {
    let suite = status.suite.map(|suite| format!(" {}", suite.as_str())).unwrap_or_default();
    [
        leg.to_owned(),
        state(status).to_owned(),
        format!("{security}{suite}"),
        status.packets_sent.to_string(),
        status.packets_received.to_string(),
        status.packets_lost.to_string(),
        format!("{:.1} ms", status.jitter_ms),
        status.heard.map_or_else(|| "nothing".to_owned(), |heard| format!("{heard:.0} Hz")),
    ]
}

/// Where the leg is: ICE comes before DTLS.
const fn state(status: Status) -> &'static str {
    match (status.ice, status.dtls) {
        (Some(IceState::Checking), _) => "checking",
        (Some(IceState::Disconnected), _) => "disconnected",
        (Some(IceState::Failed), _) | (_, Some(DtlsState::Failed)) => "failed",
        (_, Some(DtlsState::Handshaking)) => "handshaking",
        (_, Some(DtlsState::Closed)) => "closed",
        (Some(IceState::Connected) | None, Some(DtlsState::Connected { .. }) | None) => "connected",
    }
}
