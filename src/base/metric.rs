//! Names of the metrics, in one place: dashboards depend on them.

/// Gauge: live calls.
pub const CALLS_ACTIVE: &str = "voice_gateway_calls_active";
/// Counter `{end_reason}`: ended calls.
pub const CALLS_TOTAL: &str = "voice_gateway_calls_total";
/// Counter `{code}`: final answers to INVITEs.
pub const INVITES_TOTAL: &str = "voice_gateway_invites_total";
/// Histogram, seconds: INVITE to 200.
pub const SETUP_SECONDS: &str = "voice_gateway_setup_seconds";
/// Counter `{input}`: assistant turns by what caused them.
pub const TURNS_TOTAL: &str = "voice_gateway_turns_total";
/// Histogram `{stage}`, seconds: the stages of a turn (end_pointing, speech_to_text, assistant, waiting, text_to_speech, gateway),
/// and their total, from the last voiced packet in to the first voiced packet out.
pub const TURN_STAGE_SECONDS: &str = "voice_gateway_turn_stage_seconds";
/// Histogram, seconds: hypothesis in to playback stopped.
pub const BARGE_IN_SECONDS: &str = "voice_gateway_barge_in_seconds";
/// Counter `{direction}`: RTP packets.
pub const RTP_PACKETS_TOTAL: &str = "voice_gateway_rtp_packets_total";
/// Counter: RTP packets that never came.
pub const RTP_LOST_TOTAL: &str = "voice_gateway_rtp_lost_total";
/// Histogram, seconds: send lateness against the 20 ms grid.
pub const RTP_LATE_SECONDS: &str = "voice_gateway_rtp_late_seconds";
/// Histogram, seconds: interarrival jitter (RFC 3550 section 6.4.1) at the end of a call.
pub const RTP_JITTER_SECONDS: &str = "voice_gateway_rtp_jitter_seconds";
/// Counter: RTP packets of ours that peers say they missed (RTCP).
pub const RTP_REPORTED_LOST_TOTAL: &str = "voice_gateway_rtp_reported_lost_total";
/// Histogram, seconds: interarrival jitter of our RTP as the peer reports it last (RTCP).
pub const RTP_REPORTED_JITTER_SECONDS: &str = "voice_gateway_rtp_reported_jitter_seconds";
/// Histogram, seconds: the last round trip that a call measured (RTCP).
pub const RTP_ROUND_TRIP_SECONDS: &str = "voice_gateway_rtp_round_trip_seconds";
/// Histogram `{direction}`: mean opinion score of a call, 1 to 4.5, estimated by the E-model (ITU-T G.107).
pub const MOS: &str = "voice_gateway_mos";
/// Counter `{reason}`: datagrams of RTP and RTCP not used (stranger, not_rtp, not_rtcp, payload_type, late, duplicate, flood, forged, replayed).
pub const RTP_DROPPED_TOTAL: &str = "voice_gateway_rtp_dropped_total";
/// Counter `{outcome}`: recordings (complete, failed, expired).
pub const RECORDINGS_TOTAL: &str = "voice_gateway_recordings_total";
/// Counter `{purpose,outcome}`: signals to CXone.
pub const SIGNALS_TOTAL: &str = "voice_gateway_signals_total";
/// Histogram, seconds: a signal from order to outcome.
pub const SIGNAL_SECONDS: &str = "voice_gateway_signal_seconds";
/// Gauge: signals ordered and not settled.
pub const SIGNALS_PENDING: &str = "voice_gateway_signals_pending";
/// Counter `{outcome}`: transfers by REFER.
pub const REFERS_TOTAL: &str = "voice_gateway_refers_total";
/// Counter `{service,kind}`: failures of outside services.
pub const UPSTREAM_ERRORS_TOTAL: &str = "voice_gateway_upstream_errors_total";
/// Counter: Speech to Text sockets opened again within a call.
pub const STT_RECONNECTS_TOTAL: &str = "voice_gateway_stt_reconnects_total";
/// Counter `{queue}`: items lost because a bounded queue was full.
pub const QUEUE_DROPPED_TOTAL: &str = "voice_gateway_queue_dropped_total";
/// Counter: SIP messages that could not be parsed.
pub const SIP_PARSE_ERRORS_TOTAL: &str = "voice_gateway_sip_parse_errors_total";
/// Gauge: SIP stream connections that are open.
pub const SIP_CONNECTIONS: &str = "voice_gateway_sip_connections";
/// Counter `{reason}`: SIP stream connections that we closed (no_message, unfinished, idle, not_reading, queue_full).
pub const SIP_CONNECTIONS_CLOSED_TOTAL: &str = "voice_gateway_sip_connections_closed_total";
/// Counter `{kind}`: keep-alives answered (RFC 5626: crlf on streams, stun on UDP).
pub const SIP_KEEP_ALIVES_TOTAL: &str = "voice_gateway_sip_keep_alives_total";
/// Counter `{direction,outcome}`: TLS handshakes of SIP (ok, timeout, plaintext, no_certificate, certificate, refused_by_peer,
/// protocol, closed).
pub const SIP_TLS_HANDSHAKES_TOTAL: &str = "voice_gateway_sip_tls_handshakes_total";
/// Counter `{outcome}`: SIP TLS files read anew (ok, failed).
pub const SIP_TLS_RELOADS_TOTAL: &str = "voice_gateway_sip_tls_reloads_total";
/// Gauge, seconds since 1970: the end of our SIP TLS certificate.
pub const SIP_TLS_CERTIFICATE_NOT_AFTER: &str = "voice_gateway_sip_tls_certificate_not_after_seconds";
/// Counter `{reason}`: SIP requests refused or dropped before a call existed.
pub const SIP_REFUSED_TOTAL: &str = "voice_gateway_sip_refused_total";
