//! What the front pages name is there, and what is there has its sentence.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("the file is part of the project")
}

/// What stands between backquotes, one word each.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_dependency_has_its_sentence() {
    let manifest = read("Cargo.toml");
    let table = manifest.split_once("# Everybody else's.").expect("the comment parts ours from theirs").1;
    let names =
        table.lines().skip(1).take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
    let page = read("crates/README.md");
    let explained = quoted(page.split_once("## Dependencies").expect("the section exists").1);
    let mut count = 0;
    for (name, _) in names {
        assert!(explained.contains(name), "{name} has no sentence in crates/README.md");
        count += 1;
    }
    assert!(count > 30, "only {count} dependencies were found");
}

#[test]
fn every_crate_has_its_line() {
    let page = read("crates/README.md");
    for entry in fs::read_dir(root().join("crates")).expect("it is there") {
        let entry = entry.expect("it can be read");
        let name = entry.file_name().into_string().expect("names are ASCII");
        let is_crate = entry.path().is_dir();
        assert!(!is_crate || page.contains(&format!("\n| `{name}` | ")), "{name} is not in the code map");
    }
}

#[test]
fn every_file_that_is_named_exists() {
    for page in ["README.md", "crates/README.md", "deploy/replace-rtpengine.md"] {
        let text = read(page);
        let directory = root().join(page).parent().expect("it is in a directory").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            assert!(link.starts_with("https://") || directory.join(link).exists(), "{page} links to {link}");
        }
        for place in quoted(&text).into_iter().filter(|word| word.starts_with("crates/") || word.starts_with("tests/"))
        {
            assert!(root().join(place).exists(), "{page} names {place}");
        }
        let files: Vec<_> = ["crates", "tests"].map(|place| files_below(&root().join(place))).concat();
        for named in quoted(&text).into_iter().filter(|word| word.ends_with(".rs")) {
            assert!(files.iter().any(|file| file.ends_with(named)), "{page} names {named}");
        }
    }
}

#[test]
fn every_metric_that_is_named_is_there() {
    let page = read("deploy/replace-rtpengine.md");
    let sources =
        ["metrics.rs", "ng/metrics.rs", "ng/metrics/familiar.rs"].map(|file| read(&format!("crates/node/{file}")));
    let sources = sources.concat();
    let is_metric = |word: &&&str| {
        let is_ours = word.starts_with("stox_") || word.starts_with("rtpengine_");
        // Others are of Kamailio.
        is_ours && !word.ends_with("()") && **word != "rtpengine_allow_op"
    };
    let named = quoted(&page);
    let metrics: Vec<_> = named.iter().filter(is_metric).collect();
    for metric in &metrics {
        // The format adds the end of a counter's name.
        let names = [metric, metric.strip_suffix("_total").unwrap_or(metric)].map(|name| format!("\"{name}\""));
        assert!(names.iter().any(|name| sources.contains(name)), "{metric}");
    }
    assert!(metrics.len() > 15, "{metrics:?}");
}

#[test]
fn the_pure_crates_do_no_io_and_spawn_nothing() {
    const IMPURE: [&str; 7] =
        ["std::fs", "std::env", "std::process", "std::thread", "UdpSocket", "TcpStream", "TcpListener"];
    for name in ["model", "media", "ice", "relay", "sdp", "signaling", "control"] {
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        let production = manifest.split("[dev-dependencies]").next().expect("there is always a first part");
        for runtime in ["tokio", "mio", "libc", "socket2"] {
            assert!(!production.contains(&format!("\n{runtime}.workspace")), "{name} depends on {runtime}");
        }
        for file in files_below(&root().join("crates").join(name).join("src")) {
            let text = fs::read_to_string(&file).expect("it is text");
            for word in IMPURE {
                assert!(!text.contains(word), "{} has {word}", file.display());
            }
        }
    }
}

#[test]
fn translator_and_relay_do_not_know_each_other() {
    for (name, others) in [
        ("relay", &["signaling", "sdp", "sip", "xmpp"][..]),
        ("netio", &["signaling", "sdp", "sip", "xmpp"]),
        ("signaling", &["relay", "netio", "media"]),
        ("control", &["signaling", "sip", "xmpp"]),
    ] {
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        for other in others {
            assert!(!manifest.contains(&format!("\n{other}.workspace")), "{name} depends on {other}");
        }
    }
}

#[test]
fn no_file_is_a_thousand_lines_long() {
    for place in ["crates", "benches", "tests"] {
        for file in files_below(&root().join(place)).into_iter().filter(|file| file.extension() == Some("rs".as_ref()))
        {
            let lines = fs::read_to_string(&file).expect("it is text").lines().count();
            assert!(lines < 1_000, "{} has {lines} lines", file.display());
        }
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.file_name() == Some("node_modules".as_ref()) {
            continue;
        }
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}
