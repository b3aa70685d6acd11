//! `/healthz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// What Prometheus 2.5 and later read.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the process ends.
///
/// # Errors
///
/// The address cannot be listened on.
pub(crate) async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("http.listen = \"{address}\""))?;
    tracing::info!(%address, "serving /healthz and /metrics");
    let router = Router::new().route("/healthz", get(healthz)).route("/metrics", get(exposition)).with_state(metrics);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

/// 200 while calls can be made; 503 and the reason while not.
async fn healthz(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    match metrics.obstacle() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, format!("{obstacle}\n")),
    }
}

async fn exposition(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.exposition())
}
