from __future__ import annotations

import struct

import pytest
from aioice.stun import Class, Message, Method
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ParseError
from dcsdk.ice import stun

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
ID = bytes.fromhex("b7e7a701bc34d686fa87dfae")

# RFC 5769 2.1 to 2.3.
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff"
    "80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249"
    "c1b571a280280004e57a3bcf"
)
RESPONSE_V4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
RESPONSE_V6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9fa"
    "a5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
REQUEST_LINE = stun.CheckRequest(
    username="them:us", priority=1, is_controlling=True, tie_breaker=7, use_candidate=True
)


# --- vectors --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 5769 2.1")
def test_sample_request_is_read() -> None:
    message = stun.decode(REQUEST)
    assert (message.message_method, message.message_class) == (Method.BINDING, Class.REQUEST)
    assert message.transaction_id == ID
    assert message.attributes["USERNAME"] == "evtj:h6vY"
    assert message.attributes["PRIORITY"] == 0x6E0001FF
    assert message.attributes["ICE-CONTROLLED"] == 0x932FF9B151263B36
    assert message.check_message_integrity(PASSWORD)
    assert not message.check_message_integrity(PASSWORD + b"x")
    assert stun.unknown_attributes(REQUEST) == ()


@pytest.mark.parametrize(
    ("data", "address"),
    [
        pytest.param(
            RESPONSE_V4, ("192.0.2.1", 32853), marks=pytest.mark.clause("RFC 5769 2.2"), id="IPv4"
        ),
        pytest.param(
            RESPONSE_V6,
            ("2001:db8:1234:5678:11:2233:4455:6677", 32853),
            marks=pytest.mark.clause("RFC 5769 2.3"),
            id="IPv6",
        ),
    ],
)
def test_sample_responses_are_read(data: bytes, address: tuple[str, int]) -> None:
    message = stun.decode(data)
    assert message.message_class is Class.RESPONSE
    assert message.attributes["XOR-MAPPED-ADDRESS"] == address
    assert message.check_message_integrity(PASSWORD)


# --- writing --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8445 7.1")
@pytest.mark.parametrize("is_controlling", [True, False])
def test_a_check_says_role_priority_and_nomination(is_controlling: bool) -> None:
    request = stun.CheckRequest(
        username="them:us",
        priority=99,
        is_controlling=is_controlling,
        tie_breaker=2**63,
        use_candidate=is_controlling,
    )
    message = stun.decode(request.encode(ID, PASSWORD))
    assert message.check_message_integrity(PASSWORD)
    role = "ICE-CONTROLLING" if is_controlling else "ICE-CONTROLLED"
    assert message.attributes[role] == 2**63
    assert message.attributes["USERNAME"] == "them:us"
    assert message.attributes["PRIORITY"] == 99
    assert ("USE-CANDIDATE" in message.attributes) is is_controlling


@pytest.mark.parametrize("address", [("192.0.2.1", 1), ("2001:db8::9", 65535)])
def test_a_success_tells_where_the_check_came_from(address: tuple[str, int]) -> None:
    message = stun.decode(stun.encode_success(ID, address, PASSWORD))
    assert message.attributes["XOR-MAPPED-ADDRESS"] == address
    assert message.check_message_integrity(PASSWORD)


@pytest.mark.clause("RFC 8489 9.1.3")
@pytest.mark.parametrize("code", [stun.BAD_REQUEST, stun.UNAUTHENTICATED])
def test_a_refusal_without_a_key_is_not_signed(code: int) -> None:
    message = stun.decode(stun.encode_error(ID, code))
    assert message.error_code == code
    assert "MESSAGE-INTEGRITY" not in message.attributes


def test_a_role_conflict_is_signed() -> None:
    message = stun.decode(stun.encode_error(ID, stun.ROLE_CONFLICT, key=PASSWORD))
    assert message.error_code == stun.ROLE_CONFLICT
    assert message.check_message_integrity(PASSWORD)


@pytest.mark.clause("RFC 8489 6.3.1")
def test_unknown_attributes_are_named() -> None:
    data = stun.encode_error(ID, stun.UNKNOWN_ATTRIBUTE, key=PASSWORD, unknown=(0x7FFF, 0x7000))
    message = stun.decode(data)
    assert message.error_code == stun.UNKNOWN_ATTRIBUTE
    assert message.check_message_integrity(PASSWORD)
    assert struct.pack("!HHHH", 0x000A, 4, 0x7FFF, 0x7000) in data


# --- reading what nobody should write -------------------------------------------------------------
def signed(attributes: bytes) -> bytes:
    """Return a request with some attributes put before the integrity."""
    from aioice import stun as codec

    data = struct.pack("!HHI12s", 1, 0, codec.COOKIE, ID) + attributes
    data += struct.pack("!HH", 8, 20) + codec.message_integrity(data, PASSWORD)
    data += struct.pack("!HHI", 0x8028, 4, codec.message_fingerprint(data))
    return codec.set_body_length(data, len(data) - 20)


@pytest.mark.clause("RFC 8489 6.3.1")
def test_only_signed_attributes_that_must_be_understood_count() -> None:
    required = struct.pack("!HHI", 0x7ABC, 4, 0)
    optional = struct.pack("!HHI", 0xC001, 4, 0)
    sha256 = struct.pack("!HH32s", 0x001C, 32, b"")
    data = signed(required + optional + sha256)
    assert stun.decode(data).check_message_integrity(PASSWORD)
    assert stun.unknown_attributes(data) == (0x7ABC,)
    assert len(stun.unknown_attributes(signed(required * 50))) == 8


@pytest.mark.parametrize(
    "attribute",
    [
        struct.pack("!HHH", 0x0024, 2, 1) + b"\0\0",  # PRIORITY of two octets
        struct.pack("!HH", 0x8029, 0),  # empty ICE-CONTROLLED
        struct.pack("!HHBB", 0x0006, 2, 0xFF, 0xFE) + b"\0\0",  # USERNAME that is no UTF-8
        struct.pack("!HHI", 0x0020, 4, 0),  # address of no family
    ],
)
def test_a_malformed_attribute_is_a_parse_error(attribute: bytes) -> None:
    with pytest.raises(ParseError):
        stun.decode(signed(attribute))


@pytest.mark.clause("RFC 8445 7.1")
def test_a_message_without_fingerprint_is_refused() -> None:
    message = Message(Method.BINDING, Class.REQUEST, ID, {"USERNAME": "a:b"})
    with pytest.raises(ParseError, match="no FINGERPRINT"):
        stun.decode(bytes(message))


def test_a_wrong_fingerprint_is_refused() -> None:
    with pytest.raises(ParseError, match="fingerprint"):
        stun.decode(REQUEST[:-1] + b"\0")


def test_a_long_message_is_refused() -> None:
    data = struct.pack("!HHI12s", 1, 4000, 0x2112A442, ID) + bytes(4000)
    with pytest.raises(ParseError, match="too long"):
        stun.decode(data)


@given(data=st.binary(max_size=120))
def test_any_bytes_are_a_message_or_a_parse_error(data: bytes) -> None:
    for candidate in (data, b"\0\1" + struct.pack("!HI", len(data), 0x2112A442) + ID + data):
        try:
            stun.decode(candidate)
        except ParseError:
            continue
        stun.unknown_attributes(candidate)


@given(
    data=st.sampled_from([REQUEST, RESPONSE_V4, RESPONSE_V6, REQUEST_LINE.encode(ID, PASSWORD)]),
    changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=6),
    end=st.integers(0, 120),
)
def test_damaged_messages_are_read_or_refused(
    data: bytes, changes: list[tuple[int, int]], end: int
) -> None:
    damaged = bytearray(data)
    for position, value in changes:
        damaged[position] = value
    for candidate in (bytes(damaged), bytes(damaged[:end])):
        try:
            stun.decode(candidate)
        except ParseError:
            continue
        stun.unknown_attributes(candidate)


# --- against aioice -------------------------------------------------------------------------------
TEXT = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=64)
IDS = st.binary(min_size=12, max_size=12)


@given(
    username=TEXT,
    priority=st.integers(0, 2**32 - 1),
    is_controlling=st.booleans(),
    tie_breaker=st.integers(0, 2**64 - 1),
    use_candidate=st.booleans(),
    transaction_id=IDS,
    key=st.binary(min_size=1, max_size=100),
)
def test_checks_are_written_as_aioice_writes_them(
    username: str,
    priority: int,
    is_controlling: bool,
    tie_breaker: int,
    use_candidate: bool,
    transaction_id: bytes,
    key: bytes,
) -> None:
    request = stun.CheckRequest(
        username=username,
        priority=priority,
        is_controlling=is_controlling,
        tie_breaker=tie_breaker,
        use_candidate=use_candidate,
    )
    role = "ICE-CONTROLLING" if is_controlling else "ICE-CONTROLLED"
    attributes = {"USERNAME": username, "PRIORITY": priority, role: tie_breaker}
    nomination = {"USE-CANDIDATE": None} if use_candidate else {}
    message = Message(Method.BINDING, Class.REQUEST, transaction_id, {**attributes, **nomination})
    message.add_message_integrity(key)
    assert request.encode(transaction_id, key) == bytes(message)


@given(
    transaction_id=IDS,
    host=st.ip_addresses().map(str),
    port=st.integers(0, 65_535),
    key=st.binary(min_size=1, max_size=100),
)
def test_answers_are_written_as_aioice_writes_them(
    transaction_id: bytes, host: str, port: int, key: bytes
) -> None:
    source = {"XOR-MAPPED-ADDRESS": (host, port)}
    message = Message(Method.BINDING, Class.RESPONSE, transaction_id, source)
    message.add_message_integrity(key)
    assert stun.encode_success(transaction_id, (host, port), key) == bytes(message)


@given(transaction_id=IDS, key=st.none() | st.binary(min_size=1, max_size=100))
def test_refusals_are_written_as_aioice_writes_them(
    transaction_id: bytes, key: bytes | None
) -> None:
    error = {"ERROR-CODE": (stun.ROLE_CONFLICT, "Role Conflict")}
    message = Message(Method.BINDING, Class.ERROR, transaction_id, error)
    if key is None:
        message.add_fingerprint()
    else:
        message.add_message_integrity(key)
    assert stun.encode_error(transaction_id, stun.ROLE_CONFLICT, key=key) == bytes(message)
