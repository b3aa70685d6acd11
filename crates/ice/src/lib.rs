//! ICE for one component of one leg (RFC 8445), as a core without I/O.
//!
//! An [`Agent`] holds the candidates, checks and consent of one component. RTP and RTCP on separate ports are two
//! agents with the same credentials and tie-breaker. The checks are those of the `is` crate; this crate adds what a
//! relay needs around it: credentials from a cryptographic source, an answer to checks that come before the peer's
//! credentials do, the symmetry of addresses, consent (RFC 7675), the point of giving up, restart with the old pair in
//! use until a new one is selected, and a bound on everything.
//!
//! ```
//! use std::time::Instant;
//! use ice::{Agent, Config, LocalAddress, Role};
//! use model::Component;
//!
//! # #[allow(clippy::disallowed_methods, reason = "an example has a clock")]
//! # let now = Instant::now();
//! let mut agent = Agent::new(Config {
//!     component: Component::Rtp,
//!     role: Role::Controlled,
//!     credentials: ice::new_credentials(),
//!     tie_breaker: ice::new_tie_breaker(),
//!     addresses: vec![LocalAddress { bound: "192.0.2.1:30000".parse()?, advertised: None }],
//! })?;
//! let candidates = agent.local_candidates(); // to the peer, by signalling
//! agent.set_remote_credentials(&ice::new_credentials(), now)?; // from the peer
//! while let Some(transmit) = agent.poll_transmit() { /* send it */ }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`agent`]: the agent
//! - `generation`: the checks between two pairs of credentials
//! - [`candidate`]: our candidates, and which of the peer's are accepted
//! - [`credentials`]: user name fragments, passwords, tie-breakers
//! - [`stun`]: the little of STUN that is needed around the checks

pub mod agent;
pub mod candidate;
pub mod credentials;
mod generation;
pub mod stun;

pub use agent::{Agent, Config, ConfigError, Dropped, Event, Pair, Role, Transmit};
pub use candidate::{CandidateError, LocalAddress};
pub use credentials::{CredentialsError, check as check_credentials, new_credentials, new_tie_breaker};
