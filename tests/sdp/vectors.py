"""SDP of the standards, and the pieces tests build lines from."""

from __future__ import annotations

FP_A = (
    "sha-256 43:E2:BE:FF:2A:DB:95:08:8F:FD:6E:92:C6:23:8A:7A:"
    "6E:B6:94:8F:B1:33:7D:FD:D3:8D:48:20:28:44:CC:A5"
)
FP_B = (
    "sha-256 09:25:FB:A5:D5:9D:22:C7:7C:42:AF:F9:84:CD:FF:45:"
    "F0:EB:03:05:BC:66:E1:74:EA:AA:B7:41:C2:F5:C2:F9"
)
FP_DCMF = (
    "sha-256 52:D5:33:2A:7F:EC:FA:D4:9F:B7:83:F7:F1:8F:DA:B3:"
    "4E:F7:94:8A:5F:1F:5B:E9:71:D9:2D:A9:FA:F0:1B:FF"
)
FP_SHA1 = "SHA-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB"
TLS_ID_A = "89abcdef0123456789abcdef0123aa01"
TLS_ID_B = "ffeeddccbbaa99887766554433221100"

HEAD = "v=0\r\no=- 3001 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n"

TS_26114_A17_1 = (
    "v=0\r\no=- 3001 1 IN IP4 192.0.2.156\r\ns=-\r\nt=0 0\r\n"
    "a=ice-options:ice2\r\na=ice-lite\r\n"
    "m=application 52718 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    "c=IN IP4 192.0.2.156\r\nb=AS:500\r\n"
    "a=candidate:1 1 UDP 2130706431 192.0.2.156 52718 typ host\r\n"
    "a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n"
    "a=max-message-size:1024\r\na=sctp-port:5000\r\na=setup:actpass\r\n"
    f"a=fingerprint:{FP_SHA1}\r\n"
    "a=tls-id: abc3de65cddef001be82\r\n"
    'a=dcmap:0 subprotocol="http"\r\n'
)

BOOTSTRAP_OFFER = (
    HEAD + "m=audio 49180 RTP/AVP 96\r\na=rtpmap:96 AMR-WB/16000/1\r\n"
    "m=application 51404 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 192.0.2.10\r\nb=AS:500\r\n"
    f"a=setup:actpass\r\na=fingerprint:{FP_A}\r\na=tls-id:{TLS_ID_A}\r\n"
    "a=sctp-port:5000\r\na=max-message-size:65536\r\n"
    'a=dcmap:0 subprotocol="http"\r\na=dcmap:10 subprotocol="http"\r\n'
    "a=3ge2dce:requested\r\n"
    "m=application 51406 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    f"a=setup:actpass\r\na=fingerprint:{FP_A}\r\na=tls-id:89abcdef0123456789abcdef0123aa02\r\n"
    "a=sctp-port:5000\r\n"
    'a=dcmap:100 subprotocol="http"\r\na=dcmap:110 subprotocol="http"\r\n'
    "a=3gpp-bdc-used-by:sender\r\n"
)

BOOTSTRAP_ANSWER_LINE = (
    "m=application 41000 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 198.51.100.30\r\n"
    f"a=setup:passive\r\na=fingerprint:{FP_DCMF}\r\na=tls-id:{TLS_ID_B}\r\n"
    "a=sctp-port:5000\r\na=max-message-size:65536\r\n"
    'a=dcmap:0 subprotocol="http"\r\n'
)

APPLICATION_LINE = (
    "m=application 51408 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    f"a=setup:actpass\r\na=fingerprint:{FP_A}\r\na=tls-id:89abcdef0123456789abcdef0123aa03\r\n"
    "a=sctp-port:5002\r\na=max-message-size:65536\r\n"
    'a=dcmap:1000 subprotocol="xyz";label="whiteboard";ordered=true\r\n'
    'a=dcmap:1001 subprotocol="xyz";label="cursor";ordered=false;max-retr=0\r\n'
    "a=dcsa:1000 3gpp-qos-hint:loss=0.01;latency=100\r\n"
    "a=3gpp-req-app:app-1;adc-stream-id-endpoint=1000:UE\r\n"
)

MSRP_LINE = (  # a WIC's line, which numbers freely (RFC 8873 4.4)
    "m=application 51402 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 192.0.2.10\r\nb=AS:500\r\n"
    "a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n"
    "a=candidate:1 1 UDP 2130706431 192.0.2.10 51402 typ host\r\n"
    f"a=setup:actpass\r\na=fingerprint:{FP_A}\r\na=tls-id:89abcdef0123456789abcdef01234567\r\n"
    "a=sctp-port:5000\r\na=max-message-size:65536\r\n"
    'a=dcmap:2 subprotocol="msrp";label="chat"\r\n'
    "a=dcsa:2 accept-types:text/plain\r\n"
    "a=dcsa:2 path:msrps://192.0.2.10:51402/s3c1;dc\r\n"
    "a=dcsa:2 msrp-cema\r\na=dcsa:2 setup:active\r\na=3ge2ae:requested\r\n"
)

RFC_8841_OFFER = (  # shape of RFC 8841 13: offer port 5000, answer port 6000
    HEAD + "m=application 54111 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    f"a=tls-id:{TLS_ID_A}\r\na=setup:actpass\r\na=sctp-port:5000\r\na=max-message-size:100000\r\n"
    f"a=fingerprint:{FP_A}\r\n"
)
