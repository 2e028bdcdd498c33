"""A phone made of PJSIP, for tests/interop: orders on standard input, what happens as JSON lines on standard output.

Orders: call URI | say | press KEYS | info KEYS | hold | resume | codec NAME | figures | bye | quit.
"""

import argparse
import copy
import json
import os
import re
import select
import sys

import pjsua2 as pj

TRANSPORTS = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}
POLICY = {"off": pj.PJMEDIA_SRTP_DISABLED, "optional": pj.PJMEDIA_SRTP_OPTIONAL, "required": pj.PJMEDIA_SRTP_MANDATORY}


def told(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


class Call(pj.Call):
    """One call. Its sound is what the player plays and what the recorder keeps."""

    def __init__(self, account, options):
        super().__init__(account)
        self.account, self.options = account, options
        self.referred = None
        self.recorder = self.player = self.media = None

    def onCallState(self, _):
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            told("established", code=info.lastStatusCode)
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            told("ended", code=info.lastStatusCode, text=info.lastReason)

    def onCallMediaState(self, _):
        # The CallInfo owns the list: it must outlive the walk through it.
        info = self.getInfo()
        for index in range(len(info.media)):
            status = info.media[index].status
            held = status == pj.PJSUA_CALL_MEDIA_LOCAL_HOLD
            codec = ""
            if status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                codec = self.getStreamInfo(index).codecName
                self.media = self.getAudioMedia(index)
                if self.recorder is None:
                    self.recorder = pj.AudioMediaRecorder()
                    self.recorder.createRecorder(self.options.record)
                self.media.startTransmit(self.recorder)
                if self.player:
                    self.player.startTransmit(self.media)
            told("media", held=held, codec=codec)
        sealed = re.search(r"SRTP status: Active Crypto-suite: (\S+)", self.dump(True, ""))
        if sealed:
            told("encrypted", suite=sealed[1])

    def onCallTransferRequest(self, asked):
        options = copy.copy(self.options)
        options.record = options.record.replace(".wav", "-referred.wav")
        # Kept here, or Python would end it.
        self.referred = asked.newCall = Call(self.account, options)
        told("referred", to=asked.dstUri)

    def say(self):
        self.player = pj.AudioMediaPlayer()
        self.player.createPlayer(self.options.say, pj.PJMEDIA_FILE_NO_LOOP)
        self.player.startTransmit(self.media)

    def order(self, name, rest):
        param = pj.CallOpParam(True)
        if name == "say":
            self.say()
        elif name == "press":
            self.dialDtmf(rest)
        elif name == "info":
            for key in rest:
                digit = pj.CallSendDtmfParam()
                digit.method, digit.digits, digit.duration = pj.PJSUA_DTMF_METHOD_SIP_INFO, key, 100
                self.sendDtmf(digit)
        elif name == "hold":
            self.setHold(param)
        elif name == "resume":
            param.opt.flag = pj.PJSUA_CALL_UNHOLD
            self.reinvite(param)
        elif name == "update":
            self.update(param)
        elif name == "codec":
            prefer(rest)
            self.reinvite(param)
        elif name == "figures":
            rtcp = self.getStreamStat(0).rtcp
            told("figures", reports=rtcp.txStat.updateCount, round_trips=rtcp.rttUsec.n, round_trip_us=rtcp.rttUsec.mean,
                 lost=rtcp.txStat.loss, jitter_us=rtcp.txStat.jitterUsec.max, received=rtcp.rxStat.pkt)
        elif name == "bye":
            (self.referred or self).hangup(pj.CallOpParam())
        else:
            raise SystemExit(f"no such order: {name}")


def prefer(codecs):
    """Offers these alone, in this order."""
    endpoint = pj.Endpoint.instance()
    for known in list(endpoint.codecEnum2()):
        name = known.codecId.split("/")[0].upper()
        wanted = codecs.upper().split(",")
        endpoint.codecSetPriority(known.codecId, 255 - wanted.index(name) if name in wanted else 0)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--transport", choices=TRANSPORTS, default="udp")
    options.add_argument("--codecs", default="PCMU,PCMA")
    options.add_argument("--srtp", choices=POLICY, default="off")
    options.add_argument("--suite", help="the only one of SRTP that it has")
    options.add_argument("--rtcp-mux", action="store_true", help="RTCP by the port of RTP")
    options.add_argument("--user", default="phone")
    options.add_argument("--password", default="")
    options.add_argument("--ca")
    options.add_argument("--route", help="a proxy, as a SIP URI")
    options.add_argument("--timer", type=int, default=0, help="session interval in seconds, demanded")
    options.add_argument("--reliable", action="store_true", help="Require: 100rel")
    options.add_argument("--header", action="append", default=[])
    options.add_argument("--say", required=True)
    options.add_argument("--record", required=True)
    given = options.parse_args()

    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = config.logConfig.consoleLevel = int(os.environ.get("PJSIP_LOG", "0"))
    config.medConfig.clockRate = config.medConfig.sndClockRate = 8_000
    config.medConfig.noVad = True
    config.medConfig.ecTailLen = 0
    # Else its null device stops after the first call.
    config.medConfig.sndAutoCloseTime = -1
    endpoint.libInit(config)
    endpoint.audDevManager().setNullDev()
    local = pj.TransportConfig()
    local.boundAddress = "127.0.0.1"
    if given.ca:
        local.tlsConfig.CaListFile = given.ca
        local.tlsConfig.verifyServer = True
    endpoint.transportCreate(TRANSPORTS[given.transport], local)
    endpoint.libStart()
    prefer(given.codecs)

    account, settings = pj.Account(), pj.AccountConfig()
    settings.idUri = f"sip:{given.user}@127.0.0.1"
    settings.regConfig.registerOnAdd = False
    settings.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    settings.mediaConfig.transportConfig.randomizePort = True
    settings.mediaConfig.transportConfig.port, settings.mediaConfig.transportConfig.portRange = 23_000, 9_000
    settings.mediaConfig.srtpUse = POLICY[given.srtp]
    settings.mediaConfig.srtpSecureSignaling = 0
    settings.mediaConfig.rtcpMuxEnabled = given.rtcp_mux
    if given.suite:
        only = pj.SrtpCrypto()
        only.name = given.suite
        settings.mediaConfig.srtpOpt.cryptos.append(only)
    settings.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY if given.reliable else pj.PJSUA_100REL_NOT_USED
    settings.callConfig.timerUse = pj.PJSUA_SIP_TIMER_OPTIONAL
    if given.timer:
        settings.callConfig.timerUse = pj.PJSUA_SIP_TIMER_REQUIRED
        settings.callConfig.timerSessExpiresSec = settings.callConfig.timerMinSESec = given.timer
    if given.password:
        settings.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", given.user, 0, given.password))
    if given.route:
        settings.sipConfig.proxies.append(given.route)
    account.create(settings)

    call = Call(account, given)
    os.set_blocking(sys.stdin.fileno(), False)
    told("ready")
    rest = b""
    while True:
        endpoint.libHandleEvents(10)
        if not select.select([sys.stdin], [], [], 0)[0]:
            continue
        read = os.read(sys.stdin.fileno(), 4_096)
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            order, _, words = line.decode().strip().partition(" ")
            if order == "quit":
                read = b""
                break
            if order == "call":
                param = pj.CallOpParam(True)
                for header in given.header:
                    field = pj.SipHeader()
                    field.hName, field.hValue = header.split(": ", 1)
                    param.txOption.headers.append(field)
                call.makeCall(words, param)
            else:
                call.order(order, words)
            told("done", order=order)
        if not read:
            break
    # Closes the WAV, which the bridge's own thread does later than asked; the stack's end waits for it.
    call.recorder = call.player = call.media = None
    del call
    account.shutdown()
    endpoint.libDestroy(pj.PJSUA_DESTROY_NO_NETWORK)
    told("recorded")
    sys.stdout.flush()
    # What Python's own end would destroy is gone already.
    os._exit(0)


main()
