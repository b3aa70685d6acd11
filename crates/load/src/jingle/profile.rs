//! How real clients differ (from their source code and from what they were seen to send).

use model::Security;

/// The habits of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// Proposes a call first, and understands a proposal (XEP-0353).
    pub proposes: bool,
    /// Answers a proposal by `ringing`.
    pub sends_ringing: bool,
    /// Ends a call that was proposed with `finish`.
    pub sends_finish: bool,
    /// How its candidates travel.
    pub trickle: Trickle,
    /// RTP and RTCP on one port.
    pub rtcp_mux: bool,
    /// Names its contents as a bundle (XEP-0338).
    pub bundle: bool,
    /// How its media is protected.
    pub security: Security,
}

/// How candidates travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trickle {
    /// All in the session's first action.
    No,
    /// One per transport-info, each with both credentials.
    OneByOne,
    /// One per transport-info, with a user name fragment and without a password; then an empty one that says that
    /// they are complete.
    WithoutPassword,
}

impl Profile {
    /// Conversations and its relatives.
    pub const CONVERSATIONS: Self = Self {
        name: "Conversations",
        proposes: true,
        sends_ringing: true,
        sends_finish: false,
        trickle: Trickle::OneByOne,
        rtcp_mux: true,
        bundle: true,
        security: Security::Dtls,
    };

    /// Dino.
    pub const DINO: Self = Self {
        name: "Dino",
        proposes: true,
        sends_ringing: false,
        sends_finish: false,
        trickle: Trickle::No,
        rtcp_mux: true,
        bundle: false,
        security: Security::Dtls,
    };

    /// Monal; Movim does the same.
    pub const MONAL: Self = Self {
        name: "Monal",
        proposes: true,
        sends_ringing: true,
        sends_finish: true,
        trickle: Trickle::OneByOne,
        rtcp_mux: true,
        bundle: true,
        security: Security::Dtls,
    };

    /// A page with stanza.js: session-initiate at once, candidates afterwards.
    pub const STANZA_JS: Self = Self {
        name: "stanza.js",
        proposes: false,
        sends_ringing: false,
        sends_finish: false,
        trickle: Trickle::WithoutPassword,
        rtcp_mux: true,
        bundle: true,
        security: Security::Dtls,
    };

    /// Gajim: plain RTP over ICE, with RTCP on a port of its own.
    pub const GAJIM: Self = Self {
        name: "Gajim",
        proposes: false,
        sends_ringing: false,
        sends_finish: false,
        trickle: Trickle::No,
        rtcp_mux: false,
        bundle: false,
        security: Security::Rtp,
    };
}
