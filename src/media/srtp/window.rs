//! What of a source has come: its rollover counter and its replay window (RFC 3711 sections 3.3.1 and 3.3.2).

use crate::media::extended::ExtendedSequence;

/// The highest packet index of a source and which of those just below it were seen. It moves only for packets that are authentic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u128,
}

impl Window {
    /// Of a source whose first packet has this index.
    pub(super) const fn new(index: u64) -> Self {
        Self { highest: index, seen: 1 }
    }

    /// The index of the packet that bears `sequence`: the one nearest to the highest.
    pub(super) fn index(&self, sequence: u16) -> u64 {
        // One round below zero is there in extended numbers. A sender that begins anew without saying so lands in it: its counter is 0.
        let extended = ExtendedSequence(self.highest + ROUND).nearest(sequence).0;
        extended.checked_sub(ROUND).unwrap_or(u64::from(sequence))
    }

    /// Whether a packet of this index may still come: not seen, and not older than the window.
    pub(super) const fn wants(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            Some(age) if age >= WIDTH => false,
            Some(age) => self.seen & (1 << age) == 0,
            None => true,
        }
    }

    /// An authentic packet of this index has come.
    pub(super) const fn note(&mut self, index: u64) {
        if let Some(age) = self.highest.checked_sub(index) {
            if age < WIDTH {
                self.seen |= 1 << age;
            }
            return;
        }
        let ahead = index - self.highest;
        self.seen = if ahead < WIDTH { self.seen << ahead } else { 0 } | 1;
        self.highest = index;
    }
}

/// Of what is kept per key: a few sources, for one that sends keys or begins anew as another. Only authentic packets make one.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    known: [Option<(u32, Window)>; SOURCES],
    turn: usize,
}

impl Sources {
    pub(super) fn window(&self, ssrc: u32) -> Option<Window> {
        self.known.iter().flatten().find(|(known, _)| *known == ssrc).map(|(_, window)| *window)
    }

    pub(super) fn note(&mut self, ssrc: u32, index: u64) {
        if let Some((_, window)) = self.known.iter_mut().flatten().find(|(known, _)| *known == ssrc) {
            return window.note(index);
        }
        if let Some(place) = self.known.get_mut(self.turn) {
            *place = Some((ssrc, Window::new(index)));
        }
        self.turn = (self.turn + 1) % SOURCES;
    }
}

const ROUND: u64 = 1 << 16;
const WIDTH: u64 = 128;
const SOURCES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_counter_goes_on_over_rollovers_and_back_for_what_comes_late() {
        let mut window = Window::new(65_530);
        for (sequence, index) in [(65_535, 65_535), (1, 65_537), (0, 65_536), (65_534, 65_534), (200, 65_736)] {
            assert_eq!(window.index(sequence), index);
            window.note(index);
        }
        assert!(!window.wants(window.index(200)) && window.wants(window.index(199)) && !window.wants(65_607));
        let young = Window::new(100);
        assert_eq!(young.index(65_000), 65_000, "there is nothing before counter 0");
    }

    proptest! {
        #[test]
        fn every_packet_is_wanted_once_as_long_as_it_lies_in_the_window(
            first in 0_u64..200_000,
            steps in proptest::collection::vec(-200_i64..300, 1..300),
        ) {
            let (mut window, mut seen) = (Window::new(first), BTreeSet::from([first]));
            for step in steps {
                let highest = *seen.last().unwrap();
                let index = highest.saturating_add_signed(step);
                prop_assert_eq!(window.index(index as u16), index);
                prop_assert_eq!(window.wants(index), highest.saturating_sub(index) < WIDTH && !seen.contains(&index));
                if window.wants(index) {
                    window.note(index);
                    seen.insert(index);
                }
            }
        }
    }

    #[test]
    fn sources_are_a_few_and_the_oldest_gives_way() {
        let mut sources = Sources::default();
        (0..100).for_each(|ssrc| sources.note(ssrc, 5));
        assert_eq!((0..100).filter(|ssrc| sources.window(*ssrc).is_some()).collect::<Vec<_>>(), [96, 97, 98, 99]);
    }
}
