//! Packets and keys, sealed and opened by us or by the library.

use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use voice_gateway::media::srtp::{MasterKey, Receiver, Refused, Sender, Suite};

pub(crate) fn key(suite: Suite, seed: u8) -> MasterKey {
    let bytes = (0..suite.key_length() + suite.salt_length()).map(|n| seed.wrapping_mul(31) ^ n as u8).collect();
    MasterKey::new(suite, bytes).unwrap()
}

/// The library's one direction under the same key.
pub(crate) fn library(suite: Suite, seed: u8) -> Context {
    let profile = match suite {
        Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AesCm256HmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        Suite::AesCm256HmacSha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let key = key(suite, seed);
    let (key, salt) = key.expose().split_at(suite.key_length());
    let provider = rtc_srtp::crypto::default_provider().unwrap();
    Context::new(key, salt, profile, None, None, provider.crypto()).unwrap()
}

pub(crate) fn rtp(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, 0];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend((u32::from(sequence) * 160).to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub(crate) fn report(ssrc: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0x80, 200, 0, (length / 4) as u8 + 1];
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend((0..length).map(|n| n as u8));
    bytes
}

pub(crate) fn sealed(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut room = packet.to_vec();
    room.resize(packet.len() + 32, 0);
    let length = sender.rtp(&mut room, packet.len()).unwrap();
    room.truncate(length);
    room
}

pub(crate) fn opened(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut room = vec![0; packet.len()];
    let length = receiver.rtp(packet, &mut room)?;
    room.truncate(length);
    Ok(room)
}
