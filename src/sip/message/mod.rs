//! SIP messages (RFC 3261 section 7): requests and responses, read tolerantly as RFC 4475 wants and written strictly.

mod body;
mod frame;
mod headers;
mod inbound;
mod method;
mod parse;
mod reason;
mod sipfrag;
mod uri;
mod values;
mod write;

pub use body::{NoDescription, dtmf_digit, session_description};
pub use frame::{Frame, Framer};
pub use headers::{Field, Headers};
pub(crate) use headers::{is_token, same_name};
pub use inbound::Inbound;
pub(crate) use inbound::response_flow;
pub use method::Method;
pub use parse::{Framing, Malformed, parse};
pub use reason::reason_phrase;
pub use sipfrag::{NoSipfrag, sipfrag_status};
pub use uri::{Scheme, Uri};
pub(crate) use values::COOKIE;
pub use values::{CSeq, NameAddr, Params, Via, split_list};

use bytes::Bytes;

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A request as it stands on the wire: the Request-URI is kept as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Request-URI as sent.
    pub uri: String,
    /// Header fields in order.
    pub headers: Headers,
    /// Body, as long as Content-Length says.
    pub body: Bytes,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code, 100 to 699.
    pub code: u16,
    /// Reason phrase, possibly empty.
    pub reason: String,
    /// Header fields in order.
    pub headers: Headers,
    /// Body.
    pub body: Bytes,
}

/// Longest message, head and body together, that is read.
pub const MAX_MESSAGE: usize = 65_536;
/// Longest body that is read; a session description with an ISUP part beside it has a few kilobytes.
pub const MAX_BODY: usize = 32_768;
/// Most header fields that are read; CXone and carriers send around thirty.
pub const MAX_FIELDS: usize = 256;
/// Longest header field that is read; vendors put JSON of several kilobytes into X- headers.
pub const MAX_FIELD: usize = 16_384;
