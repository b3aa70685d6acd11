//! Requests over UDP: a message each, up to 64 KiB both ways.
//!
//! A reply leaves by the socket that its request came to, and so from the same address, unless that socket listens on all
//! addresses: there the route decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use control::{Encoding, Frame, Reply};
use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::counters::Odd;
use super::intake::Intake;

/// Bytes of the longest payload over IPv4.
const LONGEST: usize = 65_507;

/// Serves until the process ends.
pub(crate) async fn serve(socket: UdpSocket, intake: Arc<Intake>) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(datagram) => datagram,
            Err(error) => {
                tracing::warn!(%error, "a socket for requests fails");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(peer) = intake.admit(from) else { continue };
        // It asks again, and waits for nobody.
        let Some(room) = intake.room() else {
            intake.odd(Odd::Busy, peer);
            continue;
        };
        let answering = (Arc::clone(&socket), Arc::clone(&intake));
        let deliver = move |reply: Arc<[u8]>| {
            let (socket, intake) = answering;
            if reply.len() > LONGEST {
                intake.odd(Odd::TooLong, peer);
                send(&socket, &instead_of(&reply), from);
            } else {
                send(&socket, &reply, from);
            }
        };
        intake.take(room, peer, &buffer[..length], Box::new(deliver));
    }
}

fn send(socket: &UdpSocket, reply: &[u8], to: SocketAddr) {
    // What the kernel does not take now is kept for whoever asks again.
    if let Err(error) = socket.try_send_to(reply, to) {
        tracing::debug!(%to, %error, "reply not sent");
    }
}

/// An error in the place of a reply that is too long.
fn instead_of(reply: &[u8]) -> Vec<u8> {
    let frame = Frame::split(reply).unwrap_or(Frame { cookie: b"0", payload: b"" });
    Frame::write(frame.cookie, Encoding::of(frame.payload), &Reply::error("Reply does not fit into a datagram"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_too_long_becomes_an_error_in_its_own_encoding() {
        assert_eq!(
            instead_of(b"7 {\"sdp\":1}"),
            br#"7 {"error-reason":"Reply does not fit into a datagram","result":"error"}"#
        );
        assert!(instead_of(b"7 d1:ai1ee").starts_with(b"7 d12:error-reason"));
    }
}
