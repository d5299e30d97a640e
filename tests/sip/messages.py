"""Messages and random bytes for tests of the SIP machines."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import parse_uri


def counting_entropy(seed: str = "") -> Callable[[int], bytes]:
    """Bytes that differ with every call and are the same in every run."""
    counter = itertools.count()

    def entropy(size: int) -> bytes:
        return hashlib.shake_256(f"{seed}{next(counter)}".encode()).digest(size)

    return entropy


def request(
    method: str = "INVITE",
    *,
    branch: str = "z9hG4bK1",
    uri: str = "sip:bob@ims.example",
    to_tag: str | None = None,
    cseq: int = 1,
    call_id: str = "call-1",
    extra: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
) -> Request:
    """A request from alice to bob."""
    tag = f";tag={to_tag}" if to_tag else ""
    headers = Headers(
        [
            ("Via", f"SIP/2.0/UDP 192.0.2.1:5060;branch={branch}"),
            ("Max-Forwards", "70"),
            ("From", "<sip:alice@ims.example>;tag=alice"),
            ("To", f"<sip:bob@ims.example>{tag}"),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", "<sip:alice@192.0.2.1:5060>"),
            *extra,
        ]
    )
    return Request(method=method, uri=parse_uri(uri), headers=headers, body=body)


def answer(
    to: Request, status: int, *, tag: str = "bob", extra: tuple[tuple[str, str], ...] = ()
) -> Response:
    """Bob's response, with a Contact from 101 on."""
    contact = () if status == 100 else (("Contact", "<sip:bob@192.0.2.2:5060>"),)
    return to.response(status, to_tag=tag, headers=(*contact, *extra))
