//! The system calls that std, mio and socket2 lack: many datagrams at a time, the core a thread runs on, open files, and
//! memory that is no longer needed.
//!
//! The only `unsafe` of the workspace's I/O, behind a safe face. A datagram arrives in a buffer with room behind it, so
//! that an authentication tag never costs a copy.
//!
//! - `address`: socket addresses as the kernel writes them
//! - `arrivals`: receiving from many sockets into one batch
//! - `departures`: sending many datagrams through one socket
//!
//! Measured and left out, because they did not pay where a packet comes 50 times a second: `io_uring` (multishot receive
//! into provided buffers, sends in the same submission), and connected sockets, from which the kernel would hide whom it
//! refused.

mod address;
mod arrivals;
mod departures;

use std::io;
use std::mem;

use relay::Datagram;

pub(crate) use arrivals::{Arrival, Arrivals};
pub(crate) use departures::{Departure, Segmentation, send};

/// Datagrams that are taken together.
pub(crate) const BATCH: usize = 64;

/// Bytes of one buffer.
pub(crate) const BUFFER: usize = 2048;

/// Bytes of the longest datagram taken; longer ones are cut by the kernel and reported as such.
pub(crate) const LONGEST: usize = BUFFER - Datagram::TAIL_ROOM;

/// A header that names one address and no control data, to be read or written by the kernel.
fn message(
    address: *mut address::Name,
    length: libc::socklen_t,
    vectors: *mut libc::iovec,
    count: usize,
) -> libc::msghdr {
    // SAFETY: msghdr is a C structure of numbers and pointers, for which zeros are valid; the private padding fields
    // of some C libraries leave no other way to make one.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = address.cast();
    header.msg_namelen = length;
    header.msg_iov = vectors;
    // The C libraries disagree about the type.
    header.msg_iovlen = count as _;
    header
}

/// The cores this process may run on.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: cpu_set_t is an array of numbers, for which zeros are valid.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the set is alive and of the size named; 0 means the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let capacity = 8 * size_of::<libc::cpu_set_t>();
    // SAFETY: CPU_ISSET reads the bit of a core below the set's capacity.
    Ok((0..capacity).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect())
}

/// Keeps the calling thread on one of [`allowed_cores`].
///
/// # Errors
///
/// The kernel's.
pub(crate) fn pin_to(core: usize) -> io::Result<()> {
    if core >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: cpu_set_t is an array of numbers, for which zeros are valid.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: CPU_SET writes the bit of a core below the set's capacity, which was checked above.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the set is alive and of the size named; 0 means the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives the kernel back what the allocator holds free, where it is one that does not do so by itself.
pub(crate) fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number, and the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// How many files this process may have open.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn most_open_files() -> io::Result<usize> {
    Ok(usize::try_from(open_files_limit()?.rlim_cur).unwrap_or(usize::MAX))
}

/// Allows this process as many open files as it may allow itself: each port of a call is one.
///
/// # Errors
///
/// The kernel refuses.
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = open_files_limit()?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a whole `rlimit` that lives across the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn open_files_limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a whole `rlimit` that lives across the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_on_the_core_it_was_pinned_to() {
        std::thread::spawn(|| {
            let core = *allowed_cores().expect("the kernel says").last().expect("we run somewhere");
            pin_to(core).expect("the core is allowed");
            assert_eq!(allowed_cores().expect("the kernel says"), [core]);
        })
        .join()
        .expect("the thread did not panic");
    }
}
