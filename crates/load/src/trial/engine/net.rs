//! The kernel's side: datagrams with the time at which they came, readiness, clocks, cores. All through `nix`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::prctl;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, sendmsg, sendto,
    setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use nix::unistd::Pid;

/// Bytes of one buffer: any datagram of a trial, and room for its tag.
pub(super) const BUFFER: usize = 2048;

/// Datagrams per system call.
pub(super) const BATCH: usize = 16;

/// Sockets that are received from before the next look at what is due.
const READY: usize = 64;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(super) fn now() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds of processor time that the calling thread has used.
pub(super) fn thread_time() -> u64 {
    nanos(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn nanos(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| to_nanos(&time))
}

fn to_nanos(time: &TimeSpec) -> u64 {
    time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
}

/// Sleeps until a time of [`now`].
pub(super) fn sleep_until(time: u64) {
    let spec = TimeSpec::new((time / 1_000_000_000).cast_signed(), (time % 1_000_000_000).cast_signed());
    // A signal ends it early, which does no harm: the caller looks at the clock.
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &spec);
}

/// Lets the calling thread's sleeps end as exactly as the kernel can.
pub(super) fn wake_exactly() {
    let _ = prctl::set_timerslack(1);
}

/// The cores that this thread may run on.
pub(super) fn allowed_cores() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}

/// Keeps the calling thread on one core.
pub(super) fn pin_to(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// An address as the kernel takes it.
pub(super) fn kernel_address(address: SocketAddr) -> SockaddrStorage {
    SockaddrStorage::from(address)
}

/// Prepares a socket: it never blocks, and says when a datagram came.
pub(super) fn prepare(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    Ok(setsockopt(socket, sockopt::ReceiveTimestampns, &true)?)
}

/// Sends one datagram; says whether the kernel took it.
pub(super) fn send(socket: &UdpSocket, bytes: &[u8], to: &SockaddrStorage) -> bool {
    let attempt = || sendto(socket.as_raw_fd(), bytes, to, MsgFlags::MSG_DONTWAIT);
    match attempt() {
        // The error is that of an earlier datagram, which nobody took.
        Err(Errno::ECONNREFUSED) => attempt().is_ok(),
        other => other.is_ok(),
    }
}

/// Sends datagrams to one address in one system call: as segments of one, where the kernel can (`UDP_SEGMENT`), so
/// that they go through the stack once.
#[derive(Debug)]
pub(super) struct Batch {
    headers: MultiHeaders<SockaddrStorage>,
    segments: bool,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { headers: MultiHeaders::preallocate(BATCH, None), segments: true }
    }

    /// Sends [`BATCH`] datagrams; says how many the kernel took.
    pub(super) fn send(&mut self, socket: &UdpSocket, datagrams: &[&[u8]; BATCH], to: &SockaddrStorage) -> usize {
        if self.segments && datagrams.iter().all(|datagram| datagram.len() == datagrams[0].len()) {
            match send_segments(socket, datagrams, to) {
                Ok(()) => return BATCH,
                Err(Errno::EAGAIN) => return 0,
                Err(Errno::ECONNREFUSED) => {}
                Err(_) => self.segments = false,
            }
        }
        let addresses = [Some(*to); BATCH];
        let slices = datagrams.map(|datagram| [IoSlice::new(datagram)]);
        let fd = socket.as_raw_fd();
        let mut attempt =
            || sendmmsg(fd, &mut self.headers, &slices, addresses, [], MsgFlags::MSG_DONTWAIT).map(Iterator::count);
        match attempt() {
            Err(Errno::ECONNREFUSED) => attempt().unwrap_or(0),
            other => other.unwrap_or(0),
        }
    }
}

/// Sends datagrams of one length as segments of one that the kernel takes apart.
fn send_segments(socket: &UdpSocket, datagrams: &[&[u8]; BATCH], to: &SockaddrStorage) -> nix::Result<()> {
    let slices = datagrams.map(IoSlice::new);
    let length = u16::try_from(datagrams[0].len()).map_err(|_| Errno::EMSGSIZE)?;
    let control = [ControlMessage::UdpGsoSegments(&length)];
    sendmsg(socket.as_raw_fd(), &slices, &control, MsgFlags::MSG_DONTWAIT, Some(to)).map(drop)
}

/// Buffers for what one system call receives.
#[derive(Debug)]
pub(super) struct Arrivals {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Vec<[u8; BUFFER]>,
    came: [Came; BATCH],
}

/// A received datagram.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    length: usize,
    /// Nanoseconds of `CLOCK_REALTIME`, if the kernel says.
    at: Option<u64>,
    from: Option<SocketAddr>,
}

/// A received datagram.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    /// The whole buffer.
    pub(super) buffer: &'a mut [u8; BUFFER],
    /// Bytes of the datagram.
    pub(super) length: usize,
    /// When it came to the socket, in nanoseconds of [`now`].
    pub(super) at: u64,
    /// Who sent it.
    pub(super) from: Option<SocketAddr>,
}

impl Arrivals {
    /// Makes buffers for `batch` datagrams a time, at most [`BATCH`].
    pub(super) fn new(batch: usize) -> Self {
        let batch = batch.clamp(1, BATCH);
        let headers = MultiHeaders::preallocate(batch, Some(nix::cmsg_space!(TimeSpec)));
        Self { headers, buffers: vec![[0; BUFFER]; batch], came: [Came::default(); BATCH] }
    }

    /// Receives what is there, up to the batch. Fewer than the batch means that the socket is drained.
    pub(super) fn receive(&mut self, socket: RawFd) -> usize {
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(buffers.next().map_or(&mut [][..], |buffer| &mut buffer[..]))]);
        let Ok(received) = recvmmsg(socket, &mut self.headers, &mut slices, MsgFlags::MSG_DONTWAIT, None) else {
            return 0;
        };
        let mut count = 0;
        for (message, came) in received.zip(&mut self.came) {
            let stamps = message.cmsgs().into_iter().flatten();
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "the kernel has many control messages, and more to come"
            )]
            let at = stamps.filter_map(|stamp| match stamp {
                ControlMessageOwned::ScmTimestampns(time) => Some(to_nanos(&time)),
                _ => None,
            });
            *came =
                Came { length: message.bytes, at: at.last(), from: message.address.as_ref().and_then(socket_address) };
            count += 1;
        }
        count
    }

    /// A datagram that the last [`Self::receive`] filled.
    pub(super) fn arrival(&mut self, slot: usize, clocks: Clocks) -> Arrival<'_> {
        let Came { length, at, from } = self.came[slot];
        let at = at.map_or(clocks.monotonic, |at| clocks.to_monotonic(at));
        Arrival { buffer: &mut self.buffers[slot], length: length.min(BUFFER), at, from }
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let (v4, v6) = (address.as_sockaddr_in(), address.as_sockaddr_in6());
    v4.map(|v4| SocketAddr::V4((*v4).into())).or_else(|| v6.map(|v6| SocketAddr::V6((*v6).into())))
}

/// Two clocks read at once: the kernel stamps datagrams by the one, everything else goes by the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    monotonic: u64,
    realtime: u64,
}

impl Clocks {
    pub(super) fn read() -> Self {
        Self { realtime: nanos(ClockId::CLOCK_REALTIME), monotonic: now() }
    }

    /// A time of the realtime clock, not later than now.
    const fn to_monotonic(self, realtime: u64) -> u64 {
        self.monotonic.saturating_sub(self.realtime.saturating_sub(realtime))
    }
}

/// Which sockets have something.
#[derive(Debug)]
pub(super) struct Readiness {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Readiness {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); READY] })
    }

    /// Watches a socket under a number.
    pub(super) fn add(&self, socket: impl AsFd, number: u64) -> io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?)
    }

    /// Watches a socket no more.
    pub(super) fn remove(&self, socket: impl AsFd) {
        let _ = self.epoll.delete(socket); // it was added, and is open
    }

    /// Waits at most so many milliseconds, and says how many sockets have something.
    pub(super) fn wait(&mut self, milliseconds: u8) -> usize {
        self.epoll.wait(&mut self.events, EpollTimeout::from(milliseconds)).unwrap_or(0)
    }

    /// The number of a socket of the last [`Self::wait`].
    pub(super) fn ready(&self, event: usize) -> u64 {
        self.events[event].data()
    }

    /// More may be ready than one [`Self::wait`] could say.
    pub(super) const fn is_full(&self, ready: usize) -> bool {
        ready == self.events.len()
    }
}
