//! A relay of our own in a process of its own, driven through the channel that the translator uses too.
//!
//! The process is this program once more, as `stox load relay-process`. It reads a [`ToProcess`] from each line of its
//! standard input and writes a [`FromProcess`] on each line of its standard output, as JSON. It ends when its input does,
//! so it cannot outlive whoever started it.

mod client;

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use model::{Description, FromRelay, ToRelay};
use serde::{Deserialize, Serialize};

use self::client::Client;
use super::calls::{Control, Told};
use super::{CallNumber, Ends, TargetError};
use crate::trial::plan::OwnRelay;

/// How long the process may take until it is ready, or says what was asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// What a relay's process is told.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum ToProcess {
    /// Pass this to the relay.
    Relay(ToRelay),
    /// Say what was dropped so far.
    Dropped,
}

/// What a relay's process tells.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum FromProcess {
    /// The relay runs. Always the first.
    Ready,
    /// The relay says this.
    Relay(FromRelay),
    /// Packets that went no further since the start, by reason.
    Dropped(Vec<(String, u64)>),
}

/// What the relay's process is, whatever [`OwnRelay`] says of the relay in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RelayProcess {
    /// The program, which has the subcommand `load relay-process`.
    pub program: PathBuf,
    /// The ports it may open. Those of the ends are chosen by the kernel, by default from 32768 on.
    pub ports: RangeInclusive<u16>,
}

impl RelayProcess {
    /// With the ports that the ends do not take.
    pub fn new(program: PathBuf) -> Self {
        Self { program, ports: 1024..=32_767 }
    }

    fn command(&self, relay: &OwnRelay, address: IpAddr) -> Command {
        let mut command = match relay.processor {
            None => Command::new(&self.program),
            Some(processor) => {
                // Of util-linux.
                let mut command = Command::new("taskset");
                command.arg("--cpu-list").arg(processor.to_string()).arg(&self.program);
                command
            }
        };
        command.args(["load", "relay-process", "--address", &address.to_string()]);
        command.args(["--workers", &relay.workers.to_string()]);
        command.args(["--ports", &format!("{}-{}", self.ports.start(), self.ports.end())]);
        if let Some(port) = relay.ice_port {
            command.args(["--ice-port", &port.to_string()]);
        }
        command
    }
}

/// The process, and what is on its way to it and from it. It is killed when this is dropped.
pub(super) struct Channel {
    child: Child,
    input: ChildStdin,
    output: UnixStream,
    /// What was read and is no whole line yet.
    rest: Vec<u8>,
    client: Client,
    dropped: Option<Vec<(String, u64)>>,
    ready: bool,
    /// Why nothing can be written any more.
    broken: Option<io::Error>,
}

impl Channel {
    /// Starts the process and waits until its relay runs.
    pub(super) fn start(process: &RelayProcess, relay: &OwnRelay, ends: &Ends) -> Result<Self, TargetError> {
        let gone = |error: io::Error| TargetError::Gone(format!("{}: {error}", process.program.display()));
        let (output, theirs) = UnixStream::pair().map_err(gone)?;
        let mut command = process.command(relay, ends.address);
        // In a group of its own, so that Ctrl-C ends the run and not the relay under it.
        let child = command.stdin(Stdio::piped()).stdout(OwnedFd::from(theirs)).process_group(0).spawn();
        drop(command); // and with it our copy of the end that it writes to
        let mut child = child.map_err(gone)?;
        let Some(input) = child.stdin.take() else { return Err(gone(io::ErrorKind::BrokenPipe.into())) };
        let mut channel = Self {
            child,
            input,
            output,
            rest: Vec::new(),
            client: Client::new(ends),
            dropped: None,
            ready: false,
            broken: None,
        };
        channel.wait_until(|channel| channel.ready)?;
        channel.output.set_nonblocking(true).map_err(gone)?;
        Ok(channel)
    }

    /// Waits for something that the process says by itself or was asked for.
    fn wait_until(&mut self, said: impl Fn(&Self) -> bool) -> Result<(), TargetError> {
        let gone = |error: io::Error| TargetError::Gone(error.to_string());
        let give_up_at = now() + PATIENCE;
        self.output.set_nonblocking(false).map_err(gone)?;
        while !said(self) {
            let left = give_up_at.saturating_duration_since(now());
            if left.is_zero() {
                return Err(TargetError::TimedOut("its process says nothing".to_owned()));
            }
            self.output.set_read_timeout(Some(left)).map_err(gone)?;
            self.read()?;
        }
        Ok(())
    }

    /// Reads what is there, once.
    fn read(&mut self) -> Result<bool, TargetError> {
        let mut chunk = [0; CHUNK];
        match self.output.read(&mut chunk) {
            Ok(0) => Err(TargetError::Gone(self.epitaph())),
            Ok(length) => {
                self.rest.extend_from_slice(&chunk[..length]);
                self.take_lines()?;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(TargetError::Gone(error.to_string())),
        }
    }

    fn take_lines(&mut self) -> Result<(), TargetError> {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let lines: Vec<u8> = self.rest.drain(..=end).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let said = serde_json::from_slice(line)
                .map_err(|error| TargetError::Gone(format!("its process says what nobody understands: {error}")))?;
            match said {
                FromProcess::Ready => self.ready = true,
                FromProcess::Relay(told) => self.client.handle(told),
                FromProcess::Dropped(dropped) => self.dropped = Some(dropped),
            }
        }
        self.flush();
        Ok(())
    }

    /// How the process ended.
    fn epitaph(&mut self) -> String {
        // Its output is closed, so it has ended or is about to.
        let _ = self.child.kill();
        self.child.wait().map_or_else(|error| error.to_string(), |status| format!("its process ended: {status}"))
    }

    fn flush(&mut self) {
        let mut lines = Vec::new();
        while let Some(message) = self.client.poll_transmit() {
            write_line(&ToProcess::Relay(message), &mut lines);
        }
        self.write(&lines);
    }

    /// Writes lines. The process reads them whatever else it does, so this does not wait for long.
    fn write(&mut self, lines: &[u8]) {
        if self.broken.is_none() {
            self.broken = self.input.write_all(lines).err();
        }
    }
}

fn write_line(message: &ToProcess, lines: &mut Vec<u8>) {
    serde_json::to_writer(&mut *lines, message).expect("memory takes every write, and every message is JSON");
    lines.push(b'\n');
}

impl Control for Channel {
    fn offer(&mut self, call: CallNumber, offer: &Description, _now: Instant) {
        self.client.offer(call, offer);
        self.flush();
    }

    fn answer(&mut self, call: CallNumber, answer: &Description, _now: Instant) {
        self.client.answer(call, answer);
        self.flush();
    }

    fn end(&mut self, call: CallNumber, _now: Instant) {
        self.client.end(call);
        self.flush();
    }

    fn source(&self) -> RawFd {
        self.output.as_raw_fd()
    }

    fn receive(&mut self) -> Result<(), TargetError> {
        while self.read()? {}
        match &self.broken {
            Some(error) => Err(TargetError::Gone(error.to_string())),
            None => Ok(()),
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll(&mut self) -> Option<(CallNumber, Told)> {
        self.client.poll()
    }

    fn pid(&self) -> Option<u32> {
        Some(self.child.id())
    }

    fn dropped(&mut self) -> Vec<(String, u64)> {
        let mut line = Vec::new();
        write_line(&ToProcess::Dropped, &mut line);
        self.write(&line);
        self.dropped = None;
        let said = self.wait_until(|channel| channel.dropped.is_some());
        let blocking = self.output.set_nonblocking(true);
        // A process that is gone is found out by the next call.
        if said.is_err() || blocking.is_err() { Vec::new() } else { self.dropped.take().unwrap_or_default() }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the shell that waits for the process")]
fn now() -> Instant {
    Instant::now()
}
