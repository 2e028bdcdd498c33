//! A bound on how many threads compute at the same time.

use parking_lot::{Condvar, Mutex};

/// So many may compute.
pub(super) struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// Held while computing.
pub(super) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(super) fn new(free: usize) -> Self {
        Self { free: Mutex::new(free), freed: Condvar::new() }
    }

    /// A slot, if one is free.
    pub(super) fn try_take(&self) -> Option<Slot<'_>> {
        let mut free = self.free.lock();
        *free = free.checked_sub(1)?;
        Some(Slot(self))
    }

    /// A slot, when one is free.
    pub(super) fn wait(&self) -> Slot<'_> {
        let mut free = self.free.lock();
        self.freed.wait_while(&mut free, |free| *free == 0);
        *free -= 1;
        Slot(self)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_wait_goes_without_and_who_can_gets_the_next() {
        let slots = Slots::new(1);
        let held = slots.try_take().unwrap();
        assert!(slots.try_take().is_none());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| drop(slots.wait()));
            drop(held);
            waiter.join().unwrap();
        });
        assert!(slots.try_take().is_some());
    }
}
