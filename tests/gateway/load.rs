//! `stox load`: what it takes, what it refuses, and what it says of a run.

use std::fs;
use std::path::PathBuf;

use load::trial::report::{Machine, Second};
use load::trial::{Plan, RawPlan, Report};

use crate::binary::{command, directory_with};

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
fn compare_says_what_is_better_and_warns_of_differing_plans() {
    let directory = Directory::new();
    let [a, b] = [("a.json", report(100, 4.0)), ("b.json", report(200, 3.0))]
        .map(|(name, report)| directory.file(name, &report));
    let (code, text, errors) = load(&["compare", &a, &b]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{text}");
    for part in ["B is better in relay CPU/packet.", "-24.9 %", "calls is 100 in A, 200 in B", &a, &b] {
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
