//! Any datagrams in any order: the stream goes on, in real time.

use crate::stage::{MS, PEER, SLOT, Stage};
use proptest::prelude::*;
use std::time::Duration;
use voice_gateway::media::Settings;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_datagrams_from_anybody_are_borne_and_the_stream_goes_on(
        datagrams in proptest::collection::vec((any::<u8>(), 0_u8..3, proptest::collection::vec(any::<u8>(), 0..600)), 0..200),
    ) {
        let mut stage = Stage::agreed_with(Settings { record: true, ..Settings::default() });
        for (n, (kind, from, mut bytes)) in datagrams.into_iter().enumerate() {
            // Most of them look like RTP of the agreed types, with any numbers.
            if kind < 220 && bytes.len() >= 2 {
                bytes[0] = 0x80 | (kind & 0x3F & if kind < 160 { 0 } else { 0x3F });
                bytes[1] = [0, 101, 8, 13][usize::from(kind % 4)] | (bytes[1] & 0x80);
            }
            stage.receive_from([PEER, "198.51.100.7:9", "203.0.113.1:5"][usize::from(from)], &bytes);
            if n % 3 == 0 {
                stage.run(SLOT);
            }
        }
        let before = stage.sent.len();
        stage.run(Duration::from_secs(1));
        prop_assert!(stage.sent.len() >= before + 50);
        prop_assert_eq!(stage.recorded.len(), stage.sent.len());
    }

    #[test]
    fn what_is_heard_is_as_long_as_the_time_that_passed(
        arrivals in proptest::collection::vec((0_u16..400, 0_u64..60), 1..300),
    ) {
        let mut stage = Stage::agreed();
        let mut passed = 0;
        for (n, wait) in arrivals {
            stage.receive(n);
            stage.run(MS * wait as u32);
            passed += wait;
        }
        let frames = passed / 20 + 1;
        prop_assert_eq!(stage.all_heard().len() as u64, frames / 5 * 800);
    }
}
