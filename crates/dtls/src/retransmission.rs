//! Makes OpenSSL write the retransmissions of a flight in advance, so that they can be sent by our clock.
//!
//! OpenSSL retransmits by the system's clock alone, and only it can: a retransmitted record needs a new sequence number,
//! and the last message of a flight is encrypted. But it asks a callback how long to wait. This one answers "no time at
//! all" until every retransmission that we may ever want has been written, and then "an hour":
//!
//! ```text
//! flight complete -> next(0) = 1 µs -> expired -> next(1) = 2 µs, first copy -> expired -> … -> next(COPIES) = 1 h
//! ```
//!
//! So the flight and all its copies come out of the call that completed the flight. [`copy`] says which of them is being
//! written; whoever holds them sends one at each of his timeouts, and throws the rest away when the peer has answered.
//! OpenSSL gives up after twelve.

use std::cell::Cell;
use std::ffi::c_uint;

use foreign_types_shared::ForeignTypeRef;
use openssl::ssl::SslRef;
use openssl_sys::SSL;

/// How many copies of a flight are written.
pub(crate) const COPIES: usize = 9;
/// Long enough for OpenSSL never to act by its own clock, in microseconds.
const HOUR: c_uint = 3_600_000_000;

thread_local! {
    static COPY: Cell<usize> = const { Cell::new(0) };
}

/// Which copy OpenSSL is writing on this thread: 0 is the flight itself.
pub(crate) fn copy() -> usize {
    COPY.get()
}

/// Begins a call into OpenSSL: what it writes first is no copy.
pub(crate) fn begin() {
    COPY.set(0);
}

/// Hands an association's retransmission over to us.
#[allow(unsafe_code, reason = "the one function of OpenSSL that the openssl crate lacks")]
pub(crate) fn take_over(ssl: &mut SslRef) {
    // SAFETY: the pointer is that of a live SSL object which we hold exclusively, and OpenSSL only stores the callback.
    // The callback is a static function that neither uses the pointer it is given nor unwinds.
    unsafe { DTLS_set_timer_cb(ssl.as_ptr(), next) }
}

/// Called with 0 when a flight begins, with its last answer when that time is over; answers in microseconds. Anything
/// up to 15,000 has expired as soon as it is asked about.
extern "C" fn next(_: *mut SSL, previous: c_uint) -> c_uint {
    let copy = usize::try_from(previous).unwrap_or(COPIES);
    COPY.set(copy);
    if copy < COPIES { previous + 1 } else { HOUR }
}

#[allow(unsafe_code, reason = "a declaration for the call above")]
unsafe extern "C" {
    fn DTLS_set_timer_cb(ssl: *mut SSL, callback: extern "C" fn(*mut SSL, c_uint) -> c_uint);
}
