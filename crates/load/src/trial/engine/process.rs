//! What the kernel tells of processes: processor time, memory, cores, and datagrams that sockets lost.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;

use crate::trial::report::Machine;

/// Watches the process under test.
#[derive(Debug)]
pub(super) struct Meter {
    pid: u32,
    /// Nanoseconds of each thread that was ever seen: those of a thread that ended stay.
    threads: HashMap<String, u64>,
    alive: u32,
}

impl Meter {
    /// Begins to watch a process, if it is there.
    pub(super) fn new(pid: u32) -> Option<Self> {
        let mut meter = Self { pid, threads: HashMap::new(), alive: 0 };
        meter.processor_time().map(|_| meter)
    }

    /// Its number.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name.
    pub(super) fn name(&self) -> String {
        fs::read_to_string(self.file("comm")).unwrap_or_default().trim().to_owned()
    }

    /// Its threads at the last look.
    pub(super) const fn threads(&self) -> u32 {
        self.alive
    }

    /// Nanoseconds of processor time of all its threads. `None` when it is gone.
    pub(super) fn processor_time(&mut self) -> Option<u64> {
        self.alive = 0;
        for thread in fs::read_dir(self.file("task")).ok()?.flatten() {
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let time = text.split_whitespace().next().and_then(|word| word.parse().ok());
            self.threads.insert(thread.file_name().to_string_lossy().into_owned(), time.unwrap_or(0));
            self.alive += 1;
        }
        (self.alive > 0).then(|| self.threads.values().sum())
    }

    /// Bytes of resident memory.
    pub(super) fn rss(&self) -> Option<u64> {
        field(&fs::read_to_string(self.file("status")).ok()?, "VmRSS:")
    }

    /// Bytes of the proportional share of resident memory. Takes the kernel long for a large process.
    pub(super) fn pss(&self) -> Option<u64> {
        field(&fs::read_to_string(self.file("smaps_rollup")).ok()?, "Pss:")
    }

    /// The cores that its threads may run on. A process that pins threads does its work in them, so that the others
    /// do not count.
    pub(super) fn cores(&self) -> Vec<usize> {
        let whole = cores_of(&self.file("status"));
        let tasks = fs::read_dir(self.file("task")).into_iter().flatten().flatten();
        let threads = tasks.map(|task| cores_of(&task.path().join("status")));
        let pinned: BTreeSet<usize> = threads.filter(|cores| cores.len() < whole.len()).flatten().collect();
        if pinned.is_empty() { whole } else { pinned.into_iter().collect() }
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }
}

fn cores_of(status: &PathBuf) -> Vec<usize> {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.map(|list| read_list(list.trim())).unwrap_or_default()
}

/// Reads `0-2,5`.
fn read_list(list: &str) -> Vec<usize> {
    let ranges = list.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// A line of `Name:  123 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Datagrams that UDP sockets of this network namespace lost after they had arrived, by local port.
pub(super) fn overflowed() -> HashMap<u16, u64> {
    let mut lost = HashMap::new();
    for file in ["/proc/net/udp", "/proc/net/udp6"] {
        for line in fs::read_to_string(file).unwrap_or_default().lines().skip(1) {
            let (local, drops) = (line.split_whitespace().nth(1), line.split_whitespace().next_back());
            let port = local.and_then(|local| u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok());
            if let (Some(port), Some(drops)) = (port, drops.and_then(|drops| drops.parse::<u64>().ok())) {
                *lost.entry(port).or_default() += drops;
            }
        }
    }
    lost
}

/// What this machine is.
pub(super) fn machine(cores: Vec<usize>, generator_cores: Vec<usize>, process_cores: Vec<usize>) -> Machine {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Machine {
        processor: processor.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
        cores,
        kernel: format!("{} {}", read("/proc/sys/kernel/ostype").trim(), read("/proc/sys/kernel/osrelease").trim()),
        memory: field(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0),
        generator: env!("CARGO_PKG_VERSION").to_owned(),
        began: seconds_since_1970(),
        generator_cores,
        process_cores,
    }
}

#[expect(clippy::disallowed_methods, reason = "a report says when it was made")]
fn seconds_since_1970() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn this_process_has_a_name_threads_memory_and_cores() {
        let mut meter = Meter::new(std::process::id()).expect("it runs");
        assert!(meter.processor_time() > Some(0) && meter.threads() >= 1);
        assert!(meter.rss() > Some(100_000) && !meter.name().is_empty());
        assert!(!meter.cores().is_empty());
        assert!(Meter::new(u32::MAX).is_none());
    }

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!(read_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(read_list("7"), [7]);
        assert_eq!(read_list(""), [0; 0]);
    }

    #[test]
    fn a_socket_that_overflows_is_found() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
        let port = socket.local_addr().expect("it is bound").port();
        for _ in 0..50 {
            (0..100).for_each(|_| {
                let _ = socket.send_to(&[0; 1400], ("127.0.0.1", port));
            });
        }
        assert!(overflowed().get(&port).is_some_and(|lost| *lost > 0));
    }
}
