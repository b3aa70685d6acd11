//! WebSocket connections that peers open (RFC 7118): each of its messages is one of SIP.
//!
//! The stack's own WebSockets have no limit to what they read, and none over TLS for those who connect to us. Ours are
//! channels to the stack, as it calls them: what arrives is read as a datagram is, what is sent comes out of a queue.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rsipstack::platform::CancellationToken;
use rsipstack::sip::SipMessage;
use rsipstack::transport::channel::ChannelConnection;
use rsipstack::transport::{SipAddr, SipConnection, TransportEvent};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::endpoint::count;
use super::ingress::Ingress;
use super::{STREAM_IDLE, Transport};

/// The longest message: the longest that may come by other transports.
const MAX_MESSAGE: usize = 80 * 1024;
/// What may wait to be written, in bytes, before the peer counts as gone.
const MAX_UNWRITTEN: usize = 512 * 1024;
/// Messages that may wait to be sent.
const QUEUE: usize = 64;
/// How long sending one may take.
const SEND: Duration = Duration::from_secs(10);
/// The subprotocol (RFC 7118 §4).
const PROTOCOL: &str = "sip";

/// One who connects, and what his connection needs.
pub(super) struct Visitor<'a> {
    pub(super) transport: Transport,
    pub(super) peer: SocketAddr,
    pub(super) gate: &'a Ingress,
    /// Ends the connection, and with it whatever holds on to it.
    pub(super) cancel: CancellationToken,
    /// Held while hands are shaken.
    pub(super) permit: OwnedSemaphorePermit,
    /// WebSockets that may be open at once: the stack counts none of them.
    pub(super) sockets: &'a Semaphore,
}

impl Visitor<'_> {
    /// Shakes hands, and serves the connection to its end.
    pub(super) async fn serve<S>(self, stream: S, patience: Duration)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { transport, peer, gate, cancel, permit, sockets } = self;
        let shaken = accept(stream, patience).await;
        drop(permit);
        match (shaken, sockets.try_acquire()) {
            (Some(stream), Ok(_permit)) => serve(stream, transport, peer, gate, cancel).await,
            (Some(_) | None, _) => count(&gate.counters.connections_refused),
        }
    }
}

/// Shakes hands. `None`: it is no WebSocket, or none for SIP.
async fn accept<S>(stream: S, patience: Duration) -> Option<WebSocketStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MAX_MESSAGE);
    config.max_frame_size = Some(MAX_MESSAGE);
    config.max_write_buffer_size = MAX_UNWRITTEN;
    let shaken = accept_hdr_async_with_config(stream, ForSip, Some(config));
    match tokio::time::timeout(patience, shaken).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no WebSocket for SIP");
            None
        }
        Err(_) => None,
    }
}

/// Takes those who want to speak SIP (RFC 7118 §4).
struct ForSip;

impl Callback for ForSip {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        let offered = request.headers().get_all("Sec-WebSocket-Protocol");
        let offers_sip = offered
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|protocol| protocol.trim().eq_ignore_ascii_case(PROTOCOL));
        if offers_sip {
            response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(PROTOCOL));
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        Err(refusal)
    }
}

async fn serve<S>(
    mut stream: WebSocketStream<S>,
    transport: Transport,
    peer: SocketAddr,
    gate: &Ingress,
    cancel: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Nothing comes this way: what arrives goes to the gate.
    let (_, nothing) = mpsc::unbounded_channel();
    let (outgoing, mut queue) = mpsc::channel(QUEUE);
    let address = SipAddr { r#type: Some(transport.wire()), addr: peer.into() };
    let made = ChannelConnection::create_connection_bounded(nothing, outgoing, address, Some(cancel.clone())).await;
    let Ok(channel) = made else { return };
    loop {
        let answer = tokio::select! {
            sent = queue.recv() => match sent {
                Some(TransportEvent::Incoming(message, ..)) => Some(written(&message)),
                Some(TransportEvent::New(_) | TransportEvent::Closed(_)) => None,
                None => break,
            },
            arrived = tokio::time::timeout(STREAM_IDLE, stream.next()) => {
                let bytes = match arrived {
                    Ok(Some(Ok(Message::Text(text)))) => text.as_bytes().to_vec(),
                    Ok(Some(Ok(Message::Binary(bytes)))) => bytes.to_vec(),
                    // A ping is answered by the next write, or here.
                    Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {
                        drop(tokio::time::timeout(SEND, stream.flush()).await);
                        continue;
                    }
                    Ok(Some(Ok(Message::Close(_))) | None) => break,
                    Ok(Some(Err(error))) => {
                        tracing::debug!(%peer, %error, "a WebSocket broke");
                        count(&gate.counters.not_sip);
                        break;
                    }
                    Err(_) => break,
                };
                gate.take(&bytes, SipConnection::Channel(channel.clone()), peer).await.map(as_message)
            }
        };
        if let Some(message) = answer
            && !matches!(tokio::time::timeout(SEND, stream.send(message)).await, Ok(Ok(())))
        {
            break;
        }
    }
    // Whoever holds the channel learns that it leads nowhere.
    cancel.cancel();
    queue.close();
    drop(tokio::time::timeout(SEND, stream.close(None)).await);
}

fn written(message: &SipMessage) -> Message {
    as_message(message.to_bytes())
}

/// Text where it is text (RFC 7118 §5).
fn as_message(bytes: Vec<u8>) -> Message {
    match String::from_utf8(bytes) {
        Ok(text) => Message::text(text),
        Err(error) => Message::binary(error.into_bytes()),
    }
}
