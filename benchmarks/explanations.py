"""Why a target is missed where it is: what a profile showed. The page quotes this.

Keys are names of figures. An entry is used only while its target is missed. Figures in the texts
are those of the machine and the commit of the page.
"""

from __future__ import annotations

_SET_UP = (
    "`python -m benchmarks.setup_micro` shows on any machine what pyOpenSSL alone takes for a DTLS "
    "handshake in memory: here 0.58 ms of an end. An association takes 2.7 times that, 3.7 times "
    "with ICE, and more with both cores busy, as here."
)
_ROUND_TRIP = (
    "`python -m benchmarks.rtt_micro` shows where it goes: of 238 us of processor time of both "
    "ends the event loop with its sockets and a future for each message takes 34, DTLS 37, SCTP "
    "66. The rest is the way between them: channel, driver, timers, and the turn of the event loop "
    "in which the reader's task runs. The faster peers answer from a callback in C++, without an "
    "event loop of Python."
)

EXPLANATIONS: dict[str, str] = {
    "16KiB_vs_libdatachannel": (
        "Most of the time of a packet is DTLS, and most of that is Python between us and OpenSSL, "
        "of which libdatachannel has none: with `is_raw_openssl` the ratio is 1.8 in the same run."
    ),
    "rtt_p50_vs_aiortc": _ROUND_TRIP,
    "rtt_p99_vs_aiortc": (
        f"{_ROUND_TRIP} Two processes share two cores with whatever else runs, and this figure "
        "shows it first: rounds differ fourfold."
    ),
    "setup_cpu": (
        f"{_SET_UP} SCTP adds 0.3 times the handshake; the remaining time spreads over some 1100 "
        "calls of Python round eight datagrams, none of which takes 3 %."
    ),
    "setup_wall": (
        f"{_SET_UP} Four datagrams of DTLS and four of SCTP follow each other, and both ends "
        "compute between them; no timer is waited for."
    ),
    "setup_ice_wall": (
        f"{_SET_UP} Before DTLS come two round trips of checks: a pair must work before it is "
        "nominated (RFC 8445 8.1.1). No timer is waited for."
    ),
    "20ms_loss_1_vs_best": (
        "Reno's bound, 1.22 x packet / (round trip x square root of the loss), is 0.7 MB/s here. "
        "Four peers sit at it, dcsdk at nearly twice that, because its CUBIC gives way less when "
        "no queue shows in the round trip. werift sends three times the bound: more than a sender "
        "that shares a network with others should take, so it is not followed."
    ),
    "growth_associations_spread": (
        "Each association sends one message at a time: 15 datagrams for a turn of both machines "
        "and of the event loop, where a single busy association makes 60 of it. And a thousand "
        "associations send so few messages each that they are still in slow start, whose first "
        "window of ten packets makes two flights of a message."
    ),
}
