//! Sending: one system call for the datagrams of one socket.
//!
//! Datagrams of equal length to one address, of which the last may be shorter, go to the kernel as one that it cuts
//! into those again (`UDP_SEGMENT`), so that they pass its layers once.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::address::Name;
use super::{BATCH, message};

/// A datagram to send.
#[derive(Clone, Copy)]
pub(crate) struct Departure<'a> {
    /// What.
    pub(crate) bytes: &'a [u8],
    /// Where to.
    pub(crate) to: SocketAddr,
}

/// Whether the kernel cuts one datagram into several.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Segmentation {
    /// It does.
    Kernel,
    /// It does not, or is not to.
    Off,
}

impl Segmentation {
    /// Asks the kernel: Linux can since 4.18. An older one would send them uncut, so nothing is tried out.
    pub(crate) fn of_kernel() -> Self {
        let Ok(socket) = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)) else { return Self::Off };
        let mut size: libc::c_int = 0;
        let mut length: libc::socklen_t = 4;
        // SAFETY: both are alive, and `length` is the size of a C integer on every Linux.
        let outcome = unsafe {
            let size = (&raw mut size).cast();
            libc::getsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, size, &raw mut length)
        };
        if outcome == 0 { Self::Kernel } else { Self::Off }
    }
}

/// Sends the first of some datagrams through one socket without waiting: as many as one system call takes. Returns how
/// many the kernel took.
///
/// # Errors
///
/// The kernel's, about the first datagram.
pub(crate) fn send<'a>(
    socket: BorrowedFd<'_>,
    departures: impl Iterator<Item = Departure<'a>> + Clone,
    segmentation: Segmentation,
) -> io::Result<usize> {
    let departures = departures.take(BATCH);
    let alone = match segmentation {
        Segmentation::Kernel => alone(departures.clone()),
        Segmentation::Off => BATCH,
    };
    if alone > 0 {
        return send_each(socket, departures.take(alone));
    }
    let count = run(departures.clone());
    match send_run(socket, departures.clone().take(count)) {
        Ok(()) => Ok(count),
        // The path has no room for such segments, or its device wants checksums that only whole datagrams have.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE)) => {
            send_each(socket, departures.take(count))
        }
        Err(error) => Err(error),
    }
}

/// Says whether a datagram may follow another in a run.
fn joins(one: &Departure<'_>, next: &Departure<'_>) -> bool {
    one.to == next.to && (1..=one.bytes.len()).contains(&next.bytes.len())
}

/// How many datagrams come before the first run of at least two.
fn alone<'a>(departures: impl Iterator<Item = Departure<'a>> + Clone) -> usize {
    let pairs = departures.clone().zip(departures.clone().skip(1));
    pairs.enumerate().find(|(_, (one, next))| joins(one, next)).map_or(BATCH, |(at, _)| at)
}

/// How many of the first datagrams are of equal length, the last perhaps shorter, and to one address.
fn run<'a>(mut departures: impl Iterator<Item = Departure<'a>>) -> usize {
    /// Bytes of the longest datagram that can be sent, with a margin for its headers.
    const MOST: usize = 65_000;
    let Some(first) = departures.next() else { return 0 };
    let (mut count, mut bytes) = (1, first.bytes.len());
    for next in departures {
        bytes += next.bytes.len();
        if !joins(&first, &next) || bytes > MOST {
            break;
        }
        count += 1;
        if next.bytes.len() < first.bytes.len() {
            break;
        }
    }
    count
}

/// Sends a run as one datagram that the kernel cuts.
fn send_run<'a>(socket: BorrowedFd<'_>, mut departures: impl Iterator<Item = Departure<'a>> + Clone) -> io::Result<()> {
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut count = 0;
    for (place, departure) in vectors.iter_mut().zip(departures.clone()) {
        place.write(vector(departure));
        count += 1;
    }
    let first = departures.next().ok_or(io::ErrorKind::InvalidInput)?;
    let segment = u16::try_from(first.bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let (mut name, length) = Name::of(first.to);
    let mut control = Control([0; CONTROL]);
    let mut header = message(&raw mut name, length, vectors.as_mut_ptr().cast(), count);
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = CONTROL as _;
    // SAFETY: the control data has room for one header and 16 bits, and is aligned for both. The header names it, an
    // address of `length` bytes and `count` written vectors; all are alive, and each vector names a slice borrowed for
    // 'a, which the kernel only reads.
    let sent = unsafe {
        let part = libc::CMSG_FIRSTHDR(&raw const header);
        (*part).cmsg_level = libc::SOL_UDP;
        (*part).cmsg_type = libc::UDP_SEGMENT;
        (*part).cmsg_len = libc::CMSG_LEN(2) as _;
        libc::CMSG_DATA(part).cast::<u16>().write(segment);
        libc::sendmsg(socket.as_raw_fd(), &raw const header, FLAGS)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends each datagram by itself.
fn send_each<'a>(socket: BorrowedFd<'_>, departures: impl Iterator<Item = Departure<'a>>) -> io::Result<usize> {
    let mut names = [const { MaybeUninit::<Name>::uninit() }; BATCH];
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let mut count = 0;
    for (slot, departure) in departures.take(BATCH).enumerate() {
        let (name, length) = Name::of(departure.to);
        let vector = vectors[slot].write(vector(departure));
        let msg_hdr = message(names[slot].write(name), length, vector, 1);
        headers[slot].write(libc::mmsghdr { msg_hdr, msg_len: 0 });
        count = slot + 1;
    }
    let length = u32::try_from(count).expect("a batch is far smaller than 2^32");
    // SAFETY: the first `length` headers are written, and each names an address and a vector that are written, alive
    // until the end of this function and only read by the kernel; each vector names a slice borrowed for 'a.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), length, FLAGS) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// A vector that names a datagram, which the kernel only reads.
fn vector(departure: Departure<'_>) -> libc::iovec {
    libc::iovec { iov_base: departure.bytes.as_ptr().cast_mut().cast(), iov_len: departure.bytes.len() }
}

/// Control data that names the length of the segments.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

// SAFETY: arithmetic on a length.
const CONTROL: usize = unsafe { libc::CMSG_SPACE(2) } as usize;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        (bind(), bind())
    }

    /// Sends all of some datagrams, and gives how many went with each system call.
    fn calls(socket: &UdpSocket, departures: &[Departure<'_>], segmentation: Segmentation) -> Vec<usize> {
        let mut done = 0;
        let mut calls = Vec::new();
        while done < departures.len() {
            let rest = departures[done..].iter().copied();
            calls.push(send(socket.as_fd(), rest, segmentation).expect("loopback takes them"));
            done += calls.last().copied().expect("one was added");
        }
        calls
    }

    #[test]
    fn datagrams_arrive_as_they_were_sent_however_the_kernel_took_them() {
        let (here, there) = pair();
        let other = pair().0;
        let to = |socket: &UdpSocket| socket.local_addr().expect("it is bound");
        let texts: Vec<Vec<u8>> =
            [50, 90, 90, 90, 40, 60, 90].into_iter().zip(0..).map(|(length, number)| vec![number; length]).collect();
        let mut departures: Vec<_> = texts.iter().map(|bytes| Departure { bytes, to: to(&there) }).collect();
        departures.push(Departure { bytes: &[7], to: to(&other) });
        for (segmentation, wanted) in [(Segmentation::Kernel, vec![1, 4, 3]), (Segmentation::Off, vec![8])] {
            assert_eq!(calls(&here, &departures, segmentation), wanted);
            for text in &texts {
                let mut buffer = [0; 2048];
                let (length, from) = there.recv_from(&mut buffer).expect("it arrives");
                assert_eq!((&buffer[..length], from), (&text[..], to(&here)));
            }
        }
    }

    #[test]
    fn a_run_ends_where_the_kernel_could_not_cut_it() {
        let to = "192.0.2.1:9".parse().expect("an address");
        let run_of = |lengths: &[usize]| {
            let texts: Vec<_> = lengths.iter().map(|length| vec![0; *length]).collect();
            run(texts.iter().map(|bytes| Departure { bytes, to }))
        };
        assert_eq!(run_of(&[100, 100, 100]), 3);
        assert_eq!(run_of(&[100, 100, 50, 100]), 3);
        assert_eq!(run_of(&[100, 101]), 1);
        assert_eq!(run_of(&[100, 0]), 1);
        assert_eq!(run_of(&[1800; 40]), 36);
    }

    #[test]
    fn segments_too_long_for_the_path_are_sent_by_themselves() {
        let (here, there) = pair();
        let to = there.local_addr().expect("it is bound");
        // Longer than what loopback carries in one piece, so the kernel refuses to cut; whole, it sends fragments.
        let texts = [[1; 70_000 / 2 - 5000], [2; 70_000 / 2 - 5000]];
        let departures = texts.each_ref().map(|bytes| Departure { bytes, to });
        assert_eq!(calls(&here, &departures, Segmentation::of_kernel()), [2]);
        let mut buffer = vec![0; 65_536];
        for text in texts {
            assert_eq!(there.recv_from(&mut buffer).expect("it arrives").0, text.len());
        }
    }

    #[test]
    fn what_cannot_be_sent_is_an_error() {
        let (here, _) = pair();
        let to = "127.0.0.1:0".parse().expect("an address");
        let one = Departure { bytes: &[0], to };
        assert!(send(here.as_fd(), [one].into_iter(), Segmentation::Kernel).is_err());
        assert!(send(here.as_fd(), [one, one].into_iter(), Segmentation::Kernel).is_err());
    }
}
