//! What one peer said, line by line, for a test to wait on and for a failed test to print.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for something to happen: longer than a SIP request waits for its response (RFC 3261 §17.1.1.2),
/// and generous, because two slow cores run many peers.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// The lines one peer has written, shared between the thread that reads them and the test that waits for them.
#[derive(Clone)]
pub(crate) struct Log {
    name: String,
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<(Duration, String)>,
    mark: usize,
    writers: usize,
}

impl Log {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), shared: Arc::default() }
    }

    /// Copies `source` into the log until it ends.
    pub(crate) fn follow(&self, source: impl Read + Send + 'static) {
        self.lock().writers += 1;
        let log = self.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                log.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
            log.lock().writers -= 1;
            log.shared.1.notify_all();
        });
    }

    pub(crate) fn push(&self, line: String) {
        self.lock().lines.push((uptime(), line));
        self.shared.1.notify_all();
    }

    /// Makes later waits look only at lines written from now on.
    pub(crate) fn mark(&self) {
        let mut lines = self.lock();
        lines.mark = lines.lines.len();
    }

    /// Waits for a line with `text` in it and returns the first one.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, PATIENCE, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Waits until `choose` takes one of the lines, and returns what it made of it; fails the test after `patience`.
    pub(crate) fn wait_until<T>(&self, what: &str, patience: Duration, choose: impl Fn(&str) -> Option<T>) -> T {
        let deadline = uptime() + patience;
        let mut lines = self.lock();
        loop {
            if let Some(chosen) = lines.lines[lines.mark..].iter().find_map(|(_, line)| choose(line)) {
                return chosen;
            }
            let left = deadline.saturating_sub(uptime());
            if left.is_zero() {
                drop(lines);
                panic!("{}: no {what} within {patience:?}", self.name);
            }
            lines = self.shared.1.wait_timeout(lines, left).expect("no thread panics while it holds the lines").0;
        }
    }

    /// Whether a line with `text` has been written since the mark.
    pub(crate) fn has(&self, text: &str) -> bool {
        let lines = self.lock();
        lines.lines[lines.mark..].iter().any(|(_, line)| line.contains(text))
    }

    /// How many lines with `text` have been written since the mark.
    pub(crate) fn count(&self, text: &str) -> usize {
        let lines = self.lock();
        lines.lines[lines.mark..].iter().filter(|(_, line)| line.contains(text)).count()
    }

    /// Waits until nobody writes to the log any more; false after `patience`.
    pub(crate) fn wait_closed(&self, patience: Duration) -> bool {
        let deadline = uptime() + patience;
        let mut lines = self.lock();
        while lines.writers > 0 {
            let left = deadline.saturating_sub(uptime());
            if left.is_zero() {
                return false;
            }
            lines = self.shared.1.wait_timeout(lines, left).expect("no thread panics while it holds the lines").0;
        }
        true
    }

    /// Prints the log if the test is failing.
    pub(crate) fn print_on_failure(&self) {
        if thread::panicking() {
            eprintln!("---- {}", self.name);
            for (at, line) in &self.lock().lines {
                eprintln!("{:9.3} {line}", at.as_secs_f64());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.shared.0.lock().expect("no thread panics while it holds the lines")
    }
}

/// Time since the first call, so that the logs of all peers of a test can be read side by side.
fn uptime() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(now);
    now().duration_since(*START)
}

/// Waits a little before something is looked at again which gives no sign when it changes.
#[expect(clippy::disallowed_methods, reason = "real peers live in real time")]
pub(crate) fn pause() {
    thread::sleep(Duration::from_millis(100));
}

#[expect(clippy::disallowed_methods, reason = "real peers live in real time")]
fn now() -> Instant {
    Instant::now()
}
