//! `stox ng explain`: what a relay would do with requests, in words. Nothing is sent to anybody.

mod trial;

use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use control::explain::changes::{self, Line};
use control::explain::{Effect, Explanation, Note, explain};
use control::{Dictionary, Frame, Request};

use self::trial::{Outcome, Trial};

/// Something contradicts itself, is unknown, or does nothing.
const ODD: u8 = 1;

/// What is to be explained cannot be read.
const UNREADABLE: u8 = 2;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Flags as a proxy's script has them: 'replace-origin ICE=force rtcp-mux-demux'.
    #[arg(value_name = "FLAGS", required_unless_present = "request", conflicts_with = "request")]
    flags: Vec<String>,
    /// The command that the flags are for.
    #[arg(long, value_name = "COMMAND", default_value = "offer", conflicts_with = "request")]
    command: String,
    /// A file with an SDP, which the flags are applied to; otherwise they are to those of three typical phones.
    #[arg(long, value_name = "FILE", conflicts_with = "request")]
    sdp: Option<PathBuf>,
    /// A file with a request as it was captured, in bencode or JSON, with or without its cookie; - is standard input. An
    /// answer is understood better with its offer before it.
    #[arg(long, value_name = "FILE")]
    request: Vec<PathBuf>,
}

/// Explains, and says by the exit code whether all was understood.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match explained(arguments) {
        Ok((text, is_clean)) => {
            print!("{text}");
            if is_clean { ExitCode::SUCCESS } else { ODD.into() }
        }
        Err(error) => {
            eprintln!("{error:#}");
            UNREADABLE.into()
        }
    }
}

fn explained(arguments: &Arguments) -> anyhow::Result<(String, bool)> {
    let mut page = Page::default();
    if arguments.request.is_empty() {
        page.flags(arguments)?;
        return Ok((page.text, page.is_clean));
    }
    let requests = arguments.request.iter().map(|path| captured(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut trial = Trial::new(&requests)?;
    for (path, request) in arguments.request.iter().zip(&requests) {
        if requests.len() > 1 {
            page.line(0, &format!("{}:", path.display()));
        }
        page.request(request);
        page.outcome(request, &trial.carry_out(request), true);
    }
    Ok((page.text, page.is_clean))
}

/// A request as it was captured.
fn captured(path: &Path) -> anyhow::Result<Dictionary<'static>> {
    let mut bytes = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => io::stdin().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(path).map(|read| bytes = read),
    };
    read.with_context(|| format!("cannot read {}", path.display()))?;
    let message = bytes.trim_ascii();
    let bare = Frame { cookie: b"", payload: message }.read();
    // A cookie may begin like a dictionary.
    let read = bare.or_else(|error| Frame::split(message).map_or(Err(error), |frame| frame.read()));
    let (_, dictionary) = read.with_context(|| path.display().to_string())?;
    Ok(dictionary.into_owned())
}

/// A request with flags alone; the rest is filled in.
fn with_flags(command: &str, flags: &str, sdp: &str) -> Dictionary<'static> {
    let mut request = Dictionary::new();
    let fixed = [("command", command), ("call-id", "CALL"), ("from-tag", "FROM"), ("rtpp-flags", flags)];
    fixed.into_iter().for_each(|(key, value)| request.put(key, value.to_owned()));
    let is_of = |commands: &[&str]| commands.contains(&command);
    if is_of(&["offer", "answer"]) {
        request.put("sdp", sdp.to_owned());
    }
    if is_of(&["answer"]) {
        request.put("to-tag", "TO");
    }
    if is_of(&["play DTMF"]) {
        request.put("code", 0);
    }
    request
}

/// What is printed.
struct Page {
    text: String,
    is_clean: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self { text: String::new(), is_clean: true }
    }
}

impl Page {
    fn line(&mut self, depth: usize, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{:width$}{}", "", super::send::shown(text.as_bytes()), width = 4 * depth);
    }

    fn flags(&mut self, arguments: &Arguments) -> anyhow::Result<()> {
        let (command, flags) = (arguments.command.as_str(), arguments.flags.join(" "));
        if control::request::command_name(&with_flags(command, "", "")).is_err() {
            bail!("--command {command}: there is no such command");
        }
        if let Some(path) = &arguments.sdp {
            let sdp = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let request = with_flags(command, &flags, &sdp);
            self.request(&request);
            let outcome = Trial::new([&request])?.carry_out(&request);
            self.outcome(&request, &outcome, true);
            return Ok(());
        }
        self.request(&with_flags(command, &flags, trial::PHONES[0].1));
        if command != "offer" {
            return Ok(());
        }
        for (phone, sdp) in trial::PHONES {
            self.line(0, &format!("M-lines of {phone}:"));
            let request = with_flags(command, &flags, sdp);
            let outcome = Trial::new([&request])?.carry_out(&request);
            self.outcome(&request, &outcome, false);
        }
        Ok(())
    }

    /// What a request says.
    fn request(&mut self, request: &Dictionary<'_>) {
        match Request::read(request) {
            Ok(request) => self.explanation(&explain(&request)),
            Err(error) => {
                self.is_clean = false;
                self.line(0, &format!("The relay refuses this: {error}."));
            }
        }
    }

    fn explanation(&mut self, explanation: &Explanation) {
        self.is_clean &= explanation.is_clean();
        self.line(0, &explanation.summary);
        for (effect, title) in [
            (Effect::Does, "What the flags do:"),
            (Effect::Usual, "What is done anyway:"),
            (Effect::Nothing, "What has no effect:"),
        ] {
            let notes: Vec<&Note> = explanation.notes.iter().filter(|note| note.effect == effect).collect();
            self.list(title, &notes, |note| format!("{}: {}", note.said, note.text));
        }
        self.list("What is contradictory, unknown, or not for this relay:", &explanation.oddities, |oddity| {
            format!("{}. {}", oddity.what, oddity.why)
        });
        self.list("Of what is not said:", &explanation.otherwise, |text| (*text).to_owned());
    }

    fn list<T>(&mut self, title: &str, members: &[T], text: impl Fn(&T) -> String) {
        if members.is_empty() {
            return;
        }
        self.line(0, title);
        members.iter().for_each(|member| self.line(1, &text(member)));
    }

    /// What became of the SDP, if the request has one.
    fn outcome(&mut self, request: &Dictionary<'_>, outcome: &Outcome, with_lines: bool) {
        let Some(before) = request.text("sdp") else { return };
        let after = match outcome {
            Outcome::Rewritten(after) => after,
            Outcome::WithoutSdp => return,
            Outcome::Refused(reason) if reason == "Unknown call-id" => {
                return self.line(
                    0,
                    "What becomes of its m-lines depends on the offer: give that request, too, before this one.",
                );
            }
            Outcome::Refused(reason) => {
                self.is_clean = false;
                return self.line(0, &format!("The relay refuses this: {reason}."));
            }
        };
        if with_lines {
            self.line(0, "M-lines:");
        }
        match changes::of_media(before, after) {
            Ok(lines) => lines.iter().for_each(|line| self.line(1, line)),
            Err(error) => self.line(1, &format!("cannot be told: {error}")),
        }
        if !with_lines {
            return;
        }
        self.line(
            0,
            &format!("The SDP; the relay has {} here, and others' numbers and keys:", trial::ADDRESSES.join(" and ")),
        );
        for line in changes::lines(before, after) {
            match line {
                Line::Stays(line) => self.line(1, &format!("  {line}")),
                Line::Goes(line) => self.line(1, &format!("- {line}")),
                Line::Comes(line) => self.line(1, &format!("+ {line}")),
            }
        }
    }
}
