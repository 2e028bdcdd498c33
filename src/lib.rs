//! Self-hosted SIP/RTP gateway that gives a NICE CXone contact centre a Watson voice assistant.
//!
//! Pure layers (`base`, `audio`, `sip`, `media`, `talk`, `call`) step on given time and touch no socket; the rim
//! (`net`, `watson`, `cxone`, `store`, `web`, `config`, `app`, `sandbox`, `cli`) owns sockets, clocks and tasks.
//! `docs/architecture.md` draws the arrows; `tests/layers.rs` holds them.

pub mod app;
pub mod audio;
pub mod base;
pub mod call;
pub mod cli;
pub mod config;
pub mod cxone;
pub mod media;
pub mod net;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod sip;
pub mod store;
pub mod talk;
pub mod watson;
pub mod web;
