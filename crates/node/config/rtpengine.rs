//! `rtpengine.conf` for those who change over: what of it is ours, too, as the text of a `stox.toml`, and what is not.
//!
//! It is a key file as GLib reads them: `[section]`, `key = value`, lists parted by `;`, and lines that begin with `#`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::ConfigError;

/// The section that rtpengine reads if it is not told otherwise.
const SECTION: &str = "rtpengine";

/// The ports that rtpengine uses if it is not told otherwise.
const PORTS: (u16, u16) = (30_000, 40_000);

/// A file in our words.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    /// A `stox.toml`.
    pub(crate) toml: String,
    /// What of the file has no equivalent, and what that means, once each.
    pub(crate) notes: Vec<String>,
}

/// An option with its value, and where it stands.
struct Said<'a> {
    line: usize,
    key: &'a str,
    value: &'a str,
}

/// Translates the text of a file.
///
/// # Errors
///
/// Lines that cannot be read, each by its number.
pub(crate) fn import(text: &str) -> Result<Imported, ConfigError> {
    let mut import = Import::default();
    for said in options(text, &mut import) {
        import.option(&said);
    }
    import.finish()
}

/// The options of the section, the last one of each name.
fn options<'a>(text: &'a str, import: &mut Import) -> Vec<Said<'a>> {
    let (mut section, mut said) = (None, BTreeMap::new());
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if let Some(name) = content.strip_prefix('[') {
            match name.strip_suffix(']') {
                Some(name) => section = Some(name),
                None => import.wrong(line, "a section has no `]`"),
            }
            if section.is_some_and(|name| name.starts_with("interface-")) {
                import.note(format!("line {line}: {content} is not read: give the address by --address"));
            }
            continue;
        }
        let Some((key, value)) = content.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            import.wrong(line, "expected `key = value`");
            continue;
        };
        match section {
            Some(SECTION) => drop(said.insert(key, Said { line, key, value })),
            // rtpengine reads one section only.
            Some(_) => {}
            None => import.wrong(line, "an option before any [section]"),
        }
    }
    if section.is_none() {
        import.wrong(1, "there is no [rtpengine] section");
    }
    let mut said: Vec<_> = said.into_values().collect();
    said.sort_by_key(|said| said.line);
    said
}

/// What was found so far.
#[derive(Default)]
struct Import {
    addresses: Vec<String>,
    aliases: Vec<String>,
    listen: Vec<String>,
    port_min: Option<u16>,
    port_max: Option<u16>,
    max_sessions: Option<i64>,
    certificate: Option<String>,
    key: Option<String>,
    /// By table, what has one place of its own in our file.
    settings: BTreeMap<&'static str, Vec<String>>,
    notes: Vec<String>,
    problems: Vec<String>,
}

impl Import {
    fn option(&mut self, said: &Said<'_>) {
        match said.key {
            "interface" => self.list(said).for_each(|interface| self.interface(said, &interface)),
            "listen-ng" => self.listeners(said, "udp"),
            "listen-tcp-ng" => self.listeners(said, "tcp"),
            "listen-http" => self.listeners(said, "http"),
            "listen-https" => self.listeners(said, "https"),
            "https-cert" => self.certificate = Some(said.value.to_owned()),
            "https-key" => self.key = Some(said.value.to_owned()),
            "port-min" => self.port_min = self.number(said, 1024..=65_535, "a port from 1024 on"),
            "port-max" => self.port_max = self.number(said, 1024..=65_535, "a port from 1024 on"),
            "num-threads" => {
                if let Some(threads) = self.number::<usize>(said, 1..=4096, "a number of threads") {
                    self.set("relay", "workers", threads);
                }
            }
            "max-sessions" => {
                self.max_sessions = self.number(said, -1..=i64::from(u32::MAX), "a number of calls, or -1")
            }
            "timeout" => self.seconds(said, "relay", "media_timeout"),
            "silent-timeout" => self.seconds(said, "relay", "silent_timeout"),
            "delete-delay" => self.seconds(said, "ng", "delete_delay"),
            "offer-timeout" => self.seconds(said, "ng", "offer_timeout"),
            "endpoint-learning" => match said.value {
                "delayed" | "immediate" | "off" | "heuristic" => {
                    self.set("ng", "endpoint_learning", format_args!("{:?}", said.value));
                }
                _ => self.unexpected(said, "delayed, immediate, off or heuristic"),
            },
            "tos" => self.tos(said),
            "log-level" => {
                if let Some(level) = self.number::<i8>(said, -1..=7, "a level from -1 to 7") {
                    let level = match level {
                        ..=3 => "error",
                        4 => "warn",
                        5 | 6 => "info",
                        7.. => "debug",
                    };
                    self.set("log", "level", format_args!("{level:?}"));
                }
            }
            _ => self.other(said),
        }
    }

    /// An option that has no equivalent.
    fn other(&mut self, said: &Said<'_>) {
        let Said { line, key, value } = said;
        // What is turned off is missed by nobody.
        let is_off = ["", "false", "no"].contains(value) || (*key == "table" && value.starts_with('-'));
        if is_off || AS_ALWAYS.contains(&(*key, *value)) {
            return;
        }
        let known = NO_EQUIVALENT.iter().find(|(keys, _)| {
            keys.iter().any(|known| known.strip_suffix('*').map_or(known == key, |prefix| key.starts_with(prefix)))
        });
        let meaning =
            known.map_or("is no option that is known here; rtpengine's manual has it, or it is mistyped", |row| row.1);
        self.note(format!("line {line}: {key}: {meaning}"));
    }

    /// `[NAME/]ADDRESS[!ADVERTISED]`, or `ALIAS=NAME`.
    fn interface(&mut self, said: &Said<'_>, text: &str) {
        if let Some((alias, name)) = text.split_once('=') {
            self.aliases.push(format!("{alias:?} = {name:?}"));
            return;
        }
        let (name, rest) = text.split_once('/').map_or((None, text), |(name, rest)| (Some(name), rest));
        let (bind, advertise) = rest.split_once('!').map_or((rest, None), |(bind, rest)| (bind, Some(rest)));
        let [bind, advertise] = [Some(bind), advertise].map(|text| text.map(|text| text.trim_matches(['[', ']'])));
        let is_address = |text: Option<&str>| text.is_none_or(|text| text.parse::<IpAddr>().is_ok());
        if !is_address(bind) || !is_address(advertise) {
            let problem = "stox takes addresses only, not `any`, devices or host names: name them by --address";
            self.note(format!("line {}: interface {text}: {problem}", said.line));
            return;
        }
        if let Some((base, _)) = name.and_then(|name| name.split_once(':')) {
            self.note(format!(
                "line {}: interface {text}: calls do not take turns on the addresses of {base:?}",
                said.line
            ));
        }
        let field =
            |key: &str, value: Option<&str>| value.map_or_else(String::new, |value| format!("{key} = {value:?}, "));
        let fields = [field("name", name), field("bind", bind), field("advertise", advertise)].concat();
        self.addresses.push(format!("{{ {} }}", fields.trim_end_matches(", ")));
    }

    /// `[ADDRESS:]PORT`, of which there may be several; all addresses if there is none.
    fn listeners(&mut self, said: &Said<'_>, transport: &str) {
        for text in self.list(said) {
            let found: Vec<SocketAddr> = match text.parse::<u16>() {
                Ok(port) => vec![(Ipv4Addr::UNSPECIFIED, port).into()],
                Err(_) => text.to_socket_addrs().map(Iterator::collect).unwrap_or_default(),
            };
            if found.is_empty() {
                self.unexpected(said, "[ADDRESS:]PORT");
            }
            if found.iter().any(|address| !address.ip().is_loopback()) {
                self.note(format!(
                    "line {}: {} = {text}: requests are taken from this machine alone unless --peer names others",
                    said.line, said.key
                ));
            }
            for listen in found.into_iter().map(|address| format!("{:?}", format!("{transport}:{address}"))) {
                if !self.listen.contains(&listen) {
                    self.listen.push(listen);
                }
            }
        }
    }

    fn tos(&mut self, said: &Said<'_>) {
        let Some(byte) = self.number::<u8>(said, 0..=255, "a byte") else { return };
        self.set("relay", "dscp", byte >> 2);
        self.set("relay", "dscp_video", byte >> 2);
        if byte & 3 != 0 {
            self.note(format!("line {}: tos = {byte}: its last two bits are for ECN, and are not set", said.line));
        }
    }

    fn seconds(&mut self, said: &Said<'_>, table: &'static str, key: &str) {
        if let Some(seconds) = self.number::<u64>(said, 0..=i64::from(u32::MAX), "a number of seconds") {
            self.set(table, key, format_args!("\"{seconds}s\""));
        }
    }

    fn number<T: TryFrom<i64>>(
        &mut self,
        said: &Said<'_>,
        range: std::ops::RangeInclusive<i64>,
        expected: &str,
    ) -> Option<T> {
        let number = said.value.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.unexpected(said, expected);
        }
        number
    }

    /// The members of a list.
    fn list(&self, said: &Said<'_>) -> std::vec::IntoIter<String> {
        let members = said.value.split(';').map(str::trim).filter(|member| !member.is_empty());
        members.map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    fn set(&mut self, table: &'static str, key: &str, value: impl std::fmt::Display) {
        self.settings.entry(table).or_default().push(format!("{key} = {value}"));
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn wrong(&mut self, line: usize, problem: &str) {
        self.problems.push(format!("line {line}: {problem}"));
    }

    fn unexpected(&mut self, said: &Said<'_>, expected: &str) {
        self.wrong(said.line, &format!("{} = {:?}: expected {expected}", said.key, said.value));
    }

    fn finish(mut self) -> Result<Imported, ConfigError> {
        let (first, last) = (self.port_min.unwrap_or(PORTS.0), self.port_max.unwrap_or(PORTS.1));
        if !self.problems.is_empty() {
            return Err(ConfigError(self.problems));
        }
        self.set("relay", "ports", format_args!("\"{first}-{last}\""));
        // Where rtpengine has no bound, that of the ports remains.
        if let Some(calls @ 0..) = self.max_sessions {
            self.set("call", "max_calls", calls);
        }
        // A file without https-key has the key in https-cert.
        if let Some(certificate) = self.certificate.clone() {
            let key = self.key.as_ref().unwrap_or(&certificate);
            let tls = format!("{{ certificate = {certificate:?}, key = {key:?} }}");
            self.set("ng", "tls", tls);
        }
        for (table, key, list, open, close) in [
            ("relay", "addresses", &self.addresses, '[', ']'),
            ("ng", "listen", &self.listen, '[', ']'),
            ("ng", "aliases", &self.aliases, '{', '}'),
        ] {
            if !list.is_empty() {
                let line = format!("{key} = {open} {} {close}", list.join(", "));
                self.settings.entry(table).or_default().insert(0, line);
            }
        }
        let mut toml = String::new();
        for (table, lines) in &self.settings {
            // Writing to a string does not fail.
            let _ = writeln!(toml, "[{table}]\n{}", lines.join("\n"));
        }
        Ok(Imported { toml, notes: self.notes })
    }
}

/// Options whose value asks for what is so in any case.
const AS_ALWAYS: &[(&str, &str)] = &[("foreground", "true"), ("log-stderr", "true")];

/// Options without an equivalent, and what that means; `*` stands for whatever follows.
const NO_EQUIVALENT: &[(&[&str], &str)] = &[
    (
        &["table", "no-fallback", "iptables-chain", "nftables-*"],
        "packets are forwarded by the relay's own threads; there is no \
      kernel module and no firewall chain, so open the ports by hand",
    ),
    (
        &["listen-udp", "listen-tcp"],
        "the old protocols of rtpproxy and mediaproxy are not spoken: use listen-ng, and the \
      rtpengine module of the proxy",
    ),
    (&["listen-cli", "cli-*"], "there is no command line interface: `stox ng send` and /metrics stand in for it"),
    (&["final-timeout"], "a call ends when no media comes from either party, or by `delete`"),
    (
        &["redis*", "subscribe-keyspace", "no-redis-required", "active-switchover", "cluster-*"],
        "calls are kept in memory alone: \
      a restart ends them, and no other relay takes them over",
    ),
    (&["recording-*"], "calls are not recorded"),
    (
        &["b2b-url", "xmlrpc-format"],
        "nobody is called back when a call times out: ask by `query`, or let the proxy send `delete`",
    ),
    (&["homer*", "graphite*", "mqtt-*"], "no reports are sent out: /metrics of listen-http has the figures"),
    (
        &[
            "mysql-*",
            "media-num-threads",
            "num-media-threads",
            "audio-player",
            "audio-buffer-*",
            "player-cache",
            "preload-*",
            "media-files-*",
        ],
        "no media is played",
    ),
    (
        &[
            "dtx-*",
            "max-dtx",
            "amr-*",
            "evs-*",
            "silence-detect",
            "cn-payload",
            "codec-num-threads",
            "transcode-*",
            "jitter-buffer",
            "jb-*",
        ],
        "nothing is transcoded and nothing buffered: codecs pass as they are",
    ),
    (
        &["sip-source"],
        "the SDP's addresses count unless a request has the flag SIP-source-address: put it into the proxy's flags",
    ),
    (&["dtls-passive"], "the relay offers `actpass` and is the client where it may choose"),
    (&["dtls-*"], "DTLS is as it is set for the relay: `[relay] certificate` and `suites`; certificates are ECDSA"),
    (&["max-load", "max-cpu", "max-bandwidth"], "only the number of calls is bounded: max-sessions"),
    (&["control-tos"], "control messages are not marked"),
    (
        &["log-*", "debug-srtp", "split-logs", "max-log-line-length", "no-log-timestamps"],
        "the log goes to standard error, where \
      systemd takes it up; `[log]` sets level and form, and keys are never in it",
    ),
    (&["dtmf-*"], "key presses are not reported"),
    (&["pidfile", "foreground"], "the relay stays in the foreground; systemd starts it and knows its process"),
    (
        &[
            "http-threads",
            "thread-stack",
            "poller-per-thread",
            "scheduling",
            "priority",
            "idle-*",
            "socket-cpu-affinity",
            "numa-*",
        ],
        "threads are as many as num-threads says, each on a core of its own",
    ),
    (&["save-interface-ports"], "ports are opened on the addresses that a call uses"),
    (
        &[
            "software-id",
            "mos",
            "janus-secret",
            "reject-invalid-sdp",
            "vsc-*",
            "moh-*",
            "templates",
            "signalling-templates",
            "config-*",
            "use-audio-player",
            "rtcp-*",
            "measure-rtp",
            "io-uring*",
            "ng-client-timeout",
        ],
        "there is nothing of the kind here",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RelayConfig, RelayFlags};

    const SAMPLE: &str = "# of an operator\n\n[rtpengine]\ntable = 0\ninterface = in/10.0.0.1;out/10.0.0.2!192.0.2.2; out/2001:db8::1 ;\
        world=out\nlisten-ng = 127.0.0.1:22222\nlisten-tcp-ng=[::1]:22223\nlisten-http = 9101\nlisten-https = 127.0.0.1:9102\n\
        https-cert = /a.crt\nhttps-key = /a.key\ntimeout = 40\nsilent-timeout = 1800\n\
        delete-delay = 7\noffer-timeout = 8\ntos = 184\nport-min = 20000\nport-max = 20999\nnum-threads = 3\nmax-sessions = 90\nlog-level = 4\n\
        endpoint-learning = immediate\nforeground = true\nno-fallback = false\nredis = 127.0.0.1:6379/5\nredis-expires = 60\n\
        sip-source = true\nfoo = 1\n[rtpengine-testing]\ninterface = 10.9.9.9\nport-min = abc\n";

    fn config(text: &str, flags: RelayFlags) -> RelayConfig {
        RelayConfig::parse(&import(text).expect("it can be read").toml, flags).expect("it is right")
    }

    #[test]
    fn what_has_an_equivalent_becomes_a_setting_of_ours() {
        let config = config(SAMPLE, RelayFlags::default());
        let addresses = config.relay.addresses.iter().map(|address| {
            (address.name.as_deref(), address.bind.to_string(), address.advertise.map(|ip| ip.to_string()))
        });
        assert_eq!(
            addresses.collect::<Vec<_>>(),
            [
                (Some("in"), "10.0.0.1".to_owned(), None),
                (Some("out"), "10.0.0.2".to_owned(), Some("192.0.2.2".to_owned())),
                (Some("out"), "2001:db8::1".to_owned(), None),
            ]
        );
        assert_eq!(config.ng.aliases, [("world".to_owned(), "out".to_owned())].into());
        let listen: Vec<_> = config.ng.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["udp:127.0.0.1:22222", "tcp:[::1]:22223", "http:0.0.0.0:9101", "https:127.0.0.1:9102"]);
        let tls = config.ng.tls.map(|tls| (tls.certificate.display().to_string(), tls.key.display().to_string()));
        assert_eq!(tls, Some(("/a.crt".to_owned(), "/a.key".to_owned())));
        assert_eq!((config.relay.ports, config.relay.workers, config.max_calls), (20_000..=20_999, 3, 90));
        assert_eq!((config.relay.media_timeout.as_secs(), config.relay.silent_timeout.as_secs()), (40, 1800));
        assert_eq!(config.ng.offer_timeout.as_secs(), 8);
        assert_eq!((config.ng.delete_delay.as_secs(), config.relay.dscp, config.relay.dscp_video), (7, 46, 46));
        assert_eq!(config.ng.endpoint_learning, control::request::EndpointLearning::Immediate);
        assert_eq!(config.log.level, "warn");
    }

    #[test]
    fn what_has_none_is_told_by_its_line_and_only_if_it_is_missed() {
        let notes = import(SAMPLE).expect("it can be read").notes;
        let begin: Vec<&str> = notes.iter().filter_map(|note| note.split(": ").nth(1)).collect();
        assert_eq!(begin, ["table", "listen-http = 9101", "redis", "redis-expires", "sip-source", "foo"], "{notes:#?}");
        assert!(notes[0].starts_with("line 4: table: packets are forwarded by"), "{notes:?}");
        assert!(notes[5].contains("mistyped"), "{notes:?}");
        let none = import("[rtpengine]\ninterface = any;eth0;in:1/10.0.0.1;a/host.example\n").expect("it can be read");
        assert_eq!(none.notes.len(), 4, "{:?}", none.notes);
        assert!(none.toml.contains("addresses = [ { name = \"in:1\", bind = \"10.0.0.1\" } ]"), "{}", none.toml);
    }

    #[test]
    fn what_is_not_said_is_as_with_rtpengine() {
        let config = config("[rtpengine]\ninterface = 10.0.0.1\nmax-sessions = -1\n", RelayFlags::default());
        assert_eq!((config.relay.ports, config.max_calls), (30_000..=40_000, 2500));
    }

    #[test]
    fn the_command_line_wins_over_what_is_imported() {
        let flags = RelayFlags { ports: Some("21000-21099".to_owned()), workers: Some(1), ..RelayFlags::default() };
        let config = config(SAMPLE, flags);
        assert_eq!((config.relay.ports, config.relay.workers), (21_000..=21_099, 1));
    }

    #[test]
    fn the_page_about_changing_over_says_of_each_option_what_is_done_with_it() {
        let page = include_str!("../../../deploy/replace-rtpengine.md");
        let table = page.split_once("| rtpengine.conf | stox.toml |").expect("it is there").1;
        let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
        assert!(rows.len() > 20, "{rows:?}");
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let (option, setting) = (cells[1].trim_matches('`'), cells[2].trim_matches('`'));
            let Imported { toml, notes } = import(&format!("[rtpengine]\n{option}\n")).expect(option);
            let Some((table, key)) = setting.split_once("] ") else {
                assert_eq!((setting, notes.len()), ("none", 1), "{row}");
                assert!(!notes[0].contains("mistyped"), "{row}");
                continue;
            };
            let lines = toml.split_once(&format!("{table}]\n")).map_or("", |(_, lines)| lines);
            let lines = lines.split("\n[").next().unwrap_or_default();
            assert!(
                notes.is_empty() && lines.lines().any(|line| line.starts_with(&format!("{key} = "))),
                "{row}: {toml}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_line() {
        for (text, said) in [
            ("", "line 1: there is no [rtpengine] section"),
            ("timeout = 1\n", "line 1: an option before any [section]"),
            ("[rtpengine\n", "line 1: a section has no `]`"),
            ("[rtpengine]\n\ntimeout\n", "line 3: expected `key = value`"),
            (
                "[rtpengine]\ntimeout = 60 # seconds\n",
                "line 2: timeout = \"60 # seconds\": expected a number of seconds",
            ),
            ("[rtpengine]\nport-min = 80\n", "line 2: port-min = \"80\": expected a port"),
            ("[rtpengine]\nlisten-ng = here\n", "line 2: listen-ng = \"here\": expected [ADDRESS:]PORT"),
            ("[rtpengine]\nlog-level = loud\ntos = 256\n", "line 3: tos = \"256\""),
        ] {
            let error = import(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
