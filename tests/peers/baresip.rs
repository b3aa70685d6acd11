//! The SIP phone: baresip without a sound card, steered over its control socket.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::log::{Log, PATIENCE, pause};
use crate::ports;
use crate::process::Process;
use crate::temp_dir::TempDir;
use crate::tone;

/// What kind of phone it is.
#[derive(Clone, Copy)]
pub(crate) struct Phone {
    /// Codec as baresip writes it: name, clock rate, channels.
    pub(crate) codec: &'static str,
    /// Samples per second that the codec takes; G.722 writes 8000 for its clock but samples at 16000.
    pub(crate) rate: u32,
    /// Media encryption: none, `srtp` or `srtp-mand` for SDES, `dtls_srtp`.
    pub(crate) encryption: Option<&'static str>,
    /// `udp` or `tcp`.
    pub(crate) transport: &'static str,
    /// Frequency of the tone that is the user's voice.
    pub(crate) frequency: u32,
    /// Has a camera and a screen, and the codec VP8 for them.
    pub(crate) video: bool,
    /// The number it is called by, where it does not register.
    pub(crate) number: &'static str,
    /// Where it registers; without, it is called where it listens.
    pub(crate) account: Option<Account>,
}

/// Who a phone is at a registrar, which listens on this port.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    pub(crate) registrar: u16,
}

impl Default for Phone {
    fn default() -> Self {
        let (codec, rate) = ("PCMU/8000/1", 8_000);
        Self {
            codec,
            rate,
            encryption: None,
            transport: "udp",
            frequency: 880,
            video: false,
            number: "100",
            account: None,
        }
    }
}

/// A running phone; it rings until the test answers.
pub(crate) struct Baresip {
    control: TcpStream,
    events: Log,
    process: Process,
    dir: TempDir,
}

impl Baresip {
    /// Starts a phone that listens for SIP on `port`.
    pub(crate) fn start(port: u16, phone: Phone) -> Self {
        let dir = TempDir::new("baresip");
        let control = ports::free(1);
        tone::write_wav(&dir.path().join("tone.wav"), phone.frequency, phone.rate, 120);
        dir.write("config", config(&dir, port, control, phone));
        dir.write("accounts", account(port, phone));
        dir.write("contacts", "");
        let process = Process::start("baresip", "baresip", |command| {
            // -s prints every SIP message; the phone ends by itself should nobody stop it.
            command.arg("-f").arg(dir.path()).args(["-s", "-v", "-t", "600"]);
        });
        process.log().wait_for("baresip is ready");
        if phone.account.is_some() {
            process.log().wait_for("SIP/2.0 200 OK");
        }
        let control =
            TcpStream::connect(("127.0.0.1", control)).expect("baresip listens for commands when it is ready");
        let events = Log::new("baresip's events");
        follow(&events, control.try_clone().expect("a socket can be shared"));
        Self { control, events, process, dir }
    }

    /// Calls a SIP URI.
    pub(crate) fn dial(&mut self, uri: &str) {
        self.command("dial", uri);
    }

    pub(crate) fn answer(&mut self) {
        self.command("accept", "");
    }

    /// Ends the call, or refuses it while it rings.
    pub(crate) fn hang_up(&mut self) {
        self.command("hangup", "");
    }

    /// Puts the call on hold.
    pub(crate) fn hold(&mut self) {
        self.command("hold", "");
    }

    /// Takes the call up again.
    pub(crate) fn resume(&mut self) {
        self.command("resume", "");
    }

    /// Offers its media anew.
    pub(crate) fn reinvite(&mut self) {
        self.command("reinvite", "");
    }

    /// Has the other side of the call talk to somebody else.
    pub(crate) fn transfer(&mut self, uri: &str) {
        self.command("transfer", uri);
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, key: &str) {
        self.command("sndcode", key);
    }

    /// Waits for an event of the phone, such as `CALL_INCOMING`.
    pub(crate) fn event(&self, name: &str) -> Value {
        self.events.wait_until(name, PATIENCE, |line| {
            serde_json::from_str::<Value>(line).ok().filter(|event| event["type"] == name)
        })
    }

    /// Waits for the end of the call, and checks the response that the phone was given.
    pub(crate) fn call_ended(&self, reason: &str) {
        assert_eq!(self.event("CALL_CLOSED")["param"], reason);
    }

    /// Makes later waits look only at what happens from now on.
    pub(crate) fn forget_past(&self) {
        self.events.mark();
        for entry in self.recordings() {
            fs::remove_file(entry).expect("the recording is a file");
        }
    }

    /// Waits until the user has clearly heard the other side's tone.
    pub(crate) fn hears(&self, frequency: u32) {
        let mut heard = None;
        for _ in 0..200 {
            heard = self.recordings().find_map(|recording| tone::heard_in_wav(&recording));
            if heard.is_some_and(|tone| tone.is(frequency)) {
                return;
            }
            pause();
        }
        panic!("baresip hears no tone of {frequency} Hz, but {heard:?}");
    }

    /// Waits until pictures of the other side arrive, as the phone itself counts their packets.
    pub(crate) fn is_shown_pictures(&self) {
        self.events.wait_until("packets of pictures", PATIENCE, |line| {
            let event = serde_json::from_str::<Value>(line).ok()?;
            let received = event["rtcp_stats"]["rx"]["sent"].as_u64()?;
            (event["type"] == "CALL_RTCP" && event["param"] == "video" && received >= 20).then_some(())
        });
    }

    /// Everything the phone printed, its SIP messages among it.
    pub(crate) fn log(&self) -> &Log {
        self.process.log()
    }

    /// The sound of each call so far.
    fn recordings(&self) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(self.dir.path()).expect("the phone has its directory").flatten();
        entries.map(|entry| entry.path()).filter(|path| path.to_str().is_some_and(|path| path.ends_with("-dec.wav")))
    }

    fn command(&mut self, command: &str, params: &str) {
        let token = command;
        let text = json!({ "command": command, "params": params, "token": token }).to_string();
        // A netstring: length, colon, bytes, comma.
        write!(self.control, "{}:{text},", text.len()).expect("baresip takes commands while it runs");
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        self.events.print_on_failure();
    }
}

fn account(port: u16, phone: Phone) -> String {
    let encryption = phone.encryption.map(|name| format!(";mediaenc={name}")).unwrap_or_default();
    let video = if phone.video { ";video_codecs=vp8" } else { "" };
    let (user, port, more) = match phone.account {
        Some(Account { user, password, registrar }) => {
            (user, registrar, format!("60;auth_user={user};auth_pass={password}"))
        }
        None => (phone.number, port, "0".to_owned()),
    };
    format!(
        "<sip:{user}@127.0.0.1:{port};transport={}>;answermode=manual;regint={more};audio_codecs={}{encryption}{video}\n",
        phone.transport, phone.codec
    )
}

fn config(dir: &TempDir, port: u16, control: u16, phone: Phone) -> String {
    let dir = dir.path().display();
    let rtp = ports::free(10);
    let rtp_last = rtp + 9;
    let rate = phone.rate;
    let video = match phone.video {
        true => {
            "module vp8.so\nmodule fakevideo.so\nvideo_source fakevideo,nil\n\
             video_display fakevideo,nil\nvideo_size 320x240\nvideo_fps 10\n"
        }
        false => "",
    };
    format!(
        "sip_listen 127.0.0.1:{port}
call_max_calls 1
audio_source aufile,{dir}/tone.wav
audio_alert none
ausrc_srate {rate}
auplay_srate {rate}
ausrc_channels 1
auplay_channels 1
jitter_buffer_type fixed
jitter_buffer_delay 2-10
rtp_ports {rtp}-{rtp_last}
rtcp_mux yes
module_path /usr/lib/baresip/modules
module_app account.so
module_app contact.so
module_app menu.so
module aufile.so
module sndfile.so
module g711.so
module g722.so
module g726.so
module opus.so
module srtp.so
module dtls_srtp.so
module uuid.so
module ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
snd_path {dir}
{video}"
    )
}

/// Copies the netstrings that arrive on `socket` into `events`, one line each.
fn follow(events: &Log, socket: TcpStream) {
    let events = events.clone();
    std::thread::spawn(move || -> io::Result<()> {
        socket.set_read_timeout(None::<Duration>)?;
        let mut socket = BufReader::new(socket);
        loop {
            let mut length = Vec::new();
            if socket.read_until(b':', &mut length)? == 0 {
                return Ok(());
            }
            let length = String::from_utf8_lossy(&length[..length.len() - 1]).parse().map_err(io::Error::other)?;
            let mut text: Vec<u8> = vec![0; length];
            socket.read_exact(&mut text)?;
            socket.read_exact(&mut [0])?;
            events.push(String::from_utf8_lossy(&text).into_owned());
        }
    });
}
