//! What the translator needs to know. Checked where it is made; nobody asks for a setting later.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use model::{Learning, Reporting, SrtpSuite};
use sip::address::{AddressError, SipUri};

use crate::number::NumberPlan;
use crate::route::RouteTable;
use crate::users::Users;

/// Everything the translator needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our domain on the XMPP side.
    pub component: String,
    /// The address table.
    pub routes: RouteTable,
    /// What is known of single users.
    pub users: Users,
    /// The SIP peers that routes name.
    pub trunks: BTreeMap<String, Trunk>,
    /// How SIP sees an XMPP caller.
    pub caller: CallerForm,
    /// When a proposed call is taken from its caller's devices.
    pub jmi: JmiMode,
    /// SRTP suites, best first.
    pub suites: Vec<SrtpSuite>,
    /// Who reports to both sides by RTCP.
    pub reporting: Reporting,
    /// The name of the relay address that Jingle clients are told; all where it is absent.
    pub jingle_address: Option<String>,
    /// Take media without DTLS from a Jingle client.
    pub allow_plain_jingle: bool,
    /// Answer with 6xx where the callee refuses for all its devices, which ends other branches of a forked call too.
    pub global_failures: bool,
    /// Follow redirections of the SIP side, to where the caller may call itself.
    pub follow_redirects: bool,
    /// Say in messages about calls, which archives keep, no more of their end than XEP-0353 §6 recommends.
    pub privacy_reasons: bool,
    /// Carry video.
    pub video: bool,
    /// How long it may ring.
    pub ring_timeout: Duration,
    /// Calls at once.
    pub max_calls: usize,
    /// Calls at once of one XMPP user, in both directions together.
    pub max_calls_per_user: usize,
    /// Calls attempted in a minute by one XMPP user, and as many to it; 0 is without limit.
    pub max_attempts_per_user: usize,
    /// Calls not answered yet from one address that is no trunk's.
    pub max_half_open_per_source: usize,
    /// A moment, and the time that it was, for those who ask (XEP-0202); without, they are not told.
    pub clock: Option<(Instant, SystemTime)>,
    /// The version we tell who asks (XEP-0092).
    pub version: String,
}

impl Config {
    /// A configuration with the usual values and no trunks.
    pub fn new(component: impl Into<String>, routes: RouteTable) -> Self {
        Self {
            component: component.into(),
            routes,
            users: Users::default(),
            trunks: BTreeMap::new(),
            caller: CallerForm::Escaped,
            jmi: JmiMode::OnAnswer,
            suites: SrtpSuite::USUAL.to_vec(),
            reporting: Reporting::Translated,
            jingle_address: None,
            allow_plain_jingle: false,
            global_failures: false,
            follow_redirects: true,
            privacy_reasons: false,
            video: false,
            ring_timeout: Duration::from_secs(180),
            max_calls: 1_000,
            max_calls_per_user: 2,
            max_attempts_per_user: 60,
            max_half_open_per_source: 10,
            clock: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// A SIP peer that we call through and are called from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trunk {
    /// Its host, with the port if there is one, as it stands in the Request-URI.
    pub host: String,
    /// What protects its media.
    pub media: TrunkMedia,
    /// Take an SDES key also where the peer wants RTCP in clear with it (RFC 4568 §6.3.2).
    pub unencrypted_srtcp: bool,
    /// Whether another source than the signalled one may be learnt.
    pub learning: Learning,
    /// The name of the relay address its media uses; any where it is absent.
    pub address: Option<String>,
    /// How it sees an XMPP caller; as all others do where it is absent.
    pub caller: Option<CallerForm>,
    /// The number of callers that have none of their own, with [`CallerForm::Number`].
    pub number: Option<String>,
    /// Tell it who calls by P-Asserted-Identity, also of callers that nobody else is to know (RFC 3325 §6).
    pub assert_identity: bool,
    /// How it writes numbers.
    pub numbers: NumberPlan,
    /// Write `;user=phone` behind numbers (RFC 3261 §19.1.1).
    pub user_phone: bool,
    /// Calls at once, in both directions together; 0 is without limit of its own.
    pub max_calls: usize,
    /// Calls attempted in a minute, in both directions together; 0 is without limit.
    pub max_attempts: usize,
}

impl Trunk {
    /// Makes a trunk of `sip:host[:port]`.
    ///
    /// # Errors
    ///
    /// It is no SIP URI.
    pub fn new(uri: &str, media: TrunkMedia) -> Result<Self, AddressError> {
        let uri = SipUri::parse(uri)?;
        let host = uri.port.map_or_else(|| uri.host.clone(), |port| format!("{}:{port}", uri.host));
        Ok(Self {
            host,
            media,
            unencrypted_srtcp: false,
            learning: Learning::Off,
            address: None,
            caller: None,
            number: None,
            assert_identity: false,
            numbers: NumberPlan::default(),
            user_phone: false,
            max_calls: 0,
            max_attempts: 0,
        })
    }
}

/// What protects a trunk's media.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TrunkMedia {
    /// Nothing: plain RTP.
    Rtp,
    /// SRTP with keys in the SDP (RFC 4568).
    Sdes,
    /// The same where the peer wants it, and otherwise nothing: keys are offered beside a profile that does not ask for
    /// them (RFC 8643).
    Osrtp,
    /// DTLS-SRTP (RFC 5763), with ICE where the peer has it.
    Dtls,
}

/// How SIP sees an XMPP caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallerForm {
    /// `sip:alice%40example.org@component`: the whole JID is the user part.
    Escaped,
    /// `sip:alice@example.org`: domains are the same on both sides (RFC 7247).
    Domain,
    /// `sip:+4930123456@trunk`: the user's number; as `Escaped` where it has none.
    Number,
}

/// When a call that was proposed (XEP-0353) is taken from its caller's devices.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JmiMode {
    /// When the callee has answered: the caller sees what happens, codecs are guessed in the INVITE.
    OnAnswer,
    /// At once: the caller's own codecs are in the INVITE.
    EarlyProceed,
    /// At once, and the session is accepted before the callee answers, with one codec: early media is heard.
    EarlyAccept,
}
