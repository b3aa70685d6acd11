//! Receiving: one batch is filled from many sockets, one system call for each.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

use relay::SocketId;

use super::address::Name;
use super::{BATCH, BUFFER, LONGEST, message};

/// Buffers for the datagrams of one batch, with the headers that the kernel fills in; those are made once.
pub(crate) struct Arrivals {
    slots: NonNull<Slots>,
    /// Which socket filled each slot.
    sockets: [SocketId; BATCH],
    filled: usize,
}

/// What the kernel is given. The headers point to the rest, so that all of it is reached through one raw pointer.
struct Slots {
    buffers: [[u8; BUFFER]; BATCH],
    names: [Name; BATCH],
    vectors: [libc::iovec; BATCH],
    headers: [libc::mmsghdr; BATCH],
}

/// One datagram in its buffer.
pub(crate) struct Arrival<'a> {
    /// The socket it came to.
    pub(crate) socket: SocketId,
    /// The whole buffer.
    pub(crate) buffer: &'a mut [u8; BUFFER],
    /// Bytes of the datagram, at the beginning of the buffer.
    pub(crate) length: usize,
    /// Who sent it. `None`: the datagram was longer than [`LONGEST`], or its sender has no IP address.
    pub(crate) from: Option<SocketAddr>,
}

// SAFETY: the pointers lead nowhere but into memory that this value alone owns.
unsafe impl Send for Arrivals {}

impl Arrivals {
    /// Makes empty buffers.
    pub(crate) fn new() -> Self {
        // SAFETY: numbers and pointers only, for which zeros are valid.
        let slots = NonNull::from(Box::leak(Box::new(unsafe { mem::zeroed::<Slots>() })));
        let all = slots.as_ptr();
        for slot in 0..BATCH {
            // SAFETY: the slot is inside each array, and nothing else refers to them yet.
            unsafe {
                (*all).vectors[slot] =
                    libc::iovec { iov_base: (&raw mut (*all).buffers[slot]).cast(), iov_len: LONGEST };
                let header = message(&raw mut (*all).names[slot], Name::LENGTH, &raw mut (*all).vectors[slot], 1);
                (*all).headers[slot].msg_hdr = header;
            }
        }
        Self { slots, sockets: [SocketId(0); BATCH], filled: 0 }
    }

    /// How many datagrams there are.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// How many more there is room for.
    pub(crate) fn room(&self) -> usize {
        BATCH - self.filled
    }

    /// Adds up to `most` datagrams of a socket without waiting, as far as there is room, and returns how many. Fewer
    /// than were asked for means that the socket is drained.
    ///
    /// # Errors
    ///
    /// The kernel's, `WouldBlock` among them.
    pub(crate) fn receive(&mut self, id: SocketId, socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let asked = most.min(self.room());
        let length = u32::try_from(asked).expect("a batch is far smaller than 2^32");
        // SAFETY: `filled` and the `asked` slots behind it are inside the array. Each header names one address of its
        // full size and one vector, and each vector LONGEST bytes of a buffer of BUFFER bytes: `new` wrote them and
        // `clear` restored what the kernel changed. `self` is borrowed, so nothing else touches them during the call.
        let received = unsafe {
            let headers = (&raw mut (*self.slots.as_ptr()).headers).cast::<libc::mmsghdr>().add(self.filled);
            libc::recvmmsg(socket.as_raw_fd(), headers, length, libc::MSG_DONTWAIT, ptr::null_mut())
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        self.sockets[self.filled..self.filled + received].fill(id);
        self.filled += received;
        Ok(received)
    }

    /// The datagrams, in the order they came.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = Arrival<'_>> {
        let all = self.slots.as_ptr();
        self.sockets[..self.filled].iter().enumerate().map(move |(slot, socket)| {
            // SAFETY: the slot is inside each array. Each is given out once while `self` is borrowed, and a buffer
            // always holds numbers.
            let (buffer, name, header) =
                unsafe { (&mut (*all).buffers[slot], &(*all).names[slot], &(*all).headers[slot]) };
            let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let length = (header.msg_len as usize).min(LONGEST);
            Arrival { socket: *socket, buffer, length, from: if cut { None } else { name.address() } }
        })
    }

    /// The bytes of a datagram's buffer.
    pub(crate) fn buffer(&self, slot: usize) -> &[u8; BUFFER] {
        // SAFETY: the memory lives as long as `self`, which is borrowed; a slot outside the array is a panic.
        unsafe { &(*self.slots.as_ptr()).buffers[slot] }
    }

    /// Makes room again.
    pub(crate) fn clear(&mut self) {
        for slot in 0..mem::take(&mut self.filled) {
            // SAFETY: the slot is inside each array, and `self` is borrowed alone.
            unsafe {
                (*self.slots.as_ptr()).names[slot] = Name::none();
                (*self.slots.as_ptr()).headers[slot].msg_hdr.msg_namelen = Name::LENGTH;
            }
        }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        // SAFETY: `new` leaked this box, and nothing refers to it any more.
        drop(unsafe { Box::from_raw(self.slots.as_ptr()) });
    }
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

    fn text(arrival: &Arrival<'_>) -> Vec<u8> {
        arrival.buffer[..arrival.length].to_vec()
    }

    #[test]
    fn a_batch_is_filled_from_several_sockets() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (first, second) = pair(address);
            let mut arrivals = Arrivals::new();
            for round in 0..3 {
                for (there, number) in [(&first, 1), (&second, 2)] {
                    let to = there.local_addr().expect("it is bound");
                    first.send_to(&[number, round], to).expect("loopback takes it");
                    second.send_to(&[number, round, 0], to).expect("loopback takes it");
                    let id = SocketId(u32::from(number));
                    assert_eq!(arrivals.receive(id, there.as_fd(), 16).expect("they are there"), 2);
                }
                let came: Vec<_> = arrivals.iter_mut().map(|one| (one.socket.0, text(&one), one.from)).collect();
                let from = [&first, &second].map(|socket| socket.local_addr().ok());
                let wanted = [
                    (1, vec![1, round], from[0]),
                    (1, vec![1, round, 0], from[1]),
                    (2, vec![2, round], from[0]),
                    (2, vec![2, round, 0], from[1]),
                ];
                assert_eq!(came, wanted);
                assert_eq!(arrivals.buffer(3)[..3], [2, round, 0]);
                arrivals.clear();
                assert_eq!(arrivals.len(), 0);
            }
            let drained = arrivals.receive(SocketId(1), first.as_fd(), 16).expect_err("nothing more was sent");
            assert_eq!(drained.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn no_more_is_received_than_there_is_room_for() {
        let (here, there) = pair("127.0.0.1:0");
        let to = there.local_addr().expect("it is bound");
        for number in 0..=u8::try_from(BATCH).expect("a batch is small") {
            here.send_to(&[number], to).expect("loopback takes it");
        }
        let mut arrivals = Arrivals::new();
        assert_eq!(arrivals.receive(SocketId(0), there.as_fd(), 16).expect("they are there"), 16);
        assert_eq!(arrivals.receive(SocketId(0), there.as_fd(), BATCH).expect("they are there"), BATCH - 16);
        assert_eq!(arrivals.room(), 0);
        arrivals.clear();
        assert_eq!(arrivals.receive(SocketId(0), there.as_fd(), BATCH).expect("one is left"), 1);
    }

    #[test]
    fn a_datagram_too_long_for_its_buffer_has_no_sender() {
        let (here, there) = pair("127.0.0.1:0");
        let to = there.local_addr().expect("it is bound");
        here.send_to(&[1; LONGEST], to).expect("loopback takes it");
        here.send_to(&[2; LONGEST + 1], to).expect("loopback takes it");

        let mut arrivals = Arrivals::new();
        assert_eq!(arrivals.receive(SocketId(0), there.as_fd(), 16).expect("they are there"), 2);
        let known: Vec<bool> = arrivals.iter_mut().map(|arrival| arrival.from.is_some()).collect();
        assert_eq!(known, [true, false]);
    }
}
