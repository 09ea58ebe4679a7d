use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// GET `/portal/assets/style.css`
pub async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("../../static/style.css"))
}

/// GET `/portal/assets/live.js`
pub async fn live() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../../static/live.js"))
}

/// GET `/portal/assets/results.js`
pub async fn results() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../../static/results.js"))
}

/// GET `/portal/assets/icon.svg`
pub async fn icon() -> Response {
    asset("image/svg+xml", include_str!("../../static/icon.svg"))
}

fn asset(content_type: &'static str, body: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "max-age=300"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, body).into_response()
}
