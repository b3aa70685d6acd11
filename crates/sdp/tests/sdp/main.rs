//! SDP read, written, and rewritten on its way.

mod any;
mod facts;
mod fragment;
mod rewrite;
mod session;
