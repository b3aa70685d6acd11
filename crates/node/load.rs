//! `stox load`: puts load on a packet relay, says what that found, and compares what two runs found.

mod screen;

use std::fmt::Display;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use clap::Args;
use clap::builder::PossibleValue;
use load::trial::compare::Comparison;
use load::trial::html::Page;
use load::trial::plan::{OwnRelay, parse_share};
use load::trial::table::Table;
use load::trial::target::channel::RelayProcess;
use load::trial::unit::parse_duration;
use load::trial::{Plan, RawPlan, Report, Verdict, engine, target};
use tokio::signal::unix::{SignalKind, signal};

use self::screen::Screen;

use crate::relay_process;

/// What is done with load.
#[derive(clap::Subcommand)]
pub(crate) enum Load {
    /// Puts load on a packet relay and measures it.
    ///
    /// Calls are set up at the relay, and both ends of each send media through it. The content of every packet that
    /// comes out is checked. Latency counts from the time a packet was scheduled for, so that a stall is not hidden by
    /// the packets it held back.
    ///
    /// Exit code 0: passed. 1: something was wrong, and the last lines say what. 2: it cannot be run as asked.
    #[command(after_help = EXAMPLES)]
    Relay(Box<Relay>),
    /// Shows two reports (of --json) side by side, and says which differences are more than noise.
    ///
    /// Exit code 0: they were compared. 2: a report cannot be read.
    Compare {
        /// The report to compare with.
        #[arg(value_name = "A.json")]
        a: PathBuf,
        /// The report that is compared.
        #[arg(value_name = "B.json")]
        b: PathBuf,
    },
    /// Is the relay under test, for the target `channel`.
    #[command(hide = true)]
    RelayProcess(relay_process::Arguments),
}

/// What a trial is asked for.
#[derive(Args)]
pub(crate) struct Relay {
    /// The relay under test: ng:HOST:PORT, or channel for stox's own.
    ///
    /// ng is the protocol of rtpengine. With channel a relay of our own is started for the run, as a process of its own.
    #[arg(long, value_name = "ng:HOST:PORT|channel")]
    target: String,
    /// Calls that are up at once; with --mode find-max, the most that are tried.
    #[arg(long, value_name = "N")]
    calls: u32,
    /// How long media is measured, such as 500ms, 30s or 5m; with --mode find-max, in each step.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    duration: Duration,
    /// Calls are added evenly over this time instead of all at once.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    ramp: Duration,
    /// How media is protected on the first leg of each call; the second is always RTP in clear.
    #[arg(long, value_parser = media(), default_value = "rtp")]
    media: String,
    /// Uses ICE (RFC 8445) on the first leg of each call; the second never does.
    #[arg(long)]
    ice: bool,
    /// What the load is.
    #[arg(long, value_parser = mode(), default_value = "paced")]
    mode: String,
    /// With --mode churn: calls begun a second [default: calls divided by hold].
    #[arg(long, value_name = "CALLS")]
    rate: Option<f64>,
    /// With --mode churn: how long a call lasts [default: 1s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    hold: Option<Duration>,
    /// With --mode churn: calls have no media. As many as --calls come and go at once, each as soon as another has ended.
    ///
    /// What is measured is how fast the relay takes offers, answers and ends, and how long its replies take.
    #[arg(long)]
    no_media: bool,
    /// With --no-media: calls that stay up meanwhile.
    #[arg(long, value_name = "N", default_value_t = 0)]
    open: u32,
    /// What the generator does to its own packets: loss=1%,jitter=10ms,reorder=1%,duplicate=1%.
    ///
    /// By chance, but the same for the same --seed. It is accounted for: a packet that was never sent is not lost. Not with
    /// --mode saturate.
    #[arg(long, value_name = "LIST")]
    impair: Option<String>,
    /// The run fails if a larger share of the packets is lost [default: 1%, with --mode find-max 0.1%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_loss: Option<f64>,
    /// The run fails if the 99th percentile of the added latency is higher [default: none, with --mode find-max 10ms].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_p99: Option<Duration>,
    /// Bytes of a packet's payload.
    #[arg(long, value_name = "BYTES", default_value_t = RawPlan::default().payload)]
    payload: u16,
    /// Time between two packets of one end.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "20ms")]
    ptime: Duration,
    /// The relay's process, whose processor time and memory are measured; channel needs none.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// With --target channel: threads of the relay.
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroU16>,
    /// With --target channel: the processor, from 0, that the relay runs on [default: any].
    #[arg(long, value_name = "NUMBER")]
    processor: Option<u16>,
    /// With --target channel and --ice: the UDP port of the relay that all calls share [default: a port each].
    #[arg(long, value_name = "PORT")]
    ice_port: Option<NonZeroU16>,
    /// Decides every random choice, so that a run can be repeated.
    #[arg(long, value_name = "NUMBER", default_value_t = RawPlan::default().seed)]
    seed: u64,
    /// The local address of the generator's ends.
    #[arg(long, value_name = "IP", default_value_t = RawPlan::default().address)]
    address: IpAddr,
    /// Writes everything that was measured to a file, for machines and for `stox load compare`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a page with plots to a file; it needs nothing beside itself.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What `--help` ends with.
const EXAMPLES: &str = "Examples:
  stox load relay --target channel --calls 200 --duration 30s --html report.html
  stox load relay --target ng:127.0.0.1:2223 --pid \"$(pidof rtpengine)\" --calls 200 --duration 30s --json theirs.json
  stox load relay --target channel --mode find-max --calls 4000 --duration 10s --max-loss 0.1% --max-p99 2ms
  stox load relay --target channel --calls 50 --duration 30s --media dtls --ice --impair loss=1%,jitter=10ms";

impl Load {
    /// Does it. The exit code is as the help says.
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Relay(options) => relay(*options),
            Self::Compare { a, b } => compare(&a, &b),
            Self::RelayProcess(arguments) => relay_process::run(&arguments),
        }
    }
}

fn relay(options: Relay) -> ExitCode {
    match measure(options) {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed(_)) => ExitCode::FAILURE,
        Err(error) => refuse(format_args!("{error:#}")),
    }
}

/// Runs a trial and writes its report wherever it is wanted. An error is why it cannot be run as asked.
fn measure(options: Relay) -> anyhow::Result<Verdict> {
    let outputs = (options.json.clone(), options.html.clone());
    let process = RelayProcess::new(std::env::current_exe().context("this program does not find itself")?);
    let plan = options.plan()?;
    // Before the run, so that no run is lost for a name that cannot be written to.
    let (json, html) = (create("--json", outputs.0)?, create("--html", outputs.1)?);
    netio::raise_open_files().context("the number of open files cannot be raised")?;
    let mut target = target::open(&plan, &process)?;
    if cfg!(debug_assertions) {
        eprintln!("This program was built without --release: what it costs is not what it could.");
    }
    let end = asked_to_end()?;
    let (mut screen, mut said) = (Screen::new(), false);
    let report = engine::run(&plan, &mut *target, &mut |snapshot| {
        screen.show(snapshot);
        if !end.load(Ordering::Relaxed) {
            return ControlFlow::Continue(());
        }
        if !std::mem::replace(&mut said, true) {
            screen.say("The run ends early; Ctrl-C once more does without its report.");
        }
        ControlFlow::Break(())
    });
    screen.leave();
    print!("\n{}", Table(&report));
    write(json, || report.to_json())?;
    write(html, || Page(&report).to_string())?;
    Ok(report.verdict)
}

impl Relay {
    /// How a relay of our own is started.
    fn own_relay(&self) -> anyhow::Result<OwnRelay> {
        let given = [
            ("workers", self.workers.is_some()),
            ("processor", self.processor.is_some()),
            ("ice-port", self.ice_port.is_some()),
        ];
        for (name, given) in given {
            let channel = self.target == "channel";
            ensure!(channel || !given, "--{name} is for --target channel, but the target is {}", self.target);
        }
        ensure!(self.ice || self.ice_port.is_none(), "--ice-port is for --ice");
        let workers = self.workers.unwrap_or(OwnRelay::default().workers);
        Ok(OwnRelay { workers, processor: self.processor, ice_port: self.ice_port })
    }

    fn plan(self) -> anyhow::Result<Plan> {
        let relay = self.own_relay()?;
        let churn = self.mode == "churn";
        let of_media = [("rate", self.rate.is_some()), ("hold", self.hold.is_some())];
        for (name, given) in of_media.into_iter().chain([("no-media", self.no_media)]) {
            ensure!(churn || !given, "--{name} is for --mode churn, but the mode is {}", self.mode);
        }
        for (name, given) in of_media {
            ensure!(!self.no_media || !given, "--{name} is for calls with media");
        }
        ensure!(self.no_media || self.open == 0, "--open is for --no-media");
        if let Some(pid) = self.pid {
            ensure!(Path::new(&format!("/proc/{pid}")).exists(), "--pid is {pid}, but there is no such process");
        }
        let (max_loss, max_p99) =
            if self.mode == "find-max" { (0.001, Some(Duration::from_millis(10))) } else { (0.01, None) };
        let raw = RawPlan {
            target: self.target,
            calls: self.calls,
            ramp: self.ramp,
            duration: self.duration,
            media: self.media,
            ice: self.ice,
            mode: self.mode,
            rate: self.rate,
            hold: self.hold.unwrap_or(RawPlan::default().hold),
            no_media: self.no_media,
            open: self.open,
            impair: self.impair.unwrap_or_default(),
            payload: self.payload,
            ptime: self.ptime,
            pid: self.pid,
            max_loss: self.max_loss.or(Some(max_loss)),
            max_p99: self.max_p99.or(max_p99),
            seed: self.seed,
            address: self.address,
            relay,
        };
        Plan::try_from(raw).map_err(|error| anyhow!("--{error}"))
    }
}

/// A file that is to be written, with its name.
type Output = Option<(PathBuf, File)>;

fn create(option: &str, path: Option<PathBuf>) -> anyhow::Result<Output> {
    let Some(path) = path else { return Ok(None) };
    let file = File::create(&path).with_context(|| format!("{option} {}", path.display()))?;
    Ok(Some((path, file)))
}

fn write(output: Output, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    let Some((path, mut file)) = output else { return Ok(()) };
    file.write_all(text().as_bytes()).with_context(|| path.display().to_string())?;
    eprintln!("written: {}", path.display());
    Ok(())
}

/// Watches for Ctrl-C and SIGTERM. The first ends the run early, the second ends the program.
fn asked_to_end() -> anyhow::Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&asked);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let watch = async move {
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if told.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(watch))?;
    Ok(asked)
}

/// Shows two reports side by side.
fn compare(a: &Path, b: &Path) -> ExitCode {
    let reports = read(a).and_then(|of_a| Ok((of_a, read(b)?)));
    let (of_a, of_b) = match reports {
        Ok(reports) => reports,
        Err(error) => return refuse(format_args!("{error:#}")),
    };
    for (name, path, report) in [("A", a, &of_a), ("B", b, &of_b)] {
        println!("{name} is {}: {}: {}", path.display(), report.plan.target, report.plan);
    }
    print!("\n{}", Comparison::of(&of_a, &of_b));
    ExitCode::SUCCESS
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Report::from_json(&text).with_context(|| format!("{} is no report of stox load relay", path.display()))
}

/// Says why something is not done.
fn refuse(why: impl Display) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(2)
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("a duration is a number with its unit: 500ms, 30s, 5m, 1h or 1m30s")
}

fn share(text: &str) -> Result<f64, &'static str> {
    parse_share(text).ok_or("a share is from 0% to 100%: 0.1%")
}

fn media() -> [PossibleValue; 4] {
    [
        PossibleValue::new("rtp").help("none: RTP in clear"),
        PossibleValue::new("sdes-cm80").help("AES_CM_128_HMAC_SHA1_80, keys by SDES (RFC 4568)"),
        PossibleValue::new("sdes-gcm").help("AEAD_AES_128_GCM, keys by SDES (RFC 7714)"),
        PossibleValue::new("dtls").help("DTLS-SRTP (RFC 5764)"),
    ]
}

fn mode() -> [PossibleValue; 4] {
    [
        PossibleValue::new("paced").help("each end sends a packet every ptime, by a schedule that waits for nothing"),
        PossibleValue::new("saturate").help("each end sends as fast as packets come through"),
        PossibleValue::new("churn").help("calls come and go, with media or without"),
        PossibleValue::new("find-max").help("searches for the most calls within --max-loss and --max-p99"),
    ]
}
