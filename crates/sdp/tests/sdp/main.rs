//! SDP read, written, and rewritten on its way.

mod any;
mod facts;
mod rewrite;
mod session;
