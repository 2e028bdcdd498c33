//! The daemon between peers that this project did not write: sipp, PJSIP, baresip, Kamailio, sipsak, sipvicious. `tests/run` installs them.
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

#[allow(dead_code, reason = "shared with tests/daemon, which uses all of it")]
#[path = "../daemon/authority.rs"]
mod authority;
#[allow(dead_code, reason = "shared with tests/daemon, which uses all of it")]
#[path = "../daemon/gateway.rs"]
mod gateway;
#[allow(dead_code, reason = "shared with tests/daemon, which uses all of it")]
#[path = "../daemon/message.rs"]
mod message;
#[allow(dead_code, reason = "shared with tests/daemon, which uses all of it")]
#[path = "../daemon/phone.rs"]
mod phone;
#[allow(dead_code, reason = "shared with tests/daemon, which uses all of it")]
#[path = "../daemon/sipp.rs"]
mod sipp;
#[allow(dead_code, reason = "shared with tests/daemon, which uses all of it")]
#[path = "../daemon/stage.rs"]
mod stage;

mod engines;
mod peers;
mod softphone;
mod sound;

mod captures;
mod extensions;
mod phones;
mod proxy;
mod referred;
mod reports;
mod scanners;
mod wideband;
