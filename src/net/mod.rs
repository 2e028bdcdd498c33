//! Sockets: SIP transports, RTP media plane, port pool.

pub mod media;
mod port_warnings;
pub mod ports;
pub mod sip;
