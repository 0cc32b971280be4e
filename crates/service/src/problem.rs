//! The one shape in which a client reads a refusal: problem+json (RFC 9457).
//!
//! A problem says what was wrong (all violations at once), what to do, and whether repeating the request is safe. Internals
//! never leave the process: a problem is built from literals and from what the client itself sent.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// Whether the same request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// Repeating is safe and may succeed.
    Safe,
    /// Repeating gives the same answer until the request is changed.
    AfterChange,
}

/// A refusal. Build it with [`Problem::new`] and the methods that follow it.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    violations: Vec<(String, String)>,
    retry_after_s: Option<u32>,
    content_type: &'static str,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    retry: Retry,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    errors: serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// A problem with a stable code in kebab case.
    pub fn new(status: StatusCode, code: &'static str) -> Self {
        Self {
            status,
            code,
            detail: String::new(),
            violations: Vec::new(),
            retry_after_s: None,
            content_type: "application/problem+json; charset=utf-8",
        }
    }

    /// 503 with `Retry-After`: what we need does not answer; repeating is safe.
    pub fn unavailable(code: &'static str, retry_after_s: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code).retry_after(retry_after_s)
    }

    /// One sentence on what was wrong and what to do.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// All violations, each as (member, what is wrong with it).
    #[must_use]
    pub fn violations(mut self, violations: Vec<(String, String)>) -> Self {
        self.violations = violations;
        self
    }

    /// Seconds after which repeating makes sense; goes out as `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Another content type, where the contract fixes it (§1.2).
    #[must_use]
    pub fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }

    /// The status it answers with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    fn retry(&self) -> Retry {
        let may_succeed = self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS;
        if may_succeed { Retry::Safe } else { Retry::AfterChange }
    }

    fn errors(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut errors = serde_json::Map::new();
        for (member, text) in &self.violations {
            let texts = errors.entry(member.clone()).or_insert_with(|| serde_json::Value::Array(Vec::new()));
            if let serde_json::Value::Array(texts) = texts {
                texts.push(serde_json::Value::String(text.clone()));
            }
        }
        errors
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: format!("urn:altinn-events:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            retry: self.retry(),
            errors: self.errors(),
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_names_all_violations_and_when_to_repeat() {
        let problem = Problem::unavailable("log-unavailable", 2)
            .detail("The log does not answer.")
            .violations(vec![("id".into(), "is missing".into()), ("id".into(), "is empty".into())]);
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        let bytes = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body["retry"], "safe");
        assert_eq!(body["errors"]["id"], serde_json::json!(["is missing", "is empty"]));
    }
}
