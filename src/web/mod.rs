//! Agent page, admin endpoints, metrics. What they show comes through the traits `Histories`, `Calls` and `Readiness`.

pub mod admin;
pub mod agent;
pub mod calls;
mod feed;
pub mod history;
pub mod metrics;
mod page;
pub mod serve;

pub use calls::{CallView, Calls, HangupOrder, LadderView, Readiness};
pub use history::{Conversation, Histories, HistoryUnavailable, Line};
pub use serve::serve;

/// A future behind a trait object.
pub type Pending<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
