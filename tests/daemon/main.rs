//! The daemon itself on loopback: the real binary between real SIP peers and the sandbox's services.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests: they say what they saw, and their tasks end with them"
)]

mod authority;
mod browser;
mod gateway;
mod message;
mod phone;
mod sipp;
mod stage;

mod call;
mod calls;
mod contact;
mod keys;
mod ladder;
mod lifecycle;
mod page;
mod ports;
mod privacy;
mod refusals;
mod services;
mod story;
mod tls;
mod transfers;
mod wideband;
