//! Endpoints that make calls and media, for the demonstration, for load and for tests.
//!
//! ```no_run
//! use load::component_server::ComponentServer;
//! use load::jingle::{Client, Event, Profile};
//! use model::Secret;
//!
//! # async fn call() -> anyhow::Result<()> {
//! let server = ComponentServer::start("127.0.0.1:0".parse()?, "sip.localhost", Secret::new("s3cret".into())).await?;
//! let alice = server.join("alice@localhost/phone".parse()?);
//! let mut alice = Client::new(alice, Profile::CONVERSATIONS, "127.0.0.1".parse()?, 440.0);
//! server.connected().await;
//! alice.call("100@sip.localhost".parse()?)?;
//! while alice.next().await? != Event::Answered {}
//! println!("{:?}", alice.media());
//! # Ok(())
//! # }
//! ```
//!
//! - [`component_server`]: a small XMPP server for one component and users inside this process (XEP-0114)
//! - [`endpoint`]: the media end of a call
//! - [`jingle`]: a Jingle client
//! - [`phone`]: a SIP phone
//! - [`trial`]: load for one packet relay, ours or another, and what it measures
//! - `negotiation`: what an end offers and answers; `transport`: one component of it: ICE, DTLS, keys

pub mod component_server;
pub mod endpoint;
pub mod jingle;
mod negotiation;
pub mod phone;
mod transport;
pub mod trial;
