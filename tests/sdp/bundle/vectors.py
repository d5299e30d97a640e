"""SDP with BUNDLE groups: the examples of RFC 9143, what other stacks write, and short ones."""

from __future__ import annotations

from dcsdk.sdp.session import SessionDescription
from tests.sdp.vectors import FP_A, FP_B, FP_DCMF, HEAD, TLS_ID_A, TLS_ID_B

_ALICE = (
    "v=0\r\no=alice 2890844526 2890844526 IN IP6 2001:db8::3\r\ns=\r\n"
    "c=IN IP6 2001:db8::3\r\nt=0 0\r\n"
)
_BOB = (
    "v=0\r\no=bob 2808844564 2808844564 IN IP6 2001:db8::1\r\ns=\r\n"
    "c=IN IP6 2001:db8::1\r\nt=0 0\r\n"
)
_EXTMAP = "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
_AUDIO_CODECS = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:97 iLBC/8000\r\n"
_VIDEO_CODECS = "a=rtpmap:31 H261/90000\r\na=rtpmap:32 MPV/90000\r\n"

RFC_9143_OFFER = (  # 7.2.2, first example; also 18.1 and 18.2
    _ALICE + "a=group:BUNDLE foo bar\r\n"
    f"m=audio 10000 RTP/AVP 0 8 97\r\nb=AS:200\r\na=mid:foo\r\na=rtcp-mux\r\n"
    f"{_AUDIO_CODECS}{_EXTMAP}"
    f"m=video 10002 RTP/AVP 31 32\r\nb=AS:1000\r\na=mid:bar\r\na=rtcp-mux\r\n"
    f"{_VIDEO_CODECS}{_EXTMAP}"
)
RFC_9143_BUNDLE_ONLY_OFFER = (  # 7.2.2, second example; also the RFC 8843 shape of 7.3.5
    _ALICE + "a=group:BUNDLE foo bar\r\n"
    f"m=audio 10000 RTP/AVP 0 8 97\r\nb=AS:200\r\na=mid:foo\r\na=rtcp-mux\r\n"
    f"{_AUDIO_CODECS}{_EXTMAP}"
    f"m=video 0 RTP/AVP 31 32\r\nb=AS:1000\r\na=mid:bar\r\na=bundle-only\r\n"
    f"{_VIDEO_CODECS}{_EXTMAP}"
)
RFC_9143_ANSWER = (  # 7.3.4
    _BOB + "a=group:BUNDLE foo bar\r\n"
    f"m=audio 20000 RTP/AVP 0\r\nb=AS:200\r\na=mid:foo\r\na=rtcp-mux\r\n"
    f"a=rtpmap:0 PCMU/8000\r\n{_EXTMAP}"
    f"m=video 20000 RTP/AVP 32\r\nb=AS:1000\r\na=mid:bar\r\na=rtpmap:32 MPV/90000\r\n{_EXTMAP}"
)
RFC_8843_ANSWER = RFC_9143_ANSWER.replace(  # 7.4.1
    "m=video 20000", "m=video 0"
).replace("a=mid:bar\r\n", "a=mid:bar\r\na=bundle-only\r\n")
RFC_9143_ANSWER_WITHOUT_GROUP = (  # 18.2
    _BOB + "m=audio 20000 RTP/AVP 0\r\nb=AS:200\r\na=rtcp-mux\r\na=rtpmap:0 PCMU/8000\r\n"
    "m=video 30000 RTP/AVP 32\r\nb=AS:1000\r\na=rtcp-mux\r\na=rtpmap:32 MPV/90000\r\n"
)
RFC_9143_ADDING_OFFER = (  # 18.3
    _ALICE + "a=group:BUNDLE zen foo bar\r\n"
    f"m=audio 10000 RTP/AVP 0 8 97\r\nb=AS:200\r\na=mid:foo\r\n"
    f"{_AUDIO_CODECS}{_EXTMAP}"
    f"m=video 10000 RTP/AVP 31 32\r\nb=AS:1000\r\na=mid:bar\r\n"
    f"{_VIDEO_CODECS}{_EXTMAP}"
    "m=video 10000 RTP/AVP 66\r\nb=AS:1000\r\na=mid:zen\r\na=rtcp-mux\r\n"
    f"a=rtpmap:66 H261/90000\r\n{_EXTMAP}"
)
RFC_9143_ADDING_ANSWER = (  # 18.3
    _BOB + "a=group:BUNDLE zen foo bar\r\n"
    f"m=audio 20000 RTP/AVP 0\r\nb=AS:200\r\na=mid:foo\r\na=rtpmap:0 PCMU/8000\r\n{_EXTMAP}"
    f"m=video 20000 RTP/AVP 32\r\nb=AS:1000\r\na=mid:bar\r\na=rtpmap:32 MPV/90000\r\n{_EXTMAP}"
    "m=video 20000 RTP/AVP 66\r\nb=AS:1000\r\na=mid:zen\r\na=rtcp-mux\r\n"
    f"a=rtpmap:66 H261/90000\r\n{_EXTMAP}"
)
RFC_9143_LEAVING_OFFER = (  # 18.4
    RFC_9143_OFFER.replace("m=video 10002", "m=video 10000").replace(
        "a=mid:bar\r\na=rtcp-mux\r\n", "a=mid:bar\r\n"
    )
    + "m=video 50000 RTP/AVP 66\r\nb=AS:1000\r\na=mid:zen\r\na=rtcp-mux\r\n"
    "a=rtpmap:66 H261/90000\r\n"
)
RFC_9143_LEAVING_ANSWER = (  # 18.4
    RFC_9143_ANSWER + "m=video 60000 RTP/AVP 66\r\nb=AS:1000\r\na=mid:zen\r\na=rtcp-mux\r\n"
    "a=rtpmap:66 H261/90000\r\n"
)
RFC_9143_DISABLING_OFFER = RFC_9143_LEAVING_OFFER.replace(  # 18.5
    "m=video 50000", "m=video 0"
)
RFC_9143_DISABLING_ANSWER = RFC_9143_LEAVING_ANSWER.replace("m=video 60000", "m=video 0")

_HEAD_A = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n"
_HEAD_B = "v=0\r\no=- 2 1 IN IP4 198.51.100.30\r\ns=-\r\nc=IN IP4 198.51.100.30\r\nt=0 0\r\n"

AUDIO_AND_DATA_OFFER = (  # a UE's: two addresses, two sets of everything
    _HEAD_A + "a=group:BUNDLE a d\r\n"
    "m=audio 40000 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 EVS/16000\r\na=mid:a\r\na=rtcp-mux\r\n"
    f"a=setup:actpass\r\na=fingerprint:{FP_A}\r\na=tls-id:{TLS_ID_A}\r\n"
    "a=ice-ufrag:uaaa\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\n"
    "m=application 40002 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=rtcp-mux\r\n"
    f"a=setup:actpass\r\na=fingerprint:{FP_DCMF}\r\na=tls-id:{TLS_ID_B}\r\n"
    "a=ice-ufrag:uddd\r\na=ice-pwd:dddddddddddddddddddddd\r\n"
    "a=sctp-port:5000\r\na=max-message-size:65536\r\n"
)
AUDIO_REFUSED_ANSWER = (  # the tag moves on
    _HEAD_B + "a=group:BUNDLE d\r\n"
    "m=audio 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:a\r\n"
    "m=application 50000 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=setup:active\r\n"
    f"a=fingerprint:{FP_B}\r\na=tls-id:{TLS_ID_B}\r\na=ice-ufrag:ubbb\r\n"
    "a=ice-pwd:bbbbbbbbbbbbbbbbbbbbbb\r\na=rtcp-mux\r\n"
    "a=sctp-port:5000\r\na=max-message-size:100000\r\n"
)
BOTH_TAKEN_ANSWER = (
    _HEAD_B + "a=group:BUNDLE a d\r\n"
    "m=audio 50000 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 EVS/16000\r\na=mid:a\r\na=rtcp-mux\r\n"
    f"a=setup:active\r\na=fingerprint:{FP_B}\r\na=tls-id:{TLS_ID_B}\r\n"
    "a=ice-ufrag:ubbb\r\na=ice-pwd:bbbbbbbbbbbbbbbbbbbbbb\r\n"
    "m=application 50000 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n"
    "a=sctp-port:5000\r\na=max-message-size:100000\r\n"
)
LATER_OFFER = (  # the peer of BOTH_TAKEN_ANSWER offers: keys in the tagged section only
    BOTH_TAKEN_ANSWER.replace("a=setup:active", "a=setup:actpass").replace("- 2 1 IN", "- 2 2 IN")
)

# In the shape of Chromium with bundlePolicy "max-bundle" before candidates are gathered: port 9,
# every section repeats the keys, the untagged one is bundle-only, rtcp-mux in RTP sections only.
_CHROMIUM_KEYS = (
    "a=ice-ufrag:4ZcD\r\na=ice-pwd:2/1muCWoOi3uLifh0NuRHlB5\r\na=ice-options:trickle\r\n"
    f"a=fingerprint:{FP_A}\r\na=setup:actpass\r\n"
)
CHROMIUM_OFFER = (
    "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "a=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"
    f"{_CHROMIUM_KEYS}a=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"
    "m=audio 0 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n"
    f"{_CHROMIUM_KEYS}a=mid:1\r\na=bundle-only\r\n"
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendrecv\r\na=rtcp-mux\r\na=rtcp-rsize\r\n"
    "a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n"
    "a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:0 PCMU/8000\r\n"
)

# In the shape of Firefox: fingerprint and ice-options at session level, bundle-only sections
# without candidates but with the same ICE credentials.
FIREFOX_OFFER = (
    "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 5637132834117266920 0 IN IP4 0.0.0.0\r\ns=-\r\n"
    f"t=0 0\r\na=sendrecv\r\na=fingerprint:{FP_B}\r\na=group:BUNDLE 0 1 2\r\n"
    "a=ice-options:trickle\r\na=msid-semantic:WMS *\r\n"
    "m=audio 56341 UDP/TLS/RTP/SAVPF 109 0\r\nc=IN IP4 192.0.2.10\r\n"
    "a=candidate:0 1 UDP 2122252543 192.0.2.10 56341 typ host\r\na=sendrecv\r\n"
    "a=end-of-candidates\r\na=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    "a=ice-pwd:e00eeec60b5ccc42d14468901fe59eae\r\na=ice-ufrag:c2a88146\r\na=mid:0\r\n"
    "a=rtcp:35667 IN IP4 192.0.2.10\r\na=rtcp-mux\r\na=rtpmap:109 opus/48000/2\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=setup:actpass\r\n"
    "m=video 0 UDP/TLS/RTP/SAVPF 120\r\nc=IN IP4 0.0.0.0\r\na=bundle-only\r\na=sendrecv\r\n"
    "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    "a=ice-pwd:e00eeec60b5ccc42d14468901fe59eae\r\na=ice-ufrag:c2a88146\r\na=mid:1\r\n"
    "a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:120 VP8/90000\r\na=setup:actpass\r\n"
    "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=bundle-only\r\n"
    "a=sendrecv\r\na=ice-pwd:e00eeec60b5ccc42d14468901fe59eae\r\na=ice-ufrag:c2a88146\r\n"
    "a=mid:2\r\na=setup:actpass\r\na=sctp-port:5000\r\na=max-message-size:1073741823\r\n"
)

# Written by aiortc 1.16.0, but for addresses, and fingerprints, of which it writes three: an offer
# of audio and a data channel, and its own answer. No tls-id; keys repeated in every section.
_AIORTC_AUDIO = (
    "c=IN IP4 192.0.2.2\r\na={direction}\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    "a=extmap:2 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=mid:0\r\n"
    "a=msid:142fb819-5287-41bf-9d5b-5ca578f767c0 5a40db73-5844-4e81-84e0-c5e580b1834d\r\n"
    "a=rtcp:9 IN IP4 0.0.0.0\r\na=rtcp-mux\r\n"
    "a=ssrc:1714072326 cname:82b16f62-3ee5-4e2a-9edc-dee65cb2c9ee\r\n"
    "a=rtpmap:96 opus/48000/2\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    "a=rtpmap:8 PCMA/8000\r\n"
)
_AIORTC_KEYS = (
    "a=candidate:f957a2332b1715da3b0ef8ba684454eb 1 udp 2130706431 192.0.2.2 {port} typ host\r\n"
    "a=end-of-candidates\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:S6rivK850hA95sMbWw0aTw\r\n"
    "a=fingerprint:{fingerprint}\r\na=setup:{setup}\r\n"
)


def _aiortc(
    direction: str, ufrag: str, fingerprint: str, setup: str, ports: tuple[int, int]
) -> str:
    audio, data = (
        _AIORTC_KEYS.format(port=port, ufrag=ufrag, fingerprint=fingerprint, setup=setup)
        for port in ports
    )
    return (
        "v=0\r\no=- 4005078372 4005078372 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
        "a=group:BUNDLE 0 1\r\na=msid-semantic:WMS *\r\n"
        f"m=audio {ports[0]} UDP/TLS/RTP/SAVPF 96 9 0 8\r\n"
        f"{_AIORTC_AUDIO.format(direction=direction)}{audio}"
        f"m=application {ports[1]} UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 192.0.2.2\r\n"
        f"a=mid:1\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n{data}"
    )


AIORTC_OFFER = _aiortc("sendrecv", "XN1x", FP_A, "actpass", (59608, 42657))
AIORTC_ANSWER = _aiortc("recvonly", "V67C", FP_B, "active", (48508, 48508))


def sections(groups: str, *lines: str) -> SessionDescription:
    """Make a description of RTP sections.

    Args:
        groups: values of ``a=group``, with ``|`` between them.
        lines: a section each: mid (maybe empty), port, attributes, with blanks between them.
    """
    text = HEAD + "".join(f"a=group:{group}\r\n" for group in groups.split("|") if groups)
    for line in lines:
        mid, port, *attributes = line.split(" ")
        text += f"m=audio {port} RTP/AVP 0\r\n"
        text += "".join(
            f"a={entry}\r\n" for entry in (f"mid:{mid}", *attributes) if entry != "mid:"
        )
    return SessionDescription.parse(text)
