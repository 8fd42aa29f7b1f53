//! Why a request fails, and the answer that says so: Neon's 17 keys, its texts and its status codes.
//! Must never carry a password or a connection string.

use axum::http::StatusCode;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorResponseBody;
use serde_json::{Value, json};

/// The most bytes of a request body; exactly this many still pass.
pub(super) const MAX_REQUEST_BYTES: usize = 10 * 1024 * 1024;
/// The most bytes of a response that another row may still be added to.
pub(super) const MAX_RESPONSE_BYTES: usize = 10 * 1024 * 1024;

/// What PostgreSQL said in an `ErrorResponse`. Absent fields are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DatabaseError {
    pub(super) code: String,
    pub(super) message: String,
    severity: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<String>,
    internal_position: Option<String>,
    internal_query: Option<String>,
    context: Option<String>,
    schema: Option<String>,
    table: Option<String>,
    column: Option<String>,
    data_type: Option<String>,
    constraint: Option<String>,
    file: Option<String>,
    line: Option<String>,
    routine: Option<String>,
}

impl DatabaseError {
    /// Reads the fields by their letters: <https://www.postgresql.org/docs/15/protocol-error-fields.html>.
    pub(super) fn read(body: &ErrorResponseBody) -> Self {
        let mut error = Self::default();
        let mut fields = body.fields();
        while let Ok(Some(field)) = fields.next() {
            let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'S' => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'P' => error.position = Some(text),
                b'p' => error.internal_position = Some(text),
                b'q' => error.internal_query = Some(text),
                b'W' => error.context = Some(text),
                b's' => error.schema = Some(text),
                b't' => error.table = Some(text),
                b'c' => error.column = Some(text),
                b'd' => error.data_type = Some(text),
                b'n' => error.constraint = Some(text),
                b'F' => error.file = Some(text),
                b'L' => error.line = Some(text),
                b'R' => error.routine = Some(text),
                _ => {}
            }
        }
        error
    }
}

/// A failed request. The texts are Neon's (its proxy's sources); so are the status codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection string or its header is not usable.
    Login(&'static str),
    /// The connection string is not a URL.
    LoginUrl(String),
    /// PostgreSQL refused the user or the password.
    Password {
        user: String,
    },
    /// PostgreSQL could not be reached, or broke off while we signed in.
    Away,
    /// PostgreSQL was reached but would not open a session.
    Connect(Box<DatabaseError>),
    /// The body could not be read.
    Body(String),
    /// The body is not a request.
    Payload(String),
    RequestTooLarge,
    ResponseTooLarge,
    IsolationLevel,
    /// PostgreSQL refused a statement.
    Database(Box<DatabaseError>),
    /// The session ended, or left the protocol we understand, while a statement ran.
    Session(String),
    /// A value in a result is not what its type promises.
    Result,
}

impl Failure {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ResponseTooLarge => StatusCode::INSUFFICIENT_STORAGE,
            Self::Away | Self::Result => StatusCode::INTERNAL_SERVER_ERROR,
            // A database that does not exist is the caller's mistake, a session that cannot be had is not.
            Self::Connect(error) if error.code != "3D000" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Login(text) => (*text).to_owned(),
            Self::LoginUrl(reason) => format!("invalid connection string: {reason}"),
            Self::Password { user } => format!("password authentication failed for user '{user}'"),
            Self::Away => "Control plane request failed".to_owned(),
            Self::Body(reason) => format!("could not read the HTTP request body: {reason}"),
            Self::Payload(reason) => format!("could not parse the HTTP request body: {reason}"),
            Self::RequestTooLarge => format!("request is too large (max is {MAX_REQUEST_BYTES} bytes)"),
            Self::ResponseTooLarge => format!("response is too large (max is {MAX_RESPONSE_BYTES} bytes)"),
            Self::IsolationLevel => "invalid isolation level".to_owned(),
            Self::Connect(error) | Self::Database(error) => error.message.clone(),
            Self::Session(text) => text.clone(),
            Self::Result => "could not parse postgres response".to_owned(),
        }
    }

    /// The body with all 17 keys. Without an error of the database, `code` and `severity` are `""`, the rest null.
    pub(super) fn to_json(&self) -> Value {
        let nothing = DatabaseError::default();
        let error = match self {
            Self::Connect(error) | Self::Database(error) => error,
            _ => &nothing,
        };
        json!({
            "message": self.message(),
            "code": error.code,
            "detail": error.detail,
            "hint": error.hint,
            "position": error.position,
            "internalPosition": error.internal_position,
            "internalQuery": error.internal_query,
            "severity": error.severity,
            "where": error.context,
            "table": error.table,
            "column": error.column,
            "schema": error.schema,
            "dataType": error.data_type,
            "constraint": error.constraint,
            "file": error.file,
            "line": error.line,
            "routine": error.routine,
        })
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            Self::Session("connection closed".to_owned())
        } else {
            Self::Session(format!("error communicating with the server: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_the_17_keys_and_empty_code_and_severity() {
        let body = Failure::Away.to_json();
        let keys = body.as_object().unwrap();
        assert_eq!(keys.len(), 17);
        assert_eq!((&body["code"], &body["severity"]), (&json!(""), &json!("")));
        assert_eq!(keys.values().filter(|value| value.is_null()).count(), 14);
    }
}
