//! Requests over HTTP and WebSocket, and the metrics.
//!
//! | | |
//! |---|---|
//! | `POST /ng` | a message with its cookie, as `application/x-rtpengine-ng` |
//! | `POST /ng-plain` | a dictionary alone, also as `application/json` |
//! | WebSocket, anywhere | the same by the subprotocols `ng.rtpengine.com` and `ng-plain.rtpengine.com` |
//! | `GET /ping` | `pong`, for anybody whose requests are taken |
//! | `GET /metrics` | Prometheus |

mod connection;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use control::{Frame, MAX_MESSAGE};
use tokio::time::timeout;

use self::connection::{Connections, Peer};
use super::accept::{Acceptor, PATIENCE};
use super::counters::Odd;
use super::intake::Intake;
use super::metrics::Metrics;
use crate::http::OPEN_METRICS;

pub(super) const NG: &str = "application/x-rtpengine-ng";
const JSON: &str = "application/json";

/// Serves until the process ends.
pub(crate) async fn serve(acceptor: Acceptor, intake: Arc<Intake>, metrics: Arc<Metrics>) -> io::Result<()> {
    let with_token = Router::new()
        .route("/ng", post(with_cookie).get(web_socket))
        .route("/ng-plain", post(plain).get(web_socket))
        .route("/metrics", get(async move || ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.exposition())))
        .fallback(web_socket)
        .layer(from_fn_with_state(Arc::clone(&intake), shows_token));
    let router = Router::new()
        .route("/ping", get(async || "pong"))
        .merge(with_token)
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .with_state(intake);
    axum::serve(Connections(acceptor), router.into_make_service_with_connect_info::<Peer>()).await
}

/// `Authorization: Bearer`, where a token is asked for (RFC 6750 §2.1).
async fn shows_token(
    State(intake): State<Arc<Intake>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let shown =
        request.headers().get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if intake.is_token(shown) {
        return next.run(request).await;
    }
    intake.odd(Odd::Token, peer);
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response()
}

async fn with_cookie(
    State(intake): State<Arc<Intake>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match media_type(&headers) {
        Some(NG) if Frame::split(&body).is_err() => {
            intake.odd(Odd::NoCookie, peer);
            StatusCode::BAD_REQUEST.into_response()
        }
        Some(NG) => answer(NG, intake.reply(peer, &body).await),
        _ => (StatusCode::UNSUPPORTED_MEDIA_TYPE, NG).into_response(),
    }
}

async fn plain(
    State(intake): State<Arc<Intake>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match media_type(&headers) {
        Some(NG) => answer(NG, intake.reply_plain(peer, &body).await),
        Some(JSON) => answer(JSON, intake.reply_plain(peer, &body).await),
        _ => (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{NG}, {JSON}")).into_response(),
    }
}

/// The media type without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next().map(str::trim)
}

fn answer(media_type: &'static str, reply: Option<Arc<[u8]>>) -> Response {
    match reply {
        Some(reply) => ([(header::CONTENT_TYPE, media_type)], Bytes::from_owner(reply)).into_response(),
        // There is no room for it (RFC 9110 §15.6.4).
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The subprotocols with a cookie and without.
pub(super) const PROTOCOLS: [&str; 2] = ["ng.rtpengine.com", "ng-plain.rtpengine.com"];

async fn web_socket(
    State(intake): State<Arc<Intake>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else { return StatusCode::NOT_FOUND.into_response() };
    let upgrade = upgrade.protocols(PROTOCOLS).max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    let Some(selected) = upgrade.selected_protocol() else {
        return (StatusCode::BAD_REQUEST, format!("subprotocols: {}\n", PROTOCOLS.join(", "))).into_response();
    };
    let has_cookie = selected == PROTOCOLS[0];
    upgrade.on_upgrade(move |socket| async move {
        if let Err(error) = converse(socket, peer, has_cookie, &intake).await {
            tracing::debug!(%peer, %error, "WebSocket ends");
        }
    })
}

/// Answers in the order and the kind of what comes.
async fn converse(mut socket: WebSocket, peer: IpAddr, has_cookie: bool, intake: &Arc<Intake>) -> anyhow::Result<()> {
    while let Some(message) = socket.recv().await.transpose()? {
        let is_text = matches!(message, Message::Text(_));
        let request = match message {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
            // Answered where they are read.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => continue,
        };
        let reply =
            if has_cookie { intake.reply(peer, &request).await } else { intake.reply_plain(peer, &request).await };
        let Some(reply) = reply else { continue };
        // What is no text can only be sent as it is.
        let reply = match str::from_utf8(&reply) {
            Ok(text) if is_text => Message::text(text),
            _ => Message::binary(Bytes::from_owner(reply)),
        };
        timeout(PATIENCE, socket.send(reply)).await??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_there_is_no_room_for_may_be_repeated_later() {
        assert_eq!(answer(NG, None).status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer(NG, Some(Arc::from(&b"x"[..]))).status(), StatusCode::OK);
    }
}
