//! What the command line of `stox relay` says, for people who would rather not write a file.

use std::path::PathBuf;

/// They win over the file. They are checked together with it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RelayFlags {
    /// A configuration file, of which `[relay]`, `[ng]`, `[log]` and `max_calls` of `[call]` are read.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// An rtpengine.conf, of which is taken what has an equivalent; what has none is listed on standard error.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub(crate) import_rtpengine_conf: Option<PathBuf>,
    /// Prints what was imported as a configuration file, and ends.
    #[arg(long, requires = "import_rtpengine_conf")]
    pub(crate) print_config: bool,
    /// Where requests are taken: udp:ADDRESS:PORT, tcp:…, tls:…, http:… or https:…, the last two with WebSocket;
    /// udp:127.0.0.1:2223 if left out.
    #[arg(long, value_name = "TRANSPORT:ADDRESS:PORT")]
    pub(crate) ng: Vec<String>,
    /// Whose requests are taken; only this machine's if left out.
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub(crate) peer: Vec<String>,
    /// Requests a second that are taken from each peer; as many as it likes if left out.
    #[arg(long, value_name = "N")]
    pub(crate) max_requests: Option<u32>,
    /// Requests that a peer may send at once; a second's worth if left out.
    #[arg(long, value_name = "N")]
    pub(crate) max_burst: Option<u32>,
    /// What tls: and https: show, in PEM, with its chain.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Where media is taken, and what peers are told instead; or another name for one of these addresses: ALIAS=NAME.
    #[arg(long, value_name = "[NAME/]BIND[!ADVERTISED]")]
    pub(crate) address: Vec<String>,
    /// UDP ports for media, 30000-39999 if left out.
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) ports: Option<String>,
    /// Threads that forward; one for each core if left out.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// How addresses are learnt where an offer says nothing: heuristic, delayed, immediate or off.
    #[arg(long, value_name = "HOW")]
    pub(crate) endpoint_learning: Option<String>,
}
