//! Build, admission, the call task, drain: joins the edges.

mod admission;
mod call_task;
#[cfg(feature = "sandbox")]
pub mod demonstration;
mod figures;
mod gateway;
mod joins;
pub mod ladder;
pub mod log;
mod measure;
pub mod phone;
pub mod probe;
mod recordings;
pub mod registry;
pub mod tenants;

pub use gateway::{Addresses, Gateway, GatewayError};

/// The process's metrics: installed once, handed to `Gateway::start`.
pub use crate::web::metrics::install as install_metrics;
