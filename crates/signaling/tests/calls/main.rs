//! The translator with a scripted relay between two scripted sides, on virtual time.

mod addresses;
mod change;
mod contents;
mod directory;
mod from_sip;
mod from_xmpp;
mod hang_up;
mod random;
mod refusals;
mod transfer;
mod trickle;
mod world;
