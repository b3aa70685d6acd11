//! The crate against the outside: captured exchanges, whatever properties can produce, and a server on loopback.

mod captures;
mod component;
mod lenient;
mod round_trips;
