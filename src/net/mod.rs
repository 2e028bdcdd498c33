//! Sockets: SIP transports, RTP media plane, port pool.

pub mod media;
pub mod ports;
pub mod sip;
