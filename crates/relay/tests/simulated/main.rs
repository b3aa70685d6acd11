//! The relay core between two endpoints, over a network that loses, delays, reorders and duplicates.

mod calls;
mod network;
mod peer;
mod world;
