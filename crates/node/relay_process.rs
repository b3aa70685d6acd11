//! The relay alone in a process, for the load generator to measure: commands on standard input, replies on standard
//! output, a line of JSON each.

use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use ::load::trial::target::channel::{FromProcess, ToProcess};
use anyhow::Context;
use netio::RelayThreads;

/// As many calls as there are ports for.
const MAX_CALLS: usize = 65_536;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where media is taken.
    #[arg(long)]
    address: IpAddr,
    /// Threads that forward.
    #[arg(long)]
    workers: NonZeroU16,
    /// The UDP port that all legs with ICE share.
    #[arg(long)]
    ice_port: Option<NonZeroU16>,
    /// The ports that may be opened, FIRST-LAST.
    #[arg(long, value_parser = ports)]
    ports: RangeInclusive<u16>,
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = text.split_once('-').and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    range.filter(|range| !range.is_empty()).ok_or_else(|| "not FIRST-LAST".to_owned())
}

/// Runs the relay until standard input ends.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match relay(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay process: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn relay(arguments: &Arguments) -> anyhow::Result<()> {
    netio::raise_open_files().context("the number of open files cannot be raised")?;
    // What is written waits here, never a worker.
    let (told, to_write) = mpsc::channel();
    let news = told.clone();
    let threads = RelayThreads::start(config(arguments)?, move |from_relay| {
        // When nobody writes any more, the process is about to end.
        let _ = news.send(FromProcess::Relay(from_relay));
    })?;
    told.send(FromProcess::Ready)?;
    let writer = std::thread::Builder::new().name("writer".into()).spawn(move || write(&to_write))?;
    for line in io::stdin().lock().lines() {
        match serde_json::from_str(&line?).context("a line that is no command")? {
            ToProcess::Relay(message) => threads.send(message),
            ToProcess::Dropped => told.send(FromProcess::Dropped(dropped(&threads)))?,
        }
    }
    drop((threads, told));
    writer.join().map_err(|_| anyhow::anyhow!("the writer failed"))?.context("cannot write")
}

fn config(arguments: &Arguments) -> anyhow::Result<netio::Config> {
    let address = relay::Address { name: None, bind: arguments.address, advertise: None };
    let ports = relay::PortShare { range: arguments.ports.clone(), number: 0, of: 1 };
    let certificates = relay::CertificatePolicy::PerProcess(Arc::new(dtls::Certificate::generate()?));
    let relay = relay::Config {
        ice_port: arguments.ice_port.map(NonZeroU16::get),
        max_calls: MAX_CALLS,
        max_streams: 2 * MAX_CALLS,
        ..relay::Config::new(vec![address], ports, certificates)
    };
    Ok(netio::Config { workers: Some(arguments.workers.into()), ..netio::Config::new(relay) })
}

/// Writes lines, as many at once as there are.
fn write(lines: &Receiver<FromProcess>) -> io::Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    while let Ok(first) = lines.recv() {
        for line in std::iter::once(first).chain(lines.try_iter()) {
            serde_json::to_writer(&mut output, &line)?;
            output.write_all(b"\n")?;
        }
        output.flush()?;
    }
    Ok(())
}

/// Every reason for which something was dropped so far.
fn dropped(threads: &RelayThreads) -> Vec<(String, u64)> {
    let netio::Counters { relay, io } = threads.counters();
    let reasons = relay::Dropped::ALL.iter().map(|reason| (reason.name(), relay.dropped(*reason)));
    let all = reasons.chain(io.lost()).filter(|(_, count)| *count > 0);
    all.map(|(reason, count)| (reason.to_owned(), count)).collect()
}
