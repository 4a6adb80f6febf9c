//! What is answered to each request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Front;
use super::text::{CLASSIC, OPEN_METRICS, as_classic, wants_open_metrics};
use crate::{Check, Observed};

const PLAIN: &str = "text/plain; charset=utf-8";
const LIST: &str = "/metrics  what is measured, for Prometheus\n\
                    /livez    whether the daemon does its work; if not, start it anew\n\
                    /readyz   whether it can do what it is there for, and why not\n";

/// All paths that there are.
pub(super) fn router(front: Arc<Front>) -> Router {
    Router::new()
        .route("/", get(async || told(StatusCode::OK, PLAIN, LIST.to_owned())))
        .route("/metrics", get(metrics))
        .route("/livez", get(liveness))
        .route("/readyz", get(readiness))
        .fallback(async || told(StatusCode::NOT_FOUND, PLAIN, format!("there is no such path; there are\n{LIST}")))
        .with_state(front)
}

async fn metrics(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    let Some(daemon) = front.observed.get().cloned() else { return unfit(&[starting()]) };
    // It is closed by nobody.
    let Ok(_turn) = front.rendering.acquire().await else { return failed() };
    let is_open = headers.get_all(ACCEPT).iter().any(wants_open_metrics);
    let rendering = move || match is_open {
        true => daemon.metrics(),
        false => as_classic(&daemon.metrics()),
    };
    // On a thread where it holds up nothing else, however much there is to tell.
    match tokio::task::spawn_blocking(rendering).await {
        Ok(text) => told(StatusCode::OK, if is_open { OPEN_METRICS } else { CLASSIC }, text),
        Err(error) => {
            tracing::error!("metrics cannot be told: {error}");
            failed()
        }
    }
}

async fn liveness(State(front): State<Arc<Front>>) -> Response {
    checked(&front, |daemon| daemon.liveness())
}

async fn readiness(State(front): State<Arc<Front>>) -> Response {
    checked(&front, |daemon| {
        let stopping = Check::needed("stop", Err::<&str, _>("is stopping"));
        let is_stopping = front.is_stopping.load(Ordering::Relaxed);
        is_stopping.then_some(stopping).into_iter().chain(daemon.readiness()).collect()
    })
}

fn checked(front: &Front, check: impl FnOnce(&dyn Observed) -> Vec<Check>) -> Response {
    let checks = front.observed.get().map_or_else(|| vec![starting()], |daemon| check(daemon.as_ref()));
    if checks.iter().all(Check::passes) { told(StatusCode::OK, PLAIN, lines(&checks)) } else { unfit(&checks) }
}

fn starting() -> Check {
    Check::needed("start", Err::<&str, _>("is still starting"))
}

fn lines(checks: &[Check]) -> String {
    checks.iter().map(|check| check.line() + "\n").collect()
}

fn unfit(checks: &[Check]) -> Response {
    told(StatusCode::SERVICE_UNAVAILABLE, PLAIN, lines(checks))
}

fn failed() -> Response {
    told(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "metrics cannot be told; the daemon's log says why\n".to_owned())
}

fn told(status: StatusCode, kind: &'static str, text: String) -> Response {
    (status, [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], text).into_response()
}
