//! The contacts that CXone knows, and what they were signalled.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The parameters of one *Signal a Contact*, p1 to p9, decoded.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Signal {
    parameters: [Option<String>; 9],
}

impl Signal {
    /// A signal with these parameters; numbers beyond 1 to 9 are ignored, as CXone does.
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item = (usize, String)>) -> Self {
        let mut signal = Self::default();
        for (number, value) in parameters {
            if let Some(slot) = number.checked_sub(1).and_then(|index| signal.parameters.get_mut(index)) {
                *slot = Some(value);
            }
        }
        signal
    }

    /// Parameter p1 to p9 by its number.
    #[must_use]
    pub fn parameter(&self, number: usize) -> Option<&str> {
        self.parameters.get(number.checked_sub(1)?)?.as_deref()
    }

    /// All that were given: `("p1", value)`, in order.
    pub fn given(&self) -> impl Iterator<Item = (String, &str)> {
        (1..).zip(&self.parameters).filter_map(|(n, value): (usize, _)| Some((format!("p{n}"), value.as_deref()?)))
    }

    /// Whether p1 says `hangup`.
    #[must_use]
    pub fn is_hangup(&self) -> bool {
        self.parameter(1).is_some_and(|p1| p1.eq_ignore_ascii_case("hangup"))
    }
}

/// Values are the session key and what callers said: only the names are shown.
impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.given().map(|(name, _)| name)).finish()
    }
}

/// Which contacts may be signalled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KnownContacts {
    /// Those that were placed; others get 404.
    #[default]
    Placed,
    /// Every number: for load tests whose caller is another program.
    Any,
}

/// The contacts of the sandbox.
#[derive(Clone, Debug, Default)]
pub struct Contacts(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    policy: KnownContacts,
    contacts: HashMap<String, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// The script that waits for Onsignal; none where the caller is another program.
    script: Option<mpsc::Sender<Signal>>,
    received: Vec<Signal>,
}

/// A contact that is alive. When dropped it is gone: signals get 404.
#[derive(Debug)]
pub struct Contact {
    id: String,
    contacts: Contacts,
    signals: mpsc::Receiver<Signal>,
}

impl Contact {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The next signal. Safe to cancel. 16 may wait; more get 503.
    pub async fn signalled(&mut self) -> Signal {
        match self.signals.recv().await {
            Some(signal) => signal,
            // Placed again under the same id: this one hears nothing more.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Contact {
    fn drop(&mut self) {
        self.signals.close();
        let mut known = self.contacts.0.lock();
        // Not when the id was placed again meanwhile.
        let own = |entry: &Entry| entry.script.as_ref().is_some_and(mpsc::Sender::is_closed);
        if known.contacts.get(&self.id).is_some_and(own) {
            known.contacts.remove(&self.id);
        }
    }
}

/// What became of a signal.
pub(super) enum Delivery {
    Taken,
    Unknown,
    Overrun,
}

impl Contacts {
    pub(in super::super) fn new(policy: KnownContacts) -> Self {
        Self(Arc::new(Mutex::new(Known { policy, contacts: HashMap::new() })))
    }

    /// A script's contact comes to life under this id.
    #[must_use]
    pub fn place_contact(&self, id: impl Into<String>) -> Contact {
        let id = id.into();
        let (script, signals) = mpsc::channel(MOST_WAITING);
        let entry = Entry { script: Some(script), received: Vec::new() };
        self.0.lock().contacts.insert(id.clone(), entry);
        Contact { id, contacts: self.clone(), signals }
    }

    /// A contact without a script: its signals are only kept, for a caller that is another program.
    pub fn register(&self, id: impl Into<String>) {
        self.0.lock().contacts.insert(id.into(), Entry::default());
    }

    /// Forgets a contact; false when there is none.
    pub fn forget(&self, id: &str) -> bool {
        self.0.lock().contacts.remove(id).is_some()
    }

    /// What a contact was signalled, in order; `None` when there is none.
    #[must_use]
    pub fn received(&self, id: &str) -> Option<Vec<Signal>> {
        Some(self.0.lock().contacts.get(id)?.received.clone())
    }

    pub(super) fn deliver(&self, id: &str, signal: &Signal) -> Delivery {
        let mut known = self.0.lock();
        if known.policy == KnownContacts::Any && known.contacts.len() < MOST_CONTACTS {
            known.contacts.entry(id.to_owned()).or_default();
        }
        let Some(entry) = known.contacts.get_mut(id) else { return Delivery::Unknown };
        if let Some(script) = &entry.script
            && script.try_send(signal.clone()).is_err()
        {
            return Delivery::Overrun;
        }
        if entry.received.len() < MOST_KEPT {
            entry.received.push(signal.clone());
        }
        Delivery::Taken
    }
}

const MOST_WAITING: usize = 16;
const MOST_KEPT: usize = 100;
const MOST_CONTACTS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_nine_parameters_and_shows_no_values() {
        let signal =
            Signal::new([(1, "KEY".to_owned()), (9, "nine".to_owned()), (10, "x".to_owned()), (0, "y".to_owned())]);
        assert_eq!(signal.given().collect::<Vec<_>>(), [("p1".to_owned(), "KEY"), ("p9".to_owned(), "nine")]);
        assert!(!signal.is_hangup());
        assert_eq!(format!("{signal:?}"), r#"["p1", "p9"]"#);
        assert!(Signal::new([(1, "hangup".to_owned())]).is_hangup());
    }

    #[test]
    fn a_contact_is_known_while_it_lives() {
        let contacts = Contacts::default();
        let signal = Signal::new([(1, "KEY".to_owned())]);
        assert!(matches!(contacts.deliver("1", &signal), Delivery::Unknown));
        let mut first = contacts.place_contact("1");
        assert!(matches!(contacts.deliver("1", &signal), Delivery::Taken));
        assert_eq!(first.signals.try_recv(), Ok(signal.clone()));
        let second = contacts.place_contact("1");
        drop(first);
        assert!(matches!(contacts.deliver("1", &signal), Delivery::Taken), "placed again, so still alive");
        assert_eq!(contacts.received("1").map(|kept| kept.len()), Some(1));
        for _ in 1..MOST_WAITING {
            assert!(matches!(contacts.deliver("1", &signal), Delivery::Taken));
        }
        assert!(matches!(contacts.deliver("1", &signal), Delivery::Overrun));
        drop(second);
        assert!(matches!(contacts.deliver("1", &signal), Delivery::Unknown));
    }

    #[test]
    fn any_contact_is_known_when_so_wished() {
        let contacts = Contacts::new(KnownContacts::Any);
        assert!(matches!(contacts.deliver("7", &Signal::default()), Delivery::Taken));
        assert_eq!(contacts.received("7"), Some(vec![Signal::default()]));
        assert!(contacts.forget("7"));
    }
}
