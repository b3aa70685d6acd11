//! The bytes of media: telling packets apart, RTP and RTCP headers, SRTP, and the rewriting between two legs.
//!
//! Pure and in place: nothing here does I/O, reads a clock, or allocates for a packet. A packet is a [`Packet`], bytes
//! with room behind them, and goes through three stages: `open`, `apply` or `translate`, `seal`.
//!
//! ```
//! use media::{demux::Media, packet::Packet, srtp};
//! use model::SrtpSuite;
//!
//! let key = srtp::MasterKey::new(SrtpSuite::AeadAes128Gcm, &[7; 16], &[9; 12])?;
//! let (mut outbound, mut inbound) = (srtp::Outbound::new(&key), srtp::Inbound::new(&key));
//!
//! let mut buffer = [0; 64];
//! buffer[..14].copy_from_slice(b"\x80\x00\x00\x01\0\0\0\xa0\xde\xad\xbe\xefhi");
//! let mut packet = Packet::new(&mut buffer, 14).expect("14 bytes fit into 64");
//! outbound.seal(&mut packet, Media::Rtp)?;
//! assert_eq!(packet.len(), 14 + 16);
//! inbound.open(&mut packet, Media::Rtp)?;
//! assert!(packet.ends_with(b"hi"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`packet`]: bytes with room before and behind them
//! - [`demux`]: STUN, DTLS, RTP or RTCP
//! - [`rtp`]: the header; [`extension`]: what may follow it
//! - [`rtcp`]: reports and feedback: walked, written, translated between legs
//! - [`srtp`]: protection of both, by keys from DTLS or SDES
//! - [`rewrite`]: SSRC, sequence number, timestamp and payload type towards one receiver
//! - [`statistics`]: what a receiver knows of loss and jitter; [`emodel`]: how good that sounds
//! - [`dtmf`]: key presses; [`g711`], [`tone`]: sound for the built-in endpoints

pub mod demux;
pub mod dtmf;
pub mod emodel;
pub mod extension;
pub mod g711;
pub mod packet;
pub mod rewrite;
pub mod rtcp;
pub mod rtp;
pub mod srtp;
pub mod statistics;
pub mod tone;

#[cfg(test)]
mod vectors;

pub use packet::Packet;
