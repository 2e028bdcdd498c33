//! Faults that can be ordered per service: what a bad day of a cloud looks like, on demand, for tests and for `[[faults]]`.

use super::plan::Plan;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::watch;

/// A service of the sandbox; each has a listener of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxService {
    /// IBM Cloud IAM token service.
    Iam,
    /// Watson Speech to Text.
    SpeechToText,
    /// Watson Text to Speech.
    TextToSpeech,
    /// Watson Assistant v2.
    Assistant,
    /// CXone: token, discovery, signal, and the scripted caller.
    Cxone,
}

/// What goes wrong. On a WebSocket the fault takes effect as its line says; on HTTP on the answer of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The answer comes so much later; the request has been carried out by then, so a client that gives up meanwhile meets the
    /// ambiguous case. WebSocket: each text message of the server is late.
    Latency {
        /// How much later.
        milliseconds: u64,
    },
    /// This status instead of an answer, nothing carried out. A 2xx is carried out and answered with that status.
    /// WebSocket: the handshake is refused with it.
    Status {
        /// 200 to 599.
        code: u16,
    },
    /// The connection is cut once the server has written so many bytes to it, headers and frames included, counted from the
    /// request on. The request has been carried out.
    Disconnect {
        /// Bytes that still go out.
        after_bytes: u64,
    },
    /// An answer that is not what the protocol says.
    Garbage {
        /// Which kind.
        what: Garbage,
    },
    /// On `iam` and on CXone's token paths: the tokens handed out have expired already, whatever `expires_in` says. Elsewhere:
    /// the token of the request is refused as expired (401).
    ExpiredTokens,
    /// The request is taken and never answered, nothing carried out. WebSocket: handshake, then silence.
    Hang,
    /// The port is closed until the order is cancelled: new connections are refused, open ones are cut at their next request.
    RefuseConnections,
    /// WebSocket only: in place of the first result or audio this `error` message, then close 1011.
    ErrorMessage {
        /// Text of the `error` member.
        text: String,
    },
    /// CXone only: the scripted caller never sends its BYE after a signal.
    NoBye,
}

/// Kinds of garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Garbage {
    /// An HTML page with status 200.
    Html,
    /// The right answer, cut in half: no longer JSON. WebSocket: so is every text message.
    BrokenJson,
    /// Text to Speech only: an odd number of bytes from the start of the audio, and then a clean end.
    TruncatedAudio,
}

/// One order: which service, what, how often, where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultOrder {
    /// Whom it befalls.
    pub service: SandboxService,
    /// What goes wrong.
    pub fault: Fault,
    /// How many requests it befalls; without it until cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Only requests whose path contains this (`/message`, `/signal`), compared without case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl FaultOrder {
    /// An order without limit.
    #[must_use]
    pub fn new(service: SandboxService, fault: Fault) -> Self {
        Self { service, fault, times: None, path: None }
    }

    /// The same for so many requests only.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The same for paths that contain `path` only.
    #[must_use]
    pub fn on_path(self, path: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..self }
    }

    fn check(&self) -> Result<(), FaultError> {
        use SandboxService::{Cxone, SpeechToText, TextToSpeech};
        let wrong = |why| Err(FaultError { why });
        if self.times == Some(0) {
            return wrong("times: 0 would never happen");
        }
        match &self.fault {
            Fault::Status { code } if !(200..=599).contains(code) => wrong("status.code: must be 200 to 599"),
            Fault::Latency { milliseconds } if *milliseconds > 600_000 => wrong("latency.milliseconds: at most 600000"),
            Fault::RefuseConnections if self.times.is_some() || self.path.is_some() => {
                wrong("refuse_connections: a closed port sees no requests, so times and path do not apply")
            }
            Fault::NoBye if self.service != Cxone => wrong("no_bye: only for service cxone"),
            Fault::NoBye if self.path.is_some() => wrong("no_bye: path does not apply"),
            Fault::ErrorMessage { .. } if !matches!(self.service, SpeechToText | TextToSpeech) => {
                wrong("error_message: only for the WebSocket services speech_to_text and text_to_speech")
            }
            Fault::Garbage { what: Garbage::TruncatedAudio } if self.service != TextToSpeech => {
                wrong("garbage.truncated_audio: only for service text_to_speech")
            }
            _ => Ok(()),
        }
    }
}

/// An order that makes no sense.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("fault order: {why}")]
pub struct FaultError {
    why: &'static str,
}

/// Names an order, to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FaultId(pub u64);

/// An order in force, with what is left of its `times`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderInForce {
    /// Its name.
    pub id: FaultId,
    /// The order; `times` is what is left.
    pub order: FaultOrder,
}

/// The orders in force, shared by the servers, the scripted caller and whoever orders. Of several orders that meet one request
/// the latencies add up and the oldest of the others applies; an order is used up by the requests it befell.
#[derive(Debug)]
pub struct Faults {
    orders: Mutex<Vec<OrderInForce>>,
    last_id: std::sync::atomic::AtomicU64,
    changed: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { orders: Mutex::default(), last_id: std::sync::atomic::AtomicU64::new(0), changed: watch::Sender::new(0) }
    }
}

impl Faults {
    /// Puts an order in force.
    ///
    /// # Errors
    /// When it makes no sense for its service, or 64 are in force.
    pub fn order(&self, order: FaultOrder) -> Result<FaultId, FaultError> {
        order.check()?;
        let id = FaultId(self.last_id.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
        {
            let mut orders = self.orders.lock();
            if orders.len() >= MOST_ORDERS {
                return Err(FaultError { why: "64 orders are in force: cancel some" });
            }
            orders.push(OrderInForce { id, order });
        }
        self.changed.send_modify(|version| *version += 1);
        Ok(id)
    }

    /// Takes an order back; false when it is not (or no longer) in force.
    pub fn cancel(&self, id: FaultId) -> bool {
        let found = {
            let mut orders = self.orders.lock();
            let before = orders.len();
            orders.retain(|entry| entry.id != id);
            orders.len() != before
        };
        self.changed.send_modify(|version| *version += 1);
        found
    }

    /// Takes all orders back.
    pub fn clear(&self) {
        self.orders.lock().clear();
        self.changed.send_modify(|version| *version += 1);
    }

    /// What is in force.
    #[must_use]
    pub fn in_force(&self) -> Vec<OrderInForce> {
        self.orders.lock().clone()
    }

    /// Whether the scripted caller withholds its BYE this time. Uses the order up by one.
    #[must_use]
    pub fn withhold_bye(&self) -> bool {
        let mut orders = self.orders.lock();
        let found = orders.iter().position(|entry| entry.order.fault == Fault::NoBye);
        found.is_some_and(|index| {
            use_once(&mut orders, index);
            true
        })
    }

    /// What befalls one request. Uses the orders up by one.
    pub(super) fn plan(&self, service: SandboxService, path: &str) -> Plan {
        let path = path.to_ascii_lowercase();
        let mut plan = Plan::default();
        let mut orders = self.orders.lock();
        let mut index = 0;
        while let Some(entry) = orders.get(index) {
            let meets = entry.order.service == service
                && entry.order.path.as_ref().is_none_or(|part| path.contains(&part.to_ascii_lowercase()));
            let used = match &entry.order.fault {
                _ if !meets => false,
                Fault::NoBye | Fault::RefuseConnections => false,
                Fault::Latency { milliseconds } => {
                    plan.latency += Duration::from_millis(*milliseconds);
                    true
                }
                _ if plan.outcome.is_some() => false,
                other => {
                    plan.outcome = Some(other.clone());
                    true
                }
            };
            if used && use_once(&mut orders, index) {
                continue;
            }
            index += 1;
        }
        plan
    }

    /// Whether a request to `path` would meet something worse than latency now. Uses nothing up.
    pub(super) fn awaits(&self, service: SandboxService, path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        self.orders.lock().iter().any(|OrderInForce { order, .. }| {
            order.service == service
                && !matches!(order.fault, Fault::Latency { .. } | Fault::NoBye)
                && order.path.as_ref().is_none_or(|part| path.contains(&part.to_ascii_lowercase()))
        })
    }

    /// Whether the port of `service` is to be closed.
    pub(super) fn refuses(&self, service: SandboxService) -> bool {
        self.orders
            .lock()
            .iter()
            .any(|entry| entry.order.service == service && entry.order.fault == Fault::RefuseConnections)
    }

    /// Tells when orders come or go.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// Counts one use; true when that was the last and the order is gone.
fn use_once(orders: &mut Vec<OrderInForce>, index: usize) -> bool {
    let Some(entry) = orders.get_mut(index) else { return false };
    match &mut entry.order.times {
        Some(left) if *left <= 1 => {
            orders.remove(index);
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

const MOST_ORDERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_befalls_its_service_and_path_so_many_times() {
        let faults = Faults::default();
        let order = FaultOrder::new(SandboxService::Cxone, Fault::Status { code: 401 }).times(2).on_path("/Signal");
        faults.order(order).unwrap();
        assert_eq!(faults.plan(SandboxService::Cxone, "/authentication/v1/token/access-key").outcome, None);
        assert_eq!(faults.plan(SandboxService::Assistant, "/signal").outcome, None);
        let path = "/incontactapi/services/v30.0/interactions/1/signal";
        for _ in 0..2 {
            assert_eq!(faults.plan(SandboxService::Cxone, path).outcome, Some(Fault::Status { code: 401 }));
        }
        assert_eq!(faults.plan(SandboxService::Cxone, path).outcome, None);
        assert!(faults.in_force().is_empty());
    }

    #[test]
    fn latencies_add_up_and_the_oldest_other_fault_decides() {
        let faults = Faults::default();
        let assistant = SandboxService::Assistant;
        faults.order(FaultOrder::new(assistant, Fault::Latency { milliseconds: 20 })).unwrap();
        let hang = faults.order(FaultOrder::new(assistant, Fault::Hang)).unwrap();
        faults.order(FaultOrder::new(assistant, Fault::Latency { milliseconds: 30 }).times(1)).unwrap();
        faults.order(FaultOrder::new(assistant, Fault::Status { code: 500 }).times(1)).unwrap();
        let plan = faults.plan(assistant, "/");
        assert_eq!(plan.latency, Duration::from_millis(50));
        assert!(plan.hangs());
        assert!(faults.cancel(hang));
        assert!(!faults.cancel(hang));
        let plan = faults.plan(assistant, "/");
        assert_eq!(
            (plan.latency, plan.outcome),
            (Duration::from_millis(20), Some(Fault::Status { code: 500 })),
            "the status order was not used up while the hang stood before it"
        );
    }

    #[test]
    fn senseless_orders_are_refused_and_json_is_as_documented() {
        let order: FaultOrder = serde_json::from_str(
            r#"{"service":"assistant","fault":{"kind":"status","code":500},"times":2,"path":"/message"}"#,
        )
        .unwrap();
        assert_eq!(
            order,
            FaultOrder::new(SandboxService::Assistant, Fault::Status { code: 500 }).times(2).on_path("/message")
        );
        let faults = Faults::default();
        for (service, fault) in [
            (SandboxService::Iam, Fault::NoBye),
            (SandboxService::Assistant, Fault::ErrorMessage { text: "no".to_owned() }),
            (SandboxService::SpeechToText, Fault::Garbage { what: Garbage::TruncatedAudio }),
            (SandboxService::Iam, Fault::Status { code: 99 }),
        ] {
            assert!(faults.order(FaultOrder::new(service, fault.clone())).is_err(), "{service:?} {fault:?}");
        }
        let refuse = FaultOrder::new(SandboxService::Iam, Fault::RefuseConnections).times(1);
        assert!(faults.order(refuse).is_err());
        assert!(serde_json::from_str::<FaultOrder>(r#"{"service":"iam","fault":{"kind":"hang"},"tiems":2}"#).is_err());
    }

    #[test]
    fn what_awaits_a_request_can_be_asked_without_using_it_up() {
        let faults = Faults::default();
        let awaits = || faults.awaits(SandboxService::TextToSpeech, "/instances/i/v1/synthesize");
        let order = |fault| faults.order(FaultOrder::new(SandboxService::TextToSpeech, fault).times(1)).unwrap();
        order(Fault::Latency { milliseconds: 5 });
        faults.order(FaultOrder::new(SandboxService::Assistant, Fault::Hang)).unwrap();
        faults.order(FaultOrder::new(SandboxService::TextToSpeech, Fault::Hang).on_path("/voices")).unwrap();
        assert!(!awaits());
        order(Fault::Status { code: 500 });
        assert!(awaits() && awaits());
    }

    #[test]
    fn no_bye_is_used_up_by_the_caller_not_by_requests() {
        let faults = Faults::default();
        faults.order(FaultOrder::new(SandboxService::Cxone, Fault::NoBye).times(1)).unwrap();
        assert_eq!(faults.plan(SandboxService::Cxone, "/signal").outcome, None);
        assert!(faults.withhold_bye());
        assert!(!faults.withhold_bye());
    }
}
