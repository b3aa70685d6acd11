//! Requests over TCP: messages back to back, answered in their order.
//!
//! Where there is a token, the first request of a connection shows it, as the value of `token`.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use control::{Encoding, Frame, Reply, Stream, StreamError, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::accept::{Accepted, Acceptor, Duplex, PATIENCE};
use super::counters::Odd;
use super::intake::{Intake, refusal};

/// Serves until the process ends.
pub(crate) async fn serve(mut acceptor: Acceptor, intake: Arc<Intake>) {
    loop {
        let Accepted { mut stream, peer, permit } = acceptor.accept().await;
        let intake = Arc::clone(&intake);
        tokio::spawn(async move {
            if let Err(error) = converse(&mut stream, peer, &intake).await {
                tracing::debug!(%peer, %error, "connection ends");
            }
            // Over TLS, an end that is not announced looks like one that somebody else made.
            let _ = timeout(PATIENCE, stream.shutdown()).await;
            drop(permit);
        });
    }
}

async fn converse(stream: &mut Pin<Box<dyn Duplex>>, peer: IpAddr, intake: &Arc<Intake>) -> io::Result<()> {
    let (mut messages, mut buffer) = (Stream::new(), vec![0; 16 * 1024]);
    let mut is_trusted = intake.is_token(None);
    loop {
        match messages.next_message() {
            Ok(Some(message)) => {
                is_trusted = is_trusted || shows_token(message, intake);
                if !is_trusted {
                    intake.odd(Odd::Token, peer);
                    return write(stream, &without_token(message)).await;
                }
                match intake.reply(peer, message).await {
                    Some(reply) => write(stream, &reply).await?,
                    None => return Ok(()),
                }
            }
            Ok(None) => match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                length => messages.push(&buffer[..length]),
            },
            Err(StreamError::Unreadable { message, error }) => {
                intake.odd(Odd::Unreadable, peer);
                return write(stream, &refusal(&message, &error)).await;
            }
            Err(_) => {
                intake.odd(Odd::NoCookie, peer);
                return Ok(());
            }
        }
    }
}

fn shows_token(message: &[u8], intake: &Intake) -> bool {
    let request = Frame::split(message).ok().and_then(|frame| frame.read().ok());
    request.is_some_and(|(_, request)| intake.is_token(request.get("token").and_then(Value::bytes)))
}

/// What a first request is answered with that does not show the token.
fn without_token(message: &[u8]) -> Vec<u8> {
    let frame = Frame::split(message).unwrap_or(Frame { cookie: message, payload: b"" });
    Frame::write(frame.cookie, Encoding::of(frame.payload), &Reply::error("The first request has to show the token"))
}

async fn write(stream: &mut Pin<Box<dyn Duplex>>, reply: &[u8]) -> io::Result<()> {
    // What TLS holds back leaves with the flush.
    timeout(PATIENCE, async {
        stream.write_all(reply).await?;
        stream.flush().await
    })
    .await?
}
