//! What etcd's errors mean to whoever called.

use std::error::Error as _;
use std::fmt::Write as _;

use etcd_client::Error;

use crate::store::StoreError;

/// What etcd says of a token that came before a change of users or roles.
const OLD_AUTH_REVISION: &str = "revision of auth store is old";
const TOO_MANY_REQUESTS: &str = "too many requests";

/// gRPC's numbers of codes; their type belongs to a crate that this one does not know.
mod code {
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

pub(super) fn store_error(error: &Error) -> StoreError {
    let message = message(error);
    let is_refusal = match error {
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => true,
        Error::GRpcStatus(status) => match i32::from(status.code()) {
            code::RESOURCE_EXHAUSTED => !message.contains(TOO_MANY_REQUESTS),
            code::INVALID_ARGUMENT
            | code::NOT_FOUND
            | code::PERMISSION_DENIED
            | code::FAILED_PRECONDITION
            | code::OUT_OF_RANGE
            | code::UNIMPLEMENTED
            | code::UNAUTHENTICATED => true,
            _ => false,
        },
        _ => false,
    };
    if is_refusal { StoreError::Refused(message) } else { StoreError::Unavailable(message) }
}

/// Whether a new token can help; the call was not carried out then.
pub(super) fn wants_new_token(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else { return false };
    i32::from(status.code()) == code::UNAUTHENTICATED || status.message().contains(OLD_AUTH_REVISION)
}

/// Whether there is no such lease.
pub(super) fn is_not_found(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => i32::from(status.code()) == code::NOT_FOUND,
        // What the client makes of an answer without a time to live.
        Error::LeaseKeepAliveError(message) => message == "lease not found",
        _ => false,
    }
}

/// Whether the asked-for revision has been compacted.
pub(super) fn is_compacted(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if i32::from(status.code()) == code::OUT_OF_RANGE)
}

/// What was said, with all that lies beneath it.
fn message(error: &Error) -> String {
    let Error::GRpcStatus(status) = error else { return error.to_string() };
    let mut message = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            // Writing to a string cannot fail.
            let _ = write!(message, ": {text}");
        }
        cause = error.source();
    }
    message
}
