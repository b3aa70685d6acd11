//! Requests over TCP: messages back to back, answered in their order.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use control::{Stream, StreamError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use super::counters::Odd;
use super::intake::{Intake, refusal};

/// How long a peer may leave a reply unread. Otherwise it may be silent for as long as it likes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, intake: Arc<Intake>) {
    loop {
        let (stream, peer, permit) = accept(&listener, &intake).await;
        let intake = Arc::clone(&intake);
        tokio::spawn(async move {
            if let Err(error) = converse(stream, peer, &intake).await {
                tracing::debug!(%peer, %error, "connection ends");
            }
            drop(permit);
        });
    }
}

/// Takes the next connection of somebody whose requests are taken.
pub(crate) async fn accept(listener: &TcpListener, intake: &Intake) -> (TcpStream, IpAddr, OwnedSemaphorePermit) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if let Some((peer, permit)) = intake.connect(from) {
                    return (stream, peer, permit);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(mut stream: TcpStream, peer: IpAddr, intake: &Arc<Intake>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut messages, mut buffer) = (Stream::new(), vec![0; 16 * 1024]);
    loop {
        match messages.next_message() {
            Ok(Some(message)) => match intake.reply(peer, message).await {
                Some(reply) => write(&mut stream, &reply).await?,
                None => return Ok(()),
            },
            Ok(None) => match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                length => messages.push(&buffer[..length]),
            },
            Err(StreamError::Unreadable { message, error }) => {
                intake.odd(Odd::Unreadable, peer);
                return write(&mut stream, &refusal(&message, &error)).await;
            }
            Err(_) => {
                intake.odd(Odd::NoCookie, peer);
                return Ok(());
            }
        }
    }
}

async fn write(stream: &mut TcpStream, reply: &[u8]) -> io::Result<()> {
    timeout(PATIENCE, stream.write_all(reply)).await?
}
