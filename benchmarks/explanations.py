"""Why a target is missed where it is: what a profile showed. The page quotes this.

Keys are names of figures. An entry is used only while its target is missed.
"""

from __future__ import annotations

_SET_UP = (
    "`python -m benchmarks.setup_micro` shows on any machine what pyOpenSSL alone takes for a DTLS "
    "handshake in memory; an association takes 2.4 times that, 3.5 times with ICE. Where these "
    "figures come from the handshake alone is 0.5 ms of an end, 0.9 ms when the other core is "
    "busy too."
)

EXPLANATIONS: dict[str, str] = {
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
    "memory_per_client": (
        "60 kB are OpenSSL's: 22 kB are the handshake's buffer, which it keeps with DTLS in case "
        "the last flight must be repeated, 15 kB a queue for records of the next epoch, 11 kB "
        "four record layers, 6 kB the connection. All of ours is 16 kB."
    ),
    "growth_associations_spread": (
        "Each association sends one message at a time: 15 datagrams for a turn of both machines "
        "and of the event loop, where a single busy association makes 60 of it; that alone takes "
        "1.4 times the processor. And a thousand associations send so few messages each that they "
        "are still in slow start, whose first window of ten packets makes two flights of a "
        "message."
    ),
}
