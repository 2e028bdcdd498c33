"""A phone made of baresip, for tests/interop: orders on standard input, what happens as JSON lines on standard output.

Orders: call URI | say | press KEYS | hold | resume | bye | quit.
"""

import argparse
import array
import asyncio
import json
import sys
import wave

import baresip

FRAME = 160
RATE = 8_000


def told(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def raised(sound, times):
    """16-bit samples at so many times the rate, on straight lines between those there are."""
    if times == 1:
        return sound
    samples = array.array("h", sound)
    after = samples[1:] + samples[-1:]
    pairs = zip(samples, after)
    return array.array("h", (one + (other - one) * n // times for one, other in pairs for n in range(times))).tobytes()


def lowered(sound, times):
    """16-bit samples at a fraction of the rate: the mean of each so many."""
    if times == 1:
        return sound
    samples = array.array("h", sound)
    parts = (samples[at : at + times] for at in range(0, len(samples) - times + 1, times))
    return array.array("h", (sum(part) // times for part in parts)).tobytes()


async def sound(call, voice, record):
    """Feeds what is to be said, keeps what is heard, as 16-bit samples of 8 kHz."""
    heard = bytearray()
    while call.state is not baresip.CallState.CLOSED:
        try:
            audio = call.audio.info()
            heard += call.audio.read(65_536) or b""
            if heard and (times := audio.rx_sample_rate * audio.rx_channels // RATE):
                whole = len(heard) // (2 * times) * 2 * times
                record.writeframes(lowered(heard[:whole], times))
                del heard[:whole]
            times = audio.tx_sample_rate // RATE
            part = raised(bytes(voice[: 20 * FRAME]), times) if audio.tx_ready else b""
            if audio.tx_channels == 2:
                part = b"".join(2 * part[at : at + 2] for at in range(0, len(part), 2))
            # All of a part or none of it, so that nothing is said twice.
            if part and audio.tx_capacity - audio.tx_buffered >= len(part) and call.audio.write(part):
                del voice[: 20 * FRAME]
        except (baresip.AudioNotActive, baresip.AudioRestarted):
            pass
        await asyncio.sleep(0.01)


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("--transport", default="udp")
    options.add_argument("--six", action="store_true", help="by IPv6")
    options.add_argument("--codecs", default="pcmu,pcma")
    options.add_argument("--keys", default="rtpevent")
    options.add_argument("--srtp", default="")
    options.add_argument("--user", default="phone")
    options.add_argument("--password", default="")
    options.add_argument("--ca")
    options.add_argument("--route", help="a proxy, as a SIP URI")
    options.add_argument("--header", action="append", default=[])
    options.add_argument("--say", required=True)
    options.add_argument("--record", required=True)
    given = options.parse_args()

    address, host = ("::1", "[::1]") if given.six else ("127.0.0.1", "127.0.0.1")
    extra = f"sip_listen {host}:0\nrtp_ports 23000-32000\n"
    if given.ca:
        extra += f"sip_cafile {given.ca}\nsip_verify_server yes\n"
    runtime = baresip.Runtime()
    await runtime.start(baresip.Config(net_interface=address, extra_config_text=extra))
    account = baresip.Account(
        user=given.user,
        domain=host,
        password=given.password,
        registrar=given.route,
        reg_interval=0,
        transport=given.transport,
        audio_codecs=tuple(given.codecs.split(",")),
        dtmf_mode=given.keys,
        extra_params=(f"mediaenc={given.srtp}",) if given.srtp else (),
    )
    agent = await baresip.UserAgent.create(runtime, account)
    record = wave.open(given.record, "wb")
    record.setparams((1, 2, RATE, 0, "NONE", ""))
    with wave.open(given.say) as file:
        words = file.readframes(file.getnframes())
    voice = bytearray()
    call, media = None, None

    def happened(event):
        names = {
            baresip.Event.CALL_ESTABLISHED: "established",
            baresip.Event.CALL_CLOSED: "ended",
            baresip.Event.CALL_REMOTE_SDP: "described",
            baresip.Event.CALL_MENC: "encrypted",
        }
        if event.event in names:
            told(names[event.event], text=event.text)

    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    told("ready")
    while line := await orders.readline():
        order, _, rest = line.decode().strip().partition(" ")
        if order == "call":
            headers = dict(header.split(": ", 1) for header in given.header)
            call = await agent.dial(rest, headers=headers)
            call.on(happened)
            media = asyncio.create_task(sound(call, voice, record))
        elif order == "say":
            voice += words
        elif order == "press":
            await call.send_dtmf(rest)
        elif order == "hold":
            await call.hold()
        elif order == "resume":
            await call.resume()
        elif order == "bye":
            await call.hangup()
        elif order == "quit":
            break
        told("done", order=order)
    if media:
        media.cancel()
    record.close()
    told("recorded")
    await runtime.close()


asyncio.run(main())
