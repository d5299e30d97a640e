"""Hypothesis strategies for SIP values."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from dcsdk.sip.syntax.grammar import set_parameter
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import CSeq, NameAddr, OpaqueUri, SipUri, Via

TOKEN_CHARS = string.ascii_letters + string.digits + "-.!%*_+`'~"

tokens = st.text(TOKEN_CHARS, min_size=1, max_size=12)
line_text = st.text(
    st.characters(exclude_categories=("Cs", "Cc")), max_size=40
)  # no surrogates, no controls
ports = st.none() | st.integers(0, 65_535)
hosts = (
    st.sampled_from(["h", "ims.example", "p-cscf.ims.mnc001.mcc001.3gppnetwork.org", "a_b"])
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str)
)


@st.composite
def parameters(draw: st.DrawFn, names: st.SearchStrategy[str] = tokens) -> tuple:
    result: tuple = ()
    for name, value in draw(st.lists(st.tuples(names, st.none() | line_text), max_size=4)):
        result = set_parameter(result, name, value)
    return result


uri_names = st.text(string.ascii_letters + string.digits + "-_.!~*'", min_size=1, max_size=8)
uri_values = st.text(string.ascii_letters + string.digits + "-_.!~*'[]/:&+$", min_size=1)


@st.composite
def uri_parameters(draw: st.DrawFn) -> tuple:
    found = draw(st.lists(st.tuples(uri_names, st.none() | uri_values), max_size=3))
    result: tuple = ()
    for name, value in found:
        result = set_parameter(result, name, value)
    return result


users = st.text(string.ascii_letters + string.digits + "-_.!~*'()&=+$,;?/", min_size=1)
uri_headers = st.lists(
    st.tuples(uri_names, st.text(string.ascii_letters + string.digits + "-_.!~")),
    max_size=3,
).map(tuple)
sip_uris = st.builds(
    SipUri,
    scheme=st.sampled_from(["sip", "sips"]),
    user=st.none() | users,
    host=hosts,
    port=ports,
    parameters=uri_parameters(),
    headers=uri_headers,
)
opaque_uris = st.builds(
    OpaqueUri,
    scheme=st.sampled_from(["tel", "urn", "http"]),
    rest=st.text(string.ascii_letters + string.digits + "+-:/;=?", min_size=1, max_size=20),
)
uris = sip_uris | opaque_uris
display_names = st.none() | line_text
name_addrs = st.builds(NameAddr, display_name=display_names, uri=uris, parameters=parameters())
vias = st.builds(
    Via,
    transport=st.sampled_from(["UDP", "TCP", "TLS", "WS", "WSS", "X-NEW"]),
    host=hosts,
    port=ports,
    parameters=parameters(),
)
methods = st.sampled_from(["INVITE", "REGISTER", "BYE", "OPTIONS", "x-new!"])
call_ids = st.text(string.ascii_letters + string.digits + "-.@:[]<>{}", min_size=1, max_size=20)
reserved = frozenset(
    {"via", "v", "from", "f", "to", "t", "call-id", "i", "cseq", "content-length", "l"}
    | {"max-forwards", "content-type", "c"}
)
extra_headers = st.lists(
    st.tuples(tokens.filter(lambda n: n.lower() not in reserved), line_text), max_size=5
)


@st.composite
def messages(draw: st.DrawFn) -> Request | Response:
    method = draw(methods)
    headers = Headers()
    for via in draw(st.lists(vias, min_size=1, max_size=3)):
        headers.add("Via", str(via))
    headers.add("From", str(draw(name_addrs)))
    headers.add("To", str(draw(name_addrs)))
    headers.add("Call-ID", draw(call_ids))
    headers.add("CSeq", str(CSeq(number=draw(st.integers(0, 2**31 - 1)), method=method)))
    headers.extend(draw(extra_headers))
    body = draw(st.binary(max_size=60))
    if draw(st.booleans()):
        return Request(method, draw(uris), headers, body)
    return Response(draw(st.integers(100, 699)), draw(line_text), headers, body)
