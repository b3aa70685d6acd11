//! The relay core between two endpoints, over a network that loses, delays, reorders and duplicates.

mod addresses;
mod calls;
mod flow;
mod ice_changes;
mod ice_paths;
mod latching;
mod limits;
mod network;
mod peer;
mod profiles;
mod rekeying;
mod reports;
mod security;
mod shared;
mod transfers;
mod world;
