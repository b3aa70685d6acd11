//! A child process that cannot outlive its test.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::log::Log;

/// A running program in a process group of its own, with everything it prints in a [`Log`].
pub(crate) struct Process {
    child: Child,
    log: Log,
}

impl Process {
    /// Starts `program`; the kernel kills it should the thread that runs the test die.
    pub(crate) fn start(name: &str, program: &str, configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]);
        configure(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let log = Log::new(name);
        log.follow(child.stdout.take().expect("stdout was asked for as a pipe"));
        log.follow(child.stderr.take().expect("stderr was asked for as a pipe"));
        Self { child, log }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Asks the program to end, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.signal("TERM", &self.child.id().to_string());
    }

    /// Waits for the program to end by itself.
    pub(crate) fn wait(&mut self, patience: Duration) -> ExitStatus {
        assert!(self.log.wait_closed(patience), "process {} still runs after {patience:?}", self.child.id());
        self.child.wait().expect("a child can be waited for")
    }

    fn signal(&self, signal: &str, target: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), "--", target]).stderr(Stdio::null()).status();
        sent.expect("every system has kill");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("KILL", &format!("-{}", self.child.id()));
        self.child.wait().expect("a child can be waited for");
        self.log.print_on_failure();
    }
}
