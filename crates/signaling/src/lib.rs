//! The translator between Jingle and SIP: a back-to-back user agent without I/O, clock or threads.
//!
//! Stanzas, SIP events, the relay's news and the time go in; [`Action`]s come out. After every `handle_*`, drain
//! [`Translator::poll_action`], then ask [`Translator::poll_timeout`] when to come back.
//!
//! ```
//! use std::time::Instant;
//!
//! use signaling::{Config, RouteRow, RouteTable, Translator};
//!
//! let rows = [RouteRow {
//!     from: "sip".into(),
//!     user: "(.+)".into(),
//!     to: vec!["xmpp:{1}@localhost".into()],
//!     ..RouteRow::default()
//! }];
//! let routes = RouteTable::new(&rows, &[]).expect("the row is right");
//! let random = Box::new(|bytes: &mut [u8]| bytes.fill(7)); // a real one must be unguessable
//! let mut translator = Translator::new(Config::new("sip.localhost", routes), random);
//! translator.handle_xmpp_link(true, Instant::now());
//! assert!(translator.is_idle());
//! ```
//!
//! - [`translator`]: which call an input is for, whether there may be one, and what is due
//! - `call`: a call, its two legs, and the relay between them; from set-up over changes to its end
//! - `ending`: why a call ends, in the words of both sides: the tables
//! - `codecs`: what one leg offers and answers, given the other
//! - `plan`: where a call goes and what each side sees of it, as [`route_test`] tells: by [`route`], the ordered address
//!   table, [`users`] and [`number`], and `caller`: who calls, as the other side sees it
//! - `directory`: who is there and what it can do: presence and service discovery
//! - [`record`]: what is put on record of a call
//! - `limits`: how many calls there may be, and how often somebody may call
//! - `outbox`: what goes out and what is waited for, `tombstone`: what is over
//! - [`action`], [`config`], [`counters`]: what the translator wants, needs to know, and counts

pub mod action;
mod call;
mod caller;
mod codecs;
pub mod config;
pub mod counters;
mod directory;
mod ending;
mod limits;
pub mod number;
mod outbox;
mod plan;
pub mod record;
pub mod route;
pub mod route_test;
mod tombstone;
pub mod translator;
pub mod users;

pub use action::{Action, LogLine};
pub use config::{CallerForm, Config, JmiMode, Trunk, TrunkMedia};
pub use counters::{Counters, DirectionCounters};
pub use number::{NumberFormat, NumberPlan};
pub use record::Record;
pub use route::{RouteError, RouteRow, RouteTable};
pub use translator::{Random, Translator};
pub use users::{UserError, UserRow, Users};
