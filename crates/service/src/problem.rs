//! The one shape in which a client reads a refusal: problem+json (RFC 9457).
//!
//! A problem says what was wrong (all violations at once), what to do, and whether repeating the request is safe. Internals
//! never leave the process: a problem is built from literals and from names that the client itself sent. What it sent as a value is
//! not repeated, and what may be a person's number is masked wherever it stands.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::json;

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
    #[serde(rename = "traceId", skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
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
        self.detail = masked(detail.into());
        self
    }

    /// All violations, each as (member, what is wrong with it).
    #[must_use]
    pub fn violations(mut self, violations: Vec<(String, String)>) -> Self {
        self.violations =
            violations.into_iter().map(|(member, text)| (masked(member), masked(text))).collect();
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
        let is_of_the_moment = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
        let may_succeed = self.status.is_server_error() || is_of_the_moment.contains(&self.status);
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

/// How a problem is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As problem+json.
    Whole,
    /// As a quoted text, where the contract has one.
    BareText,
    /// Not at all, where the contract has an empty body.
    Empty,
}

/// A problem on its way out, for [`crate::trace`].
#[derive(Clone, Debug)]
pub(crate) struct Told {
    problem: Problem,
    form: Form,
}

impl Told {
    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.problem.code
    }

    /// The body with the id of the request in it, where it has room for one.
    pub(crate) fn traced_body(&self, trace: &str) -> Option<Vec<u8>> {
        (self.form == Form::Whole).then(|| self.problem.json(Some(trace)))
    }
}

impl Problem {
    /// The contract's own form: the detail as a JSON string. Code and detail stand in headers.
    pub fn bare_text(self) -> Response {
        self.answer(Form::BareText)
    }

    /// The contract's own form: no body. Code and detail stand in headers.
    pub fn empty(self) -> Response {
        self.answer(Form::Empty)
    }

    fn json(&self, trace: Option<&str>) -> Vec<u8> {
        let body = Body {
            r#type: format!("urn:altinn-events:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            retry: self.retry(),
            trace_id: trace,
            errors: self.errors(),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    fn answer(self, form: Form) -> Response {
        let mut response = match form {
            Form::Whole => (self.status, self.json(None)).into_response(),
            Form::BareText => json::answer(self.status, &self.detail),
            Form::Empty => self.status.into_response(),
        };
        let headers = response.headers_mut();
        if form == Form::Whole {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        } else {
            headers.insert("problem-code", HeaderValue::from_static(self.code));
            if let Ok(detail) = HeaderValue::from_str(&self.detail) {
                headers.insert("problem-detail", detail);
            }
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Told { problem: self, form });
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer(Form::Whole)
    }
}

/// Without what may be a person's number: eleven digits in a row, or more.
fn masked(text: String) -> String {
    const DIGITS: usize = 11;
    let is_long = |run: &str| run.len() >= DIGITS && run.bytes().all(|byte| byte.is_ascii_digit());
    let is_break = |before: char, after: char| before.is_ascii_digit() != after.is_ascii_digit();
    let mut runs = Vec::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let end =
            rest.char_indices().find(|(_, char)| is_break(first, *char)).map_or(rest.len(), |(at, _)| at);
        let (run, after) = rest.split_at(end);
        runs.push(run);
        rest = after;
    }
    if runs.iter().any(|run| is_long(run)) {
        runs.iter().map(|run| if is_long(run) { "[number]" } else { run }).collect()
    } else {
        text
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

    #[tokio::test]
    async fn what_may_be_a_persons_number_never_goes_back() {
        let number = "01010112345".to_owned();
        let wrong = vec![(number.clone(), format!("x{number}y is wrong, 1234567890 is not"))];
        let problem = Problem::new(StatusCode::BAD_REQUEST, "x").detail(format!("nothing at /æ/{number}9"));
        let bytes =
            axum::body::to_bytes(problem.violations(wrong).into_response().into_body(), 4_096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body["detail"], "nothing at /æ/[number]");
        assert_eq!(
            body["errors"],
            serde_json::json!({"[number]": ["x[number]y is wrong, 1234567890 is not"]})
        );
    }

    #[tokio::test]
    async fn the_contracts_own_forms_keep_their_bodies_and_tell_code_and_detail_in_headers() {
        let problem = || Problem::new(StatusCode::UNAUTHORIZED, "not-yours").detail("Not yours.");
        for (response, expected) in [(problem().bare_text(), "\"Not yours.\""), (problem().empty(), "")] {
            let headers = response.headers();
            assert_eq!(
                (&headers["problem-code"], &headers["problem-detail"]),
                (&"not-yours".parse().unwrap(), &"Not yours.".parse().unwrap())
            );
            assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer");
            let body = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap();
            assert_eq!(body, expected);
        }
        assert_eq!(problem().into_response().headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
