//! Answers in JSON, with the content type that the contract says.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// The content type of whatever we say in plain JSON.
pub const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// An answer in JSON. A text becomes a quoted one.
pub fn answer(status: StatusCode, body: &(impl Serialize + ?Sized)) -> Response {
    let text = serde_json::to_string(body).unwrap_or_default();
    let mut response = (status, text).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}
