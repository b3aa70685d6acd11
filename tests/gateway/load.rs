//! `stox load`: what it takes, what it refuses, and what it says of a run.

use std::fs;
use std::path::PathBuf;

use load::trial::report::{Machine, Second, Verdict, Wrong};
use load::trial::{Plan, RawPlan, Report};

use crate::binary::{Stox, command, directory_with};
use crate::scene::{PATIENCE, free_udp};

/// A directory that is removed with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        Self(directory_with(""))
    }

    /// A file with this content.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).expect("the directory can be written to");
        path.to_str().expect("names are ASCII").to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What `stox load` does with words: its exit code, standard output and standard error.
fn load(words: &[&str]) -> (Option<i32>, String, String) {
    let output = command(&[&["load"], words].concat(), None).output().expect("the binary was built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A report of ten seconds, each with this processor time per packet, in microseconds, and a little more or less.
fn report(calls: u32, cost: f64) -> String {
    let plan = Plan::try_from(RawPlan { calls, ..RawPlan::default() }).expect("it is possible");
    let second = |at: u32| Second {
        at: f64::from(at),
        length: 1.0,
        cpu_us_per_packet: Some(cost + 0.01 * f64::from(at % 3)),
        ..Second::default()
    };
    Report { seconds: (1..=10).map(second).collect(), ..Report::empty(plan, Machine::default()) }.to_json()
}

#[test]
fn what_cannot_be_run_is_refused_by_its_name_and_value() {
    let right = ["--target", "channel", "--calls", "2", "--duration", "1s"];
    for (more, parts) in [
        (["--duration", "10"], ["'10' for '--duration", "500ms, 30s"]),
        (["--ramp", "2x"], ["'2x' for '--ramp", "500ms, 30s"]),
        (["--max-loss", "101%"], ["'101%' for '--max-loss", "from 0% to 100%"]),
        (["--media", "zrtp"], ["'zrtp' for '--media", "sdes-gcm"]),
        (["--mode", "fast"], ["'fast' for '--mode", "find-max"]),
        (["--calls", "0"], ["--calls is 0", "from 1 to 100000"]),
        (["--duration", "1ms"], ["--duration is 1ms", "from 100ms to a day"]),
        (["--target", "ng:localhost"], ["--target is ng:localhost", "ng:HOST:PORT or channel"]),
        (["--impair", "loss=200%"], ["--impair is loss=200%", "loss=1%,jitter=10ms"]),
        (["--hold", "2s"], ["--hold is for --mode churn", "paced"]),
        (["--open", "2"], ["--open is for --no-media", "error"]),
        (["--pid", "4194305"], ["--pid is 4194305", "no such process"]),
        (["--json", "/nonexistent/r.json"], ["--json /nonexistent/r.json", "No such file"]),
        (["--html", "/nonexistent/r.html"], ["--html /nonexistent/r.html", "No such file"]),
    ] {
        let given = right.chunks(2).filter(|pair| pair[0] != more[0]).flatten().chain(&more).copied();
        let words: Vec<_> = std::iter::once("relay").chain(given).collect();
        let (code, text, errors) = load(&words);
        assert_eq!((code, text.as_str()), (Some(2), ""), "{more:?}: {errors}");
        assert!(parts.iter().all(|part| errors.contains(part)), "{more:?}: {errors}");
    }
}

#[test]
fn a_relay_that_is_not_there_is_refused() {
    let nobody = format!("ng:{}", free_udp());
    let (code, _, errors) = load(&["relay", "--target", &nobody, "--calls", "1", "--duration", "1s"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains(&nobody), "{errors}");
}

#[test]
fn a_run_of_two_calls_is_reported_in_every_form() {
    let directory = Directory::new();
    let [json, html] = ["run.json", "run.html"].map(|name| directory.file(name, ""));
    let run = ["relay", "--target", "channel", "--calls", "2", "--duration", "1500ms", "--media", "sdes-cm80"];
    let more = ["--workers", "2", "--json", &json, "--html", &html];
    let (code, text, errors) = load(&[&run[..], &more].concat());
    let report = Report::from_json(&fs::read_to_string(json).expect("it is written")).expect("it is a report");
    // A machine with too much to do fails the run by the generator, not by the relay.
    assert_eq!(code, Some(if report.verdict == Verdict::Passed { 0 } else { 1 }), "{text}{errors}");
    assert!(report.totals.received > 100 && report.totals.wrong == Wrong::default(), "{text}{errors}");
    assert!(report.process.is_some_and(|process| process.pid != 0 && process.rss > 0), "{text}");
    let asked = "2 calls, 172-byte packets every 20ms each way, sdes-cm80, 1.5s; relay with 2 workers";
    assert!(text.contains(asked), "{text}");
    assert_eq!(report.plan.relay.map(|relay| relay.workers.get()), Some(2));
    assert!(text.lines().any(|line| line == "passed" || line == "FAILED"), "{text}");
    assert!(errors.contains("measuring: 2 calls, "), "{errors}");
    let page = fs::read_to_string(html).expect("it is written");
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg") && page.contains("sdes-cm80"));
}

#[test]
fn calls_without_media_are_reported_by_the_replies_of_the_relay() {
    let run = ["relay", "--target", "channel", "--calls", "4", "--duration", "300ms", "--mode", "churn", "--no-media"];
    let (code, text, errors) = load(&[&run[..], &["--open", "20"]].concat());
    assert_eq!(code, Some(0), "{text}{errors}");
    assert!(text.contains("4 calls at once that come and go without media, beside 20 open"), "{text}");
    for row in ["offer", "answer", "delete"] {
        let replies = text.lines().find_map(|line| line.trim().strip_prefix(row)?.split_whitespace().next());
        let replies: u32 = replies.and_then(|count| count.replace(',', "").parse().ok()).expect("it is counted");
        assert!(replies > 4, "{text}");
    }
    assert!(!text.contains("lost"), "{text}");
}

#[tokio::test]
async fn a_run_that_is_interrupted_ends_with_its_report() {
    let words = ["load", "relay", "--target", "channel", "--calls", "2", "--duration", "1h"];
    let mut stox = Stox::start(command(&words, None), directory_with(""));
    stox.prints("lost, p50", PATIENCE).await;
    stox.signal("INT");
    let code = stox.ends(PATIENCE).await.code();
    let text = stox.output();
    assert!(code == Some(0) || code == Some(1), "{code:?}: {text}");
    assert!(text.contains("The run ends early") && text.contains("s of 1h"), "{text}");
}

#[test]
fn compare_says_what_is_better_and_warns_of_differing_plans() {
    let directory = Directory::new();
    let [a, b] = [("a.json", report(100, 4.0)), ("b.json", report(200, 3.0))]
        .map(|(name, report)| directory.file(name, &report));
    let (code, text, errors) = load(&["compare", &a, &b]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{text}");
    for part in ["B is better in relay CPU/packet.", "-24.9 %", "calls 100 in A, 200 in B", &a, &b] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn compare_refuses_what_is_no_report() {
    let directory = Directory::new();
    let right = directory.file("right.json", &report(100, 4.0));
    let newer = report(100, 4.0).replace("\"version\":1", "\"version\":999");
    for (wrong, why) in [
        (directory.file("wrong.json", "[1]"), "no report of stox load relay"),
        (directory.file("newer.json", &newer), "it is of version 999"),
        ("/nonexistent/a.json".to_owned(), "No such file"),
    ] {
        let (code, text, errors) = load(&["compare", &right, &wrong]);
        assert_eq!((code, text.as_str()), (Some(2), ""), "{errors}");
        assert!(errors.contains(&wrong) && errors.contains(why), "{errors}");
    }
}
