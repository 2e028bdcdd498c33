//! Bodies of any bytes, and offers with some of them changed.

use crate::bodies::{CODECS, local, plain};
use proptest::prelude::*;
use voice_gateway::media::sdp::{accept_answer, answer};

proptest! {
    #[test]
    fn any_mutation_of_an_offer_is_answered_or_refused(
        edits in proptest::collection::vec((0_usize..400, any::<u8>(), 0_u8..4), 0..12),
    ) {
        let mut bytes = plain(
            "m=video 6000 RTP/AVP 96\nm=audio 4000/2 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=sendonly\n",
        ).into_bytes();
        for (at, byte, kind) in edits {
            let at = at % bytes.len().max(1);
            match kind {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 => bytes.insert(at.min(bytes.len()), byte),
                2 if !bytes.is_empty() => { bytes.remove(at); }
                _ => bytes.truncate(at.max(40)),
            }
        }
        match answer(&bytes, &local(), &CODECS) {
            Ok((sdp, agreed)) => {
                prop_assert!(sdp_types::Session::parse(&sdp).is_ok());
                prop_assert!(agreed.remote.port() != 0);
                prop_assert!(!sdp.windows(4).any(|window| window == b"\r\n\r\n"));
            }
            Err(problem) => prop_assert!(matches!(problem.code(), 400 | 488)),
        }
        let _ = accept_answer(&bytes, &local(), &CODECS);
    }

    #[test]
    fn any_bytes_at_all_are_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = answer(&bytes, &local(), &CODECS);
    }
}
