//! Records of calls: one line of JSON for each, into a file, and to whoever wants it over HTTP.
//!
//! Both have a thread of their own and a queue of limited length, so that neither a full disk nor a slow peer is waited
//! for by a call; what finds no room is counted as dropped. `deploy/records.md` has every field.

mod json;
mod post;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use signaling::Record;

pub(crate) use self::post::Url;

/// Records that wait for the disk, or for the peer; as many calls may end at once.
const QUEUE: usize = 4096;
/// How long the last records may take once the gateway stops.
const STOP: Duration = Duration::from_secs(2);

/// Where records go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Settings {
    /// Appended to.
    pub(crate) file: Option<PathBuf>,
    /// Each is posted there.
    pub(crate) url: Option<Url>,
}

/// What became of records.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    written: AtomicU64,
    not_written: AtomicU64,
    posted: AtomicU64,
    retried: AtomicU64,
    not_posted: AtomicU64,
    dropped: AtomicU64,
}

/// Writes records down.
pub(crate) struct Recorder {
    file: Option<Worker<Line>>,
    post: Option<Worker<String>>,
    counters: Arc<Counters>,
}

struct Worker<T> {
    queue: SyncSender<T>,
    thread: JoinHandle<()>,
}

/// What the file's thread gets.
enum Line {
    Record(String),
    /// The file was moved away: the next record goes into a new one.
    Reopen,
}

impl Recorder {
    /// Starts what the settings ask for.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub(crate) fn start(settings: &Settings) -> anyhow::Result<Self> {
        let counters = Arc::<Counters>::default();
        let file = settings.file.as_ref().map(|path| -> anyhow::Result<_> {
            let file = open(path).with_context(|| format!("records.file {}", path.display()))?;
            let (path, counters) = (path.clone(), Arc::clone(&counters));
            Worker::start("records", move |lines| write(file, &path, &lines, &counters)).context("a thread for records")
        });
        let post = settings.url.clone().map(|url| {
            let counters = Arc::clone(&counters);
            Worker::start("records-http", move |lines| post::run(&url, &lines, &counters))
                .context("a thread for records")
        });
        Ok(Self { file: file.transpose()?, post: post.transpose()?, counters })
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Puts a call on record.
    pub(crate) fn record(&self, record: &Record, now: (Instant, Duration)) {
        if self.file.is_none() && self.post.is_none() {
            return;
        }
        let line = json::line(record, now);
        let to_file = self.file.as_ref().is_none_or(|worker| worker.queue.try_send(Line::Record(line.clone())).is_ok());
        let to_peer = self.post.as_ref().is_none_or(|worker| worker.queue.try_send(line).is_ok());
        for _ in [to_file, to_peer].into_iter().filter(|there_was_room| !there_was_room) {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A way to have the file opened anew, for whoever is told that it was moved away.
    pub(crate) fn reopener(&self) -> impl Fn() + Send + 'static {
        let queue = self.file.as_ref().map(|worker| worker.queue.clone());
        move || {
            // Where there is no room the disk has other troubles.
            let _ = queue.as_ref().map(|queue| queue.try_send(Line::Reopen));
        }
    }

    /// Writes what is left down, as far as it can be done soon.
    pub(crate) async fn stop(self) {
        let threads: Vec<_> = self.file.map(Worker::close).into_iter().chain(self.post.map(Worker::close)).collect();
        let give_up = crate::gateway::now() + STOP;
        while threads.iter().any(|thread| !thread.is_finished()) && crate::gateway::now() < give_up {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if threads.iter().any(|thread| !thread.is_finished()) {
            tracing::warn!("some records may be lost: they took longer than {STOP:?} to be written down");
        }
    }
}

impl<T: Send + 'static> Worker<T> {
    fn start(name: &str, work: impl FnOnce(Receiver<T>) + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(lines))?;
        Ok(Self { queue, thread })
    }

    /// Nothing more will come.
    fn close(self) -> JoinHandle<()> {
        drop(self.queue);
        self.thread.thread().unpark();
        self.thread
    }
}

/// Writes lines until nothing more will come.
fn write(file: File, path: &Path, lines: &Receiver<Line>, counters: &Counters) {
    let mut file = Some(file);
    for line in lines {
        let record = match line {
            Line::Record(record) => record,
            Line::Reopen => {
                file = None;
                continue;
            }
        };
        let written = match file.take().map_or_else(|| open(path), Ok) {
            Ok(mut open) => {
                let written = open.write_all(format!("{record}\n").as_bytes());
                file = Some(open);
                written
            }
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => counters.written.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                tracing::error!("a record is lost: {}: {error}", path.display());
                counters.not_written.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

/// Opens the file for more. It says who called whom, which is not for everybody to read.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Counters {
    /// Each count by its name.
    pub(crate) fn rows(&self) -> [(&'static str, u64); 6] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("written", read(&self.written)),
            ("not_written", read(&self.not_written)),
            ("posted", read(&self.posted)),
            ("retried", read(&self.retried)),
            ("not_posted", read(&self.not_posted)),
            ("dropped", read(&self.dropped)),
        ]
    }
}
