//! The binary as a child process that cannot outlive its test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often something is looked at that does not tell by itself.
const POLL: Duration = Duration::from_millis(20);

/// A running `stox`, with what it prints in a file of its own directory.
pub(crate) struct Stox {
    child: Child,
    directory: PathBuf,
}

/// A new directory with a configuration file in it.
pub(crate) fn directory_with(config: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("stox-gateway-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).expect("the temporary directory can be written to");
    fs::write(directory.join("stox.toml"), config).expect("the directory can be written to");
    directory
}

/// The command, with the configuration of a directory, and without what the test's own environment says.
pub(crate) fn command(words: &[&str], directory: Option<&Path>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stox"));
    command.args(words).env_remove("RUST_LOG").stdin(Stdio::null());
    if let Some(directory) = directory {
        command.arg("--config").arg(directory.join("stox.toml"));
    }
    command
}

impl Stox {
    /// Runs the gateway with a configuration.
    pub(crate) fn run(config: &str, environment: (&str, &str)) -> Self {
        let directory = directory_with(config);
        let mut command = command(&["run"], Some(&directory));
        command.env(environment.0, environment.1);
        Self::start(command, directory)
    }

    /// Starts a command whose output is kept.
    pub(crate) fn start(mut command: Command, directory: PathBuf) -> Self {
        let output = File::create(directory.join("output")).expect("the directory can be written to");
        let errors = output.try_clone().expect("a file has a second handle");
        let child = command.stdout(output).stderr(errors).spawn().expect("the binary was built");
        Self { child, directory }
    }

    /// Its own directory, where its configuration is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.directory.join("output")).expect("the file was made at the start")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), "--", &self.child.id().to_string()]).status();
        assert!(sent.expect("every system has kill").success(), "stox is gone already: {}", self.output());
    }

    /// Waits until it has printed something.
    pub(crate) async fn prints(&self, text: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !self.output().contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} within {patience:?} in:\n{}", self.output());
            sleep(POLL).await;
        }
    }

    /// Waits until it ends.
    pub(crate) async fn ends(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "it still runs after {patience:?}:\n{}", self.output());
            sleep(POLL).await;
        }
    }
}

impl Drop for Stox {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
