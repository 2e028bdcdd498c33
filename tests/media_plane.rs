//! The media plane with real sockets on loopback: what one side plays is what the other hears. No wall-clock time is asserted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use rustix::process::{Pid, getpriority_process, setpriority_process};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use voice_gateway::audio::Law;
use voice_gateway::base::PlayId;
use voice_gateway::call::MediaEvent;
use voice_gateway::media::rtcp::{Item, read};
use voice_gateway::media::sdp::{LocalMedia, accept_answer, answer, offer};
use voice_gateway::media::{Codec, Negotiated};
use voice_gateway::net::media::{MediaHandle, MediaOptions, MediaPlane, MediaSettings};
use voice_gateway::net::ports::ReservedPort;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SILENCE: u8 = 0xFF;

/// A plane on some ports that are likely free.
fn plane(pairs: u16) -> MediaPlane {
    let first = UdpSocket::bind((HERE, 0)).unwrap().local_addr().unwrap().port().min(60_000) & !1;
    let settings = MediaSettings {
        bind_address: HERE,
        port_range: first..=first + 2 * pairs - 1,
        workers: NonZeroUsize::new(1),
        ..MediaSettings::default()
    };
    MediaPlane::start(settings).unwrap()
}

fn local(port: &ReservedPort) -> LocalMedia {
    LocalMedia { address: HERE, port: port.port(), session_id: 1, session_version: 1 }
}

/// Two sessions that agreed by offer and answer: the test phone and the gateway.
fn pair(plane: &MediaPlane, codec: Codec, options: MediaOptions) -> (MediaHandle, MediaHandle) {
    let (phone, gateway) = (plane.reserve().unwrap(), plane.reserve().unwrap());
    let (at_phone, at_gateway) = (local(&phone), local(&gateway));
    let (answered, to_phone) = answer(&offer(&at_phone, &[codec]), &at_gateway, &[Codec::Pcmu, Codec::Pcma]).unwrap();
    let to_gateway = accept_answer(&answered, &at_phone, &[codec]).unwrap();
    let phone = plane.open(phone, MediaOptions::default(), None).unwrap();
    phone.control.agree(to_gateway);
    let gateway = plane.open(gateway, options, Some(to_phone)).unwrap();
    (phone, gateway)
}

/// 1.5 s of loud bytes of which none is silence, in odd pieces.
fn speech() -> Vec<u8> {
    (0..12_000_u32)
        .map(|n| (n % 101) as u8 | ((n / 101 % 2) as u8 * 0x80))
        .map(|b| if b == SILENCE { 0 } else { b })
        .collect()
}

/// Plays `sound` on one side and gathers what the other hears, without the silence around it, until all of it has come.
async fn play_and_hear(from: &mut MediaHandle, to: &mut MediaHandle, sound: &[u8], silence: u8) -> Vec<u8> {
    let playing = from.control.play(PlayId(1));
    let feed = async move {
        for chunk in sound.chunks(333) {
            playing.send(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
    };
    let mut heard = Vec::new();
    let hear = async {
        while heard.len() < sound.len() {
            heard.extend(to.audio.recv().await.unwrap().iter().filter(|b| **b != silence));
        }
    };
    tokio::join!(feed, hear);
    heard
}

#[tokio::test]
async fn what_one_side_plays_is_what_the_other_hears_byte_for_byte() {
    let plane = plane(40);
    for (codec, law) in [(Codec::Pcmu, Law::Mu), (Codec::Pcma, Law::A)] {
        let silence = law.silence();
        let sound: Vec<u8> = speech().into_iter().map(|b| if b == silence { 0 } else { b }).collect();
        let (mut phone, mut gateway) = pair(&plane, codec, MediaOptions::default());
        let heard = play_and_hear(&mut phone, &mut gateway, &sound, silence).await;
        assert!(heard == sound, "{codec:?}: not what was said");
        let heard = play_and_hear(&mut gateway, &mut phone, &sound, silence).await;
        assert!(heard == sound, "{codec:?}: not what was answered");

        assert!(matches!(gateway.events.recv().await, Some(MediaEvent::FirstPacket)));
        assert!(matches!(
            gateway.events.recv().await,
            Some(MediaEvent::PlayStarted { play: PlayId(1), last_voiced: Some(_), .. })
        ));
        assert!(matches!(gateway.events.recv().await, Some(MediaEvent::PlayVoiced { play: PlayId(1), .. })));
        let finished = gateway.events.recv().await;
        assert!(
            matches!(finished, Some(MediaEvent::PlayFinished { play: PlayId(1), sent_ms: 1500, complete: true })),
            "{finished:?}"
        );
        let statistics = gateway.control.close().await.unwrap();
        assert_eq!((statistics.lost, statistics.dropped.duplicate), (0, 0));
        assert!(statistics.packets_in >= 75 && statistics.packets_out >= 75, "{statistics:?}");
        assert!(gateway.events.recv().await.is_none());
    }
    plane.stop();
}

#[tokio::test]
async fn a_prompt_that_is_not_needed_yet_makes_its_producer_wait_and_a_stop_is_seen_by_it() {
    let plane = plane(40);
    let (_phone, gateway) = pair(&plane, Codec::Pcmu, MediaOptions::default());
    let playing = gateway.control.play(PlayId(9));
    let chunk = Bytes::from(vec![1; 16_000]);
    // Two seconds a chunk: the channel fills up long before they are played.
    let mut accepted = 0;
    while accepted < 40 && !matches!(playing.try_send(chunk.clone()), Err(TrySendError::Full(_))) {
        accepted += 1;
    }
    assert!((32..=34).contains(&accepted), "{accepted}");
    gateway.control.stop();
    playing.closed().await;
    plane.stop();
}

#[tokio::test]
async fn dropping_the_control_closes_the_session_and_rests_its_port() {
    let plane = plane(40);
    let before = plane.ports().idle();
    let (phone, mut gateway) = pair(&plane, Codec::Pcmu, MediaOptions::default());
    assert_eq!((plane.sessions(), plane.ports().idle()), (2, before - 2));
    drop(phone);
    let MediaHandle { control, .. } = &gateway;
    assert!(control.statistics().await.is_some());
    drop(gateway.control);
    // The sender of the events goes with the session.
    while gateway.events.recv().await.is_some() {}
    plane.stop();
    assert_eq!((plane.sessions(), plane.ports().idle()), (0, before));
}

#[tokio::test]
async fn when_all_ports_are_taken_there_is_none() {
    let plane = plane(3);
    let taken: Vec<ReservedPort> = std::iter::from_fn(|| plane.reserve()).collect();
    assert!(taken.len() <= 3);
    assert!(plane.reserve().is_none());
    plane.stop();
}

#[tokio::test]
async fn a_call_over_ipv6_has_rtp_over_ipv6_on_a_plane_for_any_address() {
    let Ok(peer) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let first = UdpSocket::bind((HERE, 0)).unwrap().local_addr().unwrap().port().min(60_000) & !1;
    let plane = MediaPlane::start(MediaSettings {
        port_range: first..=first + 79,
        workers: NonZeroUsize::new(1),
        ..MediaSettings::default()
    })
    .unwrap();
    let port = plane.reserve_at(Ipv6Addr::LOCALHOST.into()).unwrap();
    let there: SocketAddr = (Ipv6Addr::LOCALHOST, port.port()).into();
    let negotiated = Negotiated { telephone_event: None, ..Negotiated::usual(peer.local_addr().unwrap(), Codec::Pcmu) };
    let mut handle = plane.open(port, MediaOptions::default(), Some(negotiated)).unwrap();
    peer.send_to(&[&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], &[1; 160]].concat(), there).unwrap();
    assert!(matches!(handle.events.recv().await, Some(MediaEvent::FirstPacket)));
    let mut packet = [0; 200];
    assert_eq!(peer.recv_from(&mut packet).unwrap(), (172, there));
    plane.stop();
}

#[tokio::test]
async fn garbage_strangers_and_floods_on_the_port_leave_the_call_as_it_is() {
    let plane = plane(40);
    let port = plane.reserve().unwrap();
    let there: SocketAddr = (HERE, port.port()).into();
    let peer = UdpSocket::bind((HERE, 0)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let negotiated = Negotiated::usual(peer.local_addr().unwrap(), Codec::Pcmu);
    let mut handle = plane.open(port, MediaOptions::default(), Some(negotiated)).unwrap();
    let stranger = UdpSocket::bind((HERE, 0)).unwrap();
    // The peer is known from here on.
    peer.send_to(&[&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], &[1; 160]].concat(), there).unwrap();
    assert!(matches!(handle.events.recv().await, Some(MediaEvent::FirstPacket)));
    for length in [0, 1, 11, 12, 19, 172, 2047, 2048, 9000, 65_507] {
        let junk: Vec<u8> = (0..length).map(|n| (n * 31 % 256) as u8).collect();
        peer.send_to(&junk, there).unwrap();
        stranger.send_to(&junk, there).unwrap();
    }
    for n in 0..5000_u32 {
        stranger.send_to(&[0x80, 0, 0, n as u8, 0, 0, 0, 0, 0, 0, 0, 9, 1, 1], there).unwrap();
    }
    // A key after all that is still heard, once.
    for n in 0..3 {
        peer.send_to(&[0x80, 101, 0, 2 + n, 0, 0, 9, 0, 0, 0, 0, 1, 7, 0x8A, 1, 0], there).unwrap();
    }
    // The flood may have filled the socket: keep telling until it has got through.
    let key = loop {
        tokio::select! {
            event = handle.events.recv() => break event,
            _ = handle.audio.recv() => {
                peer.send_to(&[0x80, 101, 0, 9, 0, 0, 9, 0, 0, 0, 0, 1, 7, 0x8A, 1, 0], there).unwrap();
            }
        }
    };
    assert!(matches!(key, Some(MediaEvent::Digit('7'))), "{key:?}");
    let mut packet = [0; 200];
    let (length, from) = peer.recv_from(&mut packet).unwrap();
    assert_eq!((length, from), (172, there));
    let statistics = handle.control.close().await.unwrap();
    assert!(statistics.dropped.stranger > 0 && statistics.dropped.not_rtp > 0, "{statistics:?}");
    plane.stop();
}

/// Two sockets whose ports follow each other.
fn neighbours() -> [UdpSocket; 2] {
    loop {
        let rtp = UdpSocket::bind((HERE, 0)).unwrap();
        let next = rtp.local_addr().unwrap().port().checked_add(1);
        if let Some(Ok(rtcp)) = next.map(|port| UdpSocket::bind((HERE, port))) {
            for socket in [&rtp, &rtcp] {
                socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            }
            return [rtp, rtcp];
        }
    }
}

#[tokio::test]
async fn reports_leave_by_the_odd_port_and_what_comes_there_is_measured_or_counted() {
    let plane = plane(40);
    let port = plane.reserve().unwrap();
    let [to_rtp, to_rtcp] = [0, 1].map(|odd| SocketAddr::from((HERE, port.port() + odd)));
    let [rtp, rtcp] = neighbours();
    let negotiated = Negotiated { telephone_event: None, ..Negotiated::usual(rtp.local_addr().unwrap(), Codec::Pcmu) };
    let mut handle = plane.open(port, MediaOptions::default(), Some(negotiated)).unwrap();
    rtp.send_to(&[&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9][..], &[1; 160]].concat(), to_rtp).unwrap();
    assert!(matches!(handle.events.recv().await, Some(MediaEvent::FirstPacket)));
    let stranger = UdpSocket::bind((HERE, 0)).unwrap();
    for length in [0, 1, 3, 4, 8, 27, 1200, 2048, 9000, 65_507] {
        let junk: Vec<u8> = (0..length).map(|n| (n * 31 % 256) as u8).collect();
        rtcp.send_to(&junk, to_rtcp).unwrap();
        stranger.send_to(&junk, to_rtcp).unwrap();
    }
    let mut room = [0; 2048];
    let (length, from) = rtcp.recv_from(&mut room).unwrap();
    assert_eq!(from, to_rtcp);
    let mut items = Vec::new();
    assert!(read(&room[..length], |item| items.push(item)));
    let [Item::Sender { ssrc, ntp }, Item::Report(block)] = &items[..] else { panic!("{items:?}") };
    assert_eq!((block.ssrc, block.last_sequence_number), (9, 1));
    // An answer at once: all of the time away was on the way.
    let mut answer = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
    for word in [*ssrc, 3, 1, 16, (*ntp >> 16) as u32, 0] {
        answer.extend(word.to_be_bytes());
    }
    let learnt = loop {
        rtcp.send_to(&answer, to_rtcp).unwrap();
        let statistics = handle.control.statistics().await.unwrap();
        if statistics.reports.round_trip.is_some() && statistics.dropped.not_rtcp > 0 {
            break statistics;
        }
        let _ = handle.audio.recv().await;
    };
    let heard = learnt.reports.heard.unwrap();
    assert_eq!((heard.lost, heard.jitter), (3, 16));
    assert!(heard.of > 0 && learnt.dropped.not_rtp == 0, "{learnt:?}");
    let last = handle.control.close().await.unwrap();
    assert!(last.reports.packets_out >= 2);
    let mut left = false;
    while !left {
        let (length, _) = rtcp.recv_from(&mut room).unwrap();
        assert!(read(&room[..length], |item| left |= item == Item::Goodbye(*ssrc)));
    }
    plane.stop();
}

#[tokio::test]
async fn a_flood_on_the_port_of_one_call_costs_the_others_of_its_worker_nothing() {
    /// As fast as the system takes them, but not without end.
    const MOST: u32 = 5_000_000;
    let plane = plane(40);
    let port = plane.reserve().unwrap();
    let there: SocketAddr = (HERE, port.port()).into();
    let peer = UdpSocket::bind((HERE, 0)).unwrap();
    let negotiated = Negotiated { telephone_event: None, ..Negotiated::usual(peer.local_addr().unwrap(), Codec::Pcmu) };
    let flooded = plane.open(port, MediaOptions::default(), Some(negotiated)).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let flood = std::thread::spawn(move || {
        for n in (0..MOST).take_while(|_| !ended.load(Ordering::Relaxed)) {
            let [high, low] = (n as u16).to_be_bytes();
            // The kernel may have no room for more: that is a flood's own loss.
            let _ = peer.send_to(&[&[0x80, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 1][..], &[1; 160]].concat(), there);
        }
    });
    let (mut phone, mut gateway) = pair(&plane, Codec::Pcmu, MediaOptions::default());
    let sound = speech();
    assert!(play_and_hear(&mut phone, &mut gateway, &sound, SILENCE).await == sound, "not what was said");
    assert!(play_and_hear(&mut gateway, &mut phone, &sound, SILENCE).await == sound, "not what was answered");
    over.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    let statistics = gateway.control.close().await.unwrap();
    assert_eq!((statistics.lost, statistics.dropped.flood), (0, 0));
    let statistics = flooded.control.close().await.unwrap();
    assert!(statistics.dropped.flood > 100, "{statistics:?}");
    // Bounded by time, not by what comes: eight in 20 ms, and 64 at once.
    assert!(statistics.packets_in <= 64 + 8 * (statistics.packets_out + statistics.skipped), "{statistics:?}");
    plane.stop();
}

#[tokio::test]
async fn a_recorded_call_is_a_stereo_file_with_the_caller_left_and_the_assistant_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("2026/call.wav");
    let plane = plane(40);
    let options = MediaOptions { recording: Some(path.clone()), ..MediaOptions::default() };
    let (mut phone, mut gateway) = pair(&plane, Codec::Pcmu, options);
    let (caller, assistant) = (vec![0x10; 4000], vec![0x90; 4000]);
    play_and_hear(&mut phone, &mut gateway, &caller, SILENCE).await;
    play_and_hear(&mut gateway, &mut phone, &assistant, SILENCE).await;
    plane.stop();
    let reader = hound::WavReader::open(&path).unwrap();
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 8000));
    let samples: Vec<i16> = reader.into_samples().map(Result::unwrap).collect();
    let law = Law::Mu;
    let count = |side: usize, byte| samples.chunks(2).filter(|pair| pair[side] == law.decode(byte)).count();
    assert_eq!((count(0, 0x10), count(1, 0x90)), (4000, 4000));
    assert_eq!((count(1, 0x10), count(0, 0x90)), (0, 0));
    // The question comes before the answer.
    let first = |side: usize| samples.chunks(2).position(|pair| pair[side].abs() > 100).unwrap();
    assert!(first(0) < first(1));
}

/// The threads of this process by the name of `thread`.
fn threads(thread: &str) -> impl Iterator<Item = PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    tasks.filter(move |task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread))
}

/// The value of `key` in the `status` of each of them.
fn of_thread(thread: &str, key: &str) -> Vec<String> {
    threads(thread)
        .map(|task| {
            let status = std::fs::read_to_string(task.join("status")).unwrap();
            status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn workers_go_before_the_other_threads_where_the_system_allows_it() {
    let own = getpriority_process(None).unwrap();
    let allowed = std::thread::spawn(move || setpriority_process(None, own - 10).is_ok()).join().unwrap();
    let settings = MediaSettings { bind_address: HERE, port_range: 40_100..=40_199, ..MediaSettings::default() };
    let plane = MediaPlane::start(settings).unwrap();
    let (mut one, _other) = pair(&plane, Codec::Pcmu, MediaOptions::default());
    assert!(one.audio.recv().await.is_some());
    let niceness: Vec<i32> = threads("media-0")
        .map(|task| task.file_name().unwrap().to_str().unwrap().parse().unwrap())
        .map(|id| getpriority_process(Pid::from_raw(id)).unwrap())
        .collect();
    assert!(niceness.contains(&if allowed { (own - 10).max(-20) } else { own }), "{niceness:?}, {own}, {allowed}");
    assert_eq!(getpriority_process(None).unwrap(), own, "nobody else does");
    plane.stop();
}

#[tokio::test]
async fn workers_stay_on_the_cores_that_they_were_given_and_on_no_core_of_another() {
    let settings = |worker_cores: Vec<u16>| MediaSettings {
        bind_address: HERE,
        port_range: 40_000..=40_099,
        workers: NonZeroUsize::new(2),
        worker_cores,
        ..MediaSettings::default()
    };
    let core: u16 = nix::sched::sched_getcpu().unwrap().try_into().unwrap();
    let plane = MediaPlane::start(settings(vec![core])).unwrap();
    // A call of each worker: what it hears says that the worker runs, and what it does then it does on its core.
    let (mut one, mut other) = pair(&plane, Codec::Pcmu, MediaOptions::default());
    assert!(one.audio.recv().await.is_some() && other.audio.recv().await.is_some());
    // Workers of other tests may live beside it: those have all cores.
    for worker in ["media-0", "media-1"] {
        let placed = of_thread(worker, "Cpus_allowed_list:");
        assert!(placed.contains(&core.to_string()), "{worker}: {placed:?}, not {core}");
    }
    plane.stop();
    let error = MediaPlane::start(settings(vec![core, 1023])).unwrap_err().to_string();
    assert!(error.contains("media.worker_cores") && error.contains("1023"), "{error}");
}
