//! The system calls that std, mio and socket2 lack: many datagrams at a time, the core a thread runs on, open files.
//!
//! The only `unsafe` of the workspace's I/O, behind a safe face. A datagram arrives in a buffer with room behind it, so
//! that an authentication tag never costs a copy.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use relay::Datagram;
use socket2::{SockAddr, SockAddrStorage};

/// Datagrams per system call.
pub(crate) const BATCH: usize = 16;

/// Bytes of one buffer.
pub(crate) const BUFFER: usize = 2048;

/// Bytes of the longest datagram taken; longer ones are cut by the kernel and reported as such.
pub(crate) const LONGEST: usize = BUFFER - Datagram::TAIL_ROOM;

/// Buffers for what one system call receives.
pub(crate) struct Arrivals {
    buffers: Box<[[u8; BUFFER]; BATCH]>,
    lengths: [usize; BATCH],
    sources: [Option<SocketAddr>; BATCH],
}

/// One datagram in its buffer.
pub(crate) struct Arrival<'a> {
    /// The whole buffer.
    pub(crate) buffer: &'a mut [u8; BUFFER],
    /// Bytes of the datagram, at the beginning of the buffer.
    pub(crate) length: usize,
    /// Who sent it. `None`: the datagram was longer than [`LONGEST`], or its sender has no IP address.
    pub(crate) from: Option<SocketAddr>,
}

impl Arrivals {
    /// Makes empty buffers.
    pub(crate) fn new() -> Self {
        Self { buffers: Box::new([[0; BUFFER]; BATCH]), lengths: [0; BATCH], sources: [None; BATCH] }
    }

    /// Receives up to [`BATCH`] datagrams without waiting, over those received before. Returns how many; fewer than
    /// [`BATCH`] means that the socket is drained.
    ///
    /// # Errors
    ///
    /// The kernel's, `WouldBlock` among them.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut addresses: [SockAddrStorage; BATCH] = std::array::from_fn(|_| SockAddrStorage::zeroed());
        let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|slot| libc::iovec {
            iov_base: self.buffers[slot].as_mut_ptr().cast(),
            iov_len: LONGEST,
        });
        let mut headers: [libc::mmsghdr; BATCH] = std::array::from_fn(|slot| libc::mmsghdr {
            msg_hdr: message(ptr::from_mut(&mut addresses[slot]), addresses[slot].size_of(), &mut vectors[slot]),
            msg_len: 0,
        });
        // SAFETY: each header names one address of its full size and one vector, and each vector names LONGEST bytes
        // inside a buffer of BUFFER bytes. All of them are alive and not otherwise touched during the call.
        let received = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), BATCH_C, libc::MSG_DONTWAIT, ptr::null_mut())
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (slot, (header, address)) in headers.iter().zip(addresses).enumerate().take(received) {
            let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            // SAFETY: the storage was zeroed, and the kernel wrote an address of this length over it.
            let from = unsafe { SockAddr::new(address, header.msg_hdr.msg_namelen) };
            self.lengths[slot] = (header.msg_len as usize).min(LONGEST);
            self.sources[slot] = if cut { None } else { from.as_socket() };
        }
        Ok(received)
    }

    /// The first `count` datagrams of those that the last [`Self::receive`] gave.
    pub(crate) fn taken(&mut self, count: usize) -> impl Iterator<Item = Arrival<'_>> {
        let Self { buffers, lengths, sources } = self;
        let slots = buffers.iter_mut().zip(lengths).zip(sources).take(count);
        slots.map(|((buffer, length), from)| Arrival { buffer, length: *length, from: *from })
    }

    /// The bytes of a slot's buffer.
    pub(crate) fn buffer(&self, slot: usize) -> &[u8; BUFFER] {
        &self.buffers[slot]
    }
}

/// [`BATCH`] as the kernel takes it.
const BATCH_C: u32 = 16;
const _: () = assert!(BATCH_C as usize == BATCH, "one number in two types");

/// A datagram to send.
#[derive(Clone, Copy)]
pub(crate) struct Departure<'a> {
    /// What.
    pub(crate) bytes: &'a [u8],
    /// Where to.
    pub(crate) to: SocketAddr,
}

/// Sends up to [`BATCH`] datagrams through one socket without waiting, and returns how many the kernel took.
///
/// # Errors
///
/// The kernel's, about the first datagram.
pub(crate) fn send<'a>(
    socket: BorrowedFd<'_>,
    departures: impl IntoIterator<Item = Departure<'a>>,
) -> io::Result<usize> {
    let mut addresses = [const { MaybeUninit::<SockAddr>::uninit() }; BATCH];
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let mut count = 0;
    for (slot, departure) in departures.into_iter().take(BATCH).enumerate() {
        let address = addresses[slot].write(SockAddr::from(departure.to));
        let vector = vectors[slot].write(libc::iovec {
            iov_base: departure.bytes.as_ptr().cast_mut().cast(),
            iov_len: departure.bytes.len(),
        });
        let header = message(address.as_ptr().cast_mut(), address.len(), vector);
        headers[slot].write(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        count = slot + 1;
    }
    let length = u32::try_from(count).expect("a batch is far smaller than 2^32");
    // SAFETY: the first `length` headers are written, and each names an address and a vector that are written, alive
    // until the end of this function and only read by the kernel; each vector names a slice borrowed for 'a.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), length, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// A header that names one address and one vector, and no control data.
fn message(address: *mut SockAddrStorage, address_length: libc::socklen_t, vector: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: msghdr is a C structure of numbers and pointers, for which zeros are valid; the private padding fields
    // of some C libraries leave no other way to make one.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = address.cast();
    header.msg_namelen = address_length;
    header.msg_iov = vector;
    header.msg_iovlen = 1;
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

/// Allows this process as many open files as it may allow itself: each port of a call is one.
///
/// # Errors
///
/// The kernel refuses.
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a whole `rlimit` that lives across the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a whole `rlimit` that lives across the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind(address).expect("loopback has a free port");
        (bind(), bind())
    }

    #[test]
    fn a_batch_arrives_as_it_was_sent() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (here, there) = pair(address);
            let to = there.local_addr().expect("it is bound");
            let texts: Vec<Vec<u8>> = (0..5).map(|number| vec![number; 100 + usize::from(number)]).collect();
            let departures = texts.iter().map(|bytes| Departure { bytes, to });
            assert_eq!(send(here.as_fd(), departures).expect("loopback takes them"), 5);

            let mut arrivals = Arrivals::new();
            assert_eq!(arrivals.receive(there.as_fd()).expect("they are there"), 5);
            for (arrival, text) in arrivals.taken(5).zip(&texts) {
                assert_eq!(&arrival.buffer[..arrival.length], text);
                assert_eq!(arrival.from, here.local_addr().ok());
            }
            let drained = arrivals.receive(there.as_fd()).expect_err("nothing more was sent");
            assert_eq!(drained.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_datagram_too_long_for_its_buffer_has_no_sender() {
        let (here, there) = pair("127.0.0.1:0");
        let to = there.local_addr().expect("it is bound");
        let (long, longer) = ([1; LONGEST], [2; LONGEST + 1]);
        let departures = [Departure { bytes: &long, to }, Departure { bytes: &longer, to }];
        assert_eq!(send(here.as_fd(), departures).expect("loopback takes them"), 2);

        let mut arrivals = Arrivals::new();
        assert_eq!(arrivals.receive(there.as_fd()).expect("they are there"), 2);
        let known: Vec<bool> = arrivals.taken(2).map(|arrival| arrival.from.is_some()).collect();
        assert_eq!(known, [true, false]);
    }

    #[test]
    fn what_cannot_be_sent_is_an_error() {
        let (here, _) = pair("127.0.0.1:0");
        let to = "127.0.0.1:0".parse().expect("an address");
        assert!(send(here.as_fd(), [Departure { bytes: &[0], to }]).is_err());
    }

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
