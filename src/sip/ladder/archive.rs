//! Ladders of calls that are over, in blocks of one size: once there are as many as may be, the oldest block is emptied for the
//! newest ladder. What is kept for minutes so stands apart from the memory of what lives for milliseconds, leaves no holes in it,
//! and costs after a day what it cost when it was first full.

use super::{BYTES, Direction, Ladder, MESSAGES, Rung};
use crate::base::Now;
use crate::sip::transport::Flow;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

/// From the oldest block to the newest. There is no index: a ladder is looked for when a person asks, and never for a message.
#[derive(Debug)]
pub(super) struct Archive {
    blocks: VecDeque<Block>,
    most: usize,
}

/// None of the three grows beyond the capacity that it was made with.
#[derive(Debug)]
struct Block {
    ladders: Vec<Packed>,
    rungs: Vec<PackedRung>,
    text: Vec<u8>,
}

#[derive(Debug)]
struct Packed {
    number: u64,
    started: Now,
    call_id: Range<usize>,
    rungs: Range<usize>,
    first: usize,
    left_out: u64,
}

#[derive(Debug)]
struct PackedRung {
    at: Instant,
    direction: Direction,
    flow: Flow,
    bytes: Range<usize>,
    size: usize,
}

impl Archive {
    /// One of at most `bytes`, of which nothing is taken before it is needed.
    pub(super) fn new(bytes: usize) -> Self {
        Self { blocks: VecDeque::new(), most: (bytes / BLOCK).max(1) }
    }

    /// Keeps a ladder, numbered above all that came before; where there is no room, the oldest go.
    pub(super) fn push(&mut self, number: u64, call_id: &str, ladder: &Ladder) {
        if !self.blocks.back().is_some_and(|newest| newest.has_room_for(call_id, ladder)) {
            let emptied = if self.blocks.len() < self.most { None } else { self.blocks.pop_front() };
            let mut block = emptied.unwrap_or_else(Block::new);
            block.clear();
            self.blocks.push_back(block);
        }
        if let Some(newest) = self.blocks.back_mut() {
            newest.push(number, call_id, ladder);
        }
    }

    /// The newest ladder of a Call-ID.
    pub(super) fn find(&self, call_id: &str) -> Option<Ladder> {
        let ladders =
            self.blocks.iter().rev().flat_map(|block| block.ladders.iter().rev().map(move |packed| (block, packed)));
        let mut named = ladders.filter(|(block, packed)| block.text(&packed.call_id) == call_id.as_bytes());
        named.next().map(|(block, packed)| block.unpack(packed))
    }

    /// The newest of all, and its number.
    pub(super) fn latest(&self) -> Option<(u64, Ladder)> {
        let block = self.blocks.back()?;
        block.ladders.last().map(|packed| (packed.number, block.unpack(packed)))
    }

    /// Gives the memory of the oldest block back; whether there was one.
    pub(super) fn shrink(&mut self) -> bool {
        self.blocks.pop_front().is_some()
    }

    /// Bytes that it holds, used or not.
    pub(super) fn cost(&self) -> usize {
        self.blocks.len() * BLOCK
    }
}

impl Block {
    fn new() -> Self {
        Self { ladders: Vec::with_capacity(LADDERS), rungs: Vec::with_capacity(RUNGS), text: Vec::with_capacity(TEXT) }
    }

    fn clear(&mut self) {
        self.ladders.clear();
        self.rungs.clear();
        self.text.clear();
    }

    fn has_room_for(&self, call_id: &str, ladder: &Ladder) -> bool {
        let text = ladder.rungs().map(|rung| rung.bytes.len()).sum::<usize>() + call_id.len();
        self.ladders.len() < LADDERS
            && self.rungs.len() + ladder.rungs().count() <= RUNGS
            && self.text.len() + text <= TEXT
    }

    fn push(&mut self, number: u64, call_id: &str, ladder: &Ladder) {
        let call_id = self.put(call_id.as_bytes());
        let before = self.rungs.len();
        for rung in ladder.rungs() {
            let bytes = self.put(&rung.bytes);
            self.rungs.push(PackedRung {
                at: rung.at,
                direction: rung.direction,
                flow: rung.flow,
                bytes,
                size: rung.size,
            });
        }
        self.ladders.push(Packed {
            number,
            started: ladder.started,
            call_id,
            rungs: before..self.rungs.len(),
            first: ladder.first.len(),
            left_out: ladder.left_out,
        });
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let before = self.text.len();
        self.text.extend_from_slice(bytes);
        before..self.text.len()
    }

    fn text(&self, place: &Range<usize>) -> &[u8] {
        self.text.get(place.clone()).unwrap_or_default()
    }

    fn unpack(&self, packed: &Packed) -> Ladder {
        let kept = self.rungs.get(packed.rungs.clone()).unwrap_or_default();
        let mut rungs = kept.iter().map(|rung| Rung {
            at: rung.at,
            direction: rung.direction,
            flow: rung.flow,
            bytes: Bytes::copy_from_slice(self.text(&rung.bytes)),
            size: rung.size,
        });
        let first: Vec<_> = rungs.by_ref().take(packed.first).collect();
        let last: VecDeque<_> = rungs.collect();
        let cost = first.iter().chain(&last).map(Rung::cost).sum();
        Ladder { started: packed.started, first, last, left_out: packed.left_out, cost }
    }
}

/// Bytes of messages in a block: the longest ladder fits into an empty one.
const TEXT: usize = 256 << 10;
/// Messages in a block: as many as of half a kilobyte fit.
const RUNGS: usize = TEXT / 512;
const LADDERS: usize = RUNGS / 4;
/// What a block costs.
const BLOCK: usize = TEXT + RUNGS * size_of::<PackedRung>() + LADDERS * size_of::<Packed>();
const _: () = assert!(TEXT > 2 * BYTES && RUNGS > MESSAGES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::sip::Transport;

    fn flow() -> Flow {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.2:5060"].map(|address| address.parse().unwrap());
        Flow { transport: Transport::Udp, socket: 0, connection: 0, local, remote }
    }

    impl Block {
        fn held(&self) -> usize {
            self.ladders.capacity() * size_of::<Packed>()
                + self.rungs.capacity() * size_of::<PackedRung>()
                + self.text.capacity()
        }
    }

    fn ladder(messages: usize, length: usize) -> Ladder {
        let mut ladder = Ladder::new(clock::now());
        for message in 0..messages {
            let direction = if message % 2 == 0 { Direction::In } else { Direction::Out };
            ladder.push(clock::now(), direction, flow(), &vec![b'0' + (message % 10) as u8; length]);
        }
        ladder
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        let mut archive = Archive::new(1 << 20);
        let kept = [ladder(7, 600), ladder(MESSAGES + 20, 10), ladder(MESSAGES, 60_000)];
        for (number, ladder) in kept.iter().enumerate() {
            archive.push(number as u64, &format!("call-{number}"), ladder);
        }
        for (number, ladder) in kept.iter().enumerate() {
            let found = archive.find(&format!("call-{number}")).unwrap();
            assert_eq!(format!("{found:?}"), format!("{ladder:?}"));
        }
        assert!(archive.find("call-3").is_none() && archive.find("call").is_none());
        assert_eq!(archive.latest().map(|(number, ladder)| (number, ladder.left_out)), Some((2, kept[2].left_out)));
        archive.push(3, "call-0", &ladder(1, 5));
        assert_eq!(archive.find("call-0").unwrap().rungs().count(), 1, "the newest of a Call-ID used again");
    }

    #[test]
    fn the_oldest_go_and_no_block_grows() {
        let mut archive = Archive::new(3 * BLOCK + BLOCK / 2);
        for number in 0..2_000 {
            // Many messages, few long ones, and ladders of one message: each of the three fills a block.
            let ladder = match number / 100 % 3 {
                0 => ladder(40, 20),
                1 => ladder(MESSAGES, 5_000),
                _ => ladder(1, 1),
            };
            archive.push(number, &number.to_string(), &ladder);
            let held: usize = archive.blocks.iter().map(Block::held).sum();
            assert!(held == archive.cost() && held <= 3 * BLOCK, "{number}");
            assert_eq!(archive.latest().unwrap().0, number);
        }
        assert!(archive.find("1999").is_some() && archive.find("1990").is_some());
        assert!(archive.find("0").is_none() && archive.find("1900").is_none());
        let blocks: Vec<_> = archive.blocks.iter().map(|block| block.text.as_ptr()).collect();
        for number in 2_000..5_000 {
            archive.push(number, &number.to_string(), &ladder(7, 500));
            assert!(archive.blocks.iter().all(|block| blocks.contains(&block.text.as_ptr())), "the same memory again");
        }
        assert_eq!([(); 4].map(|()| archive.shrink()), [true, true, true, false]);
        assert_eq!((archive.cost(), archive.latest().is_none()), (0, true));
    }
}
