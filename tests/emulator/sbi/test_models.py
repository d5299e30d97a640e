"""JSON models of Nmf_MRM and Nimsas_*: round trips, traps on the way to SDP, any-input totality."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.emulator.sbi.common import (
    DcEndpoint,
    Endpoint,
    Transport,
    setup_from_json,
    setup_to_json,
    size_from_json,
    size_to_kib,
    stream_from_json,
    stream_to_json,
)
from dcsdk.emulator.sbi.dc_control import Initiator, SessionCase
from dcsdk.emulator.sbi.imsas import (
    EventMedia,
    EventType,
    MediaInstruction,
    MediaInstructionData,
    MediaInstructions,
    SessionEventNotification,
)
from dcsdk.emulator.sbi.json_object import MAX_MEMBERS, JsonObject, encode_json, parse_json
from dcsdk.emulator.sbi.mrm import DcMedia, MediaContext, MediaProxy, TerminationInfo
from dcsdk.emulator.sbi.mrm import MediaInfo as MrmMediaInfo
from dcsdk.emulator.sbi.patch import MAX_OPERATIONS, apply_patch
from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.fingerprint import Fingerprint

KIB = 1024
addresses = st.tuples(
    st.ip_addresses().map(str).filter(lambda text: "%" not in text), st.integers(0, 65_535)
)
endpoints = st.builds(Endpoint, address=addresses, transport=st.sampled_from(Transport))
fingerprints = st.builds(
    Fingerprint,
    hash_function=st.just("sha-256"),
    digest=st.binary(min_size=32, max_size=32),
)
dc_endpoints = st.builds(
    DcEndpoint,
    sctp_port=st.integers(0, 65_535),
    fingerprint=fingerprints,
    tls_id=st.none() | st.text("0123456789abcdef", min_size=20, max_size=40),
)
uint32 = st.integers(0, 2**32 - 1)
dcmaps = st.builds(
    Dcmap,
    stream_id=st.integers(0, 65_534),
    subprotocol=st.sampled_from(["", "http", "msrp"]),
    is_ordered=st.booleans(),
    max_retr=st.none() | uint32,
    max_time_ms=st.none() | uint32,
    priority=st.integers(0, 65_535),
)
streams = st.lists(dcmaps, max_size=3, unique_by=lambda item: item.stream_id).map(tuple)
setups = st.sampled_from([Setup.ACTIVE, Setup.PASSIVE, Setup.ACTPASS])
sizes = st.integers(1, 64).map(lambda kib: kib * KIB)
urls = st.dictionaries(st.integers(0, 65_534), st.just("http://dcsf.example/list"), max_size=2)
ids = st.text("abc123", min_size=1, max_size=8)
dc_medias = st.builds(
    DcMedia,
    media_proxy_config=st.none() | st.sampled_from(MediaProxy),
    replace_http_urls=urls,
    local_mdc1_endpoint=st.none() | endpoints,
    remote_mdc1_endpoint=st.none() | endpoints,
    streams=streams,
    max_message_size=sizes,
    local_dc_endpoint=st.none() | dc_endpoints,
    remote_dc_endpoint=st.none() | dc_endpoints,
    security_setup=st.none() | setups,
)
contexts = st.builds(
    MediaContext,
    context_id=st.none() | ids,
    terminations=st.lists(
        st.builds(
            TerminationInfo,
            termination_id=st.none() | ids,
            medias=st.lists(
                st.builds(
                    MrmMediaInfo,
                    media_id=ids,
                    local_mb_endpoint=st.none() | endpoints,
                    remote_mb_endpoint=st.none() | endpoints,
                    dc_media=st.none() | dc_medias,
                ),
                min_size=1,
                max_size=2,
            ).map(tuple),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
)
medias = st.builds(
    EventMedia,
    media_id=ids,
    streams=streams,
    max_message_size=sizes,
    remote_dc_endpoint=st.none() | dc_endpoints,
    security_setup=st.none() | setups,
)
notifications = st.builds(
    SessionEventNotification,
    event_type=st.sampled_from(EventType),
    event_initiator=st.sampled_from(Initiator),
    session_id=ids,
    calling_identity=st.none() | ids,
    called_identity=st.none() | ids,
    session_case=st.none() | st.sampled_from(SessionCase),
    medias=st.lists(medias, max_size=2).map(lambda items: {m.media_id: m for m in items}),
)
instructions = st.builds(
    MediaInstructions,
    media_id=ids,
    media_instruction=st.none() | st.sampled_from(MediaInstruction),
    media_proxy_config=st.none() | st.sampled_from(MediaProxy),
    replace_http_urls=urls,
    mdc1_endpoint_dcsf=st.none() | endpoints,
    mdc1_endpoint_mf=st.none() | endpoints,
    streams=streams,
)
instruction_data = st.builds(
    MediaInstructionData,
    session_id=ids,
    instructions=st.lists(instructions, max_size=2).map(
        lambda items: {item.media_id: item for item in items}
    ),
)


@given(contexts)
def test_media_contexts_round_trip(context: MediaContext) -> None:
    assert MediaContext.from_json(parse_json(encode_json(context.to_json()))) == context


@given(notifications)
def test_notifications_round_trip(notification: SessionEventNotification) -> None:
    wire = parse_json(encode_json(notification.to_json()))
    assert SessionEventNotification.from_json(wire) == notification


@given(instruction_data)
def test_instructions_round_trip(data: MediaInstructionData) -> None:
    assert MediaInstructionData.from_json(parse_json(encode_json(data.to_json()))) == data


SAMPLE = """{"terminations":[{"medias":[{"mediaId":"1","mediaResourceType":"DC",
"remoteMbEndpoint":{"ip":{"ipv4Addr":"192.0.2.10"},"transport":"UDP","portNumber":51404},
"dcMedia":{"mediaProxyConfig":"HTTP",
"replaceHttpUrl":{"0":{"streamId":0,"replaceHttpUrl":"http://dcsf.example/list/s1"}},
"remoteMdc1Endpoint":{"ip":{"ipv4Addr":"198.51.100.40"},"transport":"TCP","portNumber":8080},
"streams":{"0":{"streamId":0,"subprotocol":"http","order":true}},
"remoteDcEndpoint":{"sctpPort":5000,"fingerprint":"SHA-256 FINGERPRINT",
"tlsId":"89abcdef0123456789abcdef0123aa01"},
"securitySetup":"ACTPASS"}}]}]}""".replace("FINGERPRINT", ":".join(["AB"] * 32))


@pytest.mark.clause("TS 29.176")
def test_a_sample_context_is_read() -> None:
    media = MediaContext.from_json(json.loads(SAMPLE)).terminations[0].medias[0]
    assert media.remote_mb_endpoint is not None and media.dc_media is not None
    assert media.remote_mb_endpoint.address == ("192.0.2.10", 51404)
    assert media.dc_media.replace_http_urls == {0: "http://dcsf.example/list/s1"}
    assert media.dc_media.max_message_size == 65_536
    assert media.dc_media.remote_dc_endpoint is not None
    assert media.dc_media.remote_dc_endpoint.fingerprint.hash_function == "sha-256"


@pytest.mark.clause("TS 29.571")
def test_fingerprints_are_written_in_upper_case() -> None:
    fingerprint = Fingerprint(hash_function="sha-256", digest=bytes(range(32)))
    written = DcEndpoint(sctp_port=5000, fingerprint=fingerprint).to_json()
    assert written["fingerprint"].startswith("SHA-256 00:01:")
    assert "tlsId" not in written


@pytest.mark.clause("TS 29.571")
@pytest.mark.parametrize(
    ("size_bytes", "kib"),
    [(65_536, 64), (262_144, 64), (0, 64), (1024, 1), (2047, 1), (16_384, 16)],
)
def test_message_sizes_are_told_in_kib(size_bytes: int, kib: int) -> None:
    assert size_to_kib(size_bytes) == kib


def test_message_sizes_that_kib_cannot_tell_are_errors() -> None:
    with pytest.raises(LocalProtocolError):
        size_to_kib(1023)
    with pytest.raises(ParseError):
        size_from_json(JsonObject({"maxMessageSize": 0}, "x"))
    assert size_from_json(JsonObject({}, "x")) == 65_536


@pytest.mark.clause("TS 29.571")
def test_absent_reliability_members_mean_a_reliable_channel() -> None:
    dcmap, binding = stream_from_json(JsonObject({"streamId": 1000}, "DcStream"))
    assert dcmap == Dcmap(stream_id=1000)
    assert binding is None
    written = stream_to_json(dcmap, "app")
    assert "maxRetry" not in written and "maxTime" not in written
    assert written["appBindingInfo"] == "app"


def test_setups_round_trip_and_holdconn_is_refused() -> None:
    for setup in (Setup.ACTIVE, Setup.PASSIVE, Setup.ACTPASS):
        assert setup_from_json(JsonObject({"securitySetup": setup_to_json(setup)}, "x")) is setup
    with pytest.raises(ParseError):
        setup_from_json(JsonObject({"securitySetup": "HOLDCONN"}, "x"))


def _with(path: str, value: Any) -> Any:
    return apply_patch(json.loads(SAMPLE), [{"op": "add", "path": path, "value": value}])


_MEDIA = "/terminations/0/medias/0"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", []),
        ("/terminations", []),
        ("/terminations", {}),
        ("/terminations/0/medias", None),
        (_MEDIA + "/mediaId", 1),
        (_MEDIA + "/mediaId", "x" * 5000),
        (_MEDIA + "/mediaResourceType", "XR"),
        (_MEDIA + "/dcMedia", "x"),
        (_MEDIA + "/remoteMbEndpoint/ip", {}),
        (_MEDIA + "/remoteMbEndpoint/ip", {"ipv4Addr": "::1"}),
        (_MEDIA + "/remoteMbEndpoint/ip", {"ipv6Addr": "fe80::1%lo"}),
        (_MEDIA + "/remoteMbEndpoint/ip", {"ipv4Addr": "localhost"}),
        (_MEDIA + "/remoteMbEndpoint/portNumber", 65_536),
        (_MEDIA + "/remoteMbEndpoint/portNumber", True),
        (_MEDIA + "/remoteMbEndpoint/portNumber", 1.5),
        (_MEDIA + "/dcMedia/mediaProxyConfig", "SOCKS"),
        (_MEDIA + "/dcMedia/streams", {"1": {"streamId": 0}}),
        (_MEDIA + "/dcMedia/streams", []),
        (_MEDIA + "/dcMedia/streams", {str(n): {} for n in range(MAX_MEMBERS + 1)}),
        (_MEDIA + "/dcMedia/streams/0/order", "yes"),
        (_MEDIA + "/dcMedia/replaceHttpUrl/0/replaceHttpUrl", "ftp://x/"),
        (_MEDIA + "/dcMedia/replaceHttpUrl/0/streamId", 1),
        (_MEDIA + "/dcMedia/remoteDcEndpoint/fingerprint", "SHA-256 00"),
        (_MEDIA + "/dcMedia/remoteDcEndpoint/tlsId", "short"),
    ],
)
def test_malformed_contexts_are_parse_errors(path: str, value: object) -> None:
    with pytest.raises(ParseError):
        MediaContext.from_json(_with(path, value))


def test_keys_must_be_the_ids_of_their_values() -> None:
    with pytest.raises(ParseError):
        MediaInstructionData.from_json(
            {
                "sessionId": "s",
                "mediaInstructionSet": {"1": {"mediaId": "2", "mediaResourceType": "DC"}},
            }
        )
    with pytest.raises(ParseError):
        MediaInstructionData.from_json({"sessionId": "s"})


@pytest.mark.clause("RFC 6902 4")
@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ([], {"a": {"b": [1, 2]}}),
        ([{"op": "add", "path": "/a/c", "value": 3}], {"a": {"b": [1, 2], "c": 3}}),
        ([{"op": "add", "path": "/a/b/-", "value": 3}], {"a": {"b": [1, 2, 3]}}),
        ([{"op": "add", "path": "/a/b/0", "value": 0}], {"a": {"b": [0, 1, 2]}}),
        ([{"op": "replace", "path": "/a/b/1", "value": 9}], {"a": {"b": [1, 9]}}),
        ([{"op": "remove", "path": "/a/b/0"}], {"a": {"b": [2]}}),
        ([{"op": "test", "path": "/a/b/0", "value": 1}], {"a": {"b": [1, 2]}}),
        ([{"op": "replace", "path": "", "value": 7}], 7),
        ([{"op": "add", "path": "/x~1y~0z", "value": 7}], {"a": {"b": [1, 2]}, "x/y~z": 7}),
        ([{"op": "remove", "path": ""}], None),
    ],
)
def test_patches_apply(patch: object, result: object) -> None:
    document = {"a": {"b": [1, 2]}}
    assert apply_patch(document, patch) == result
    assert document == {"a": {"b": [1, 2]}}


@pytest.mark.clause("RFC 6902 4")
@pytest.mark.parametrize(
    "patch",
    [
        {},
        [1],
        [{"op": "move", "path": "/a", "from": "/b"}],
        [{"op": "add", "path": "/a"}],
        [{"op": "add", "path": "a", "value": 1}],
        [{"op": "add", "path": 1, "value": 1}],
        [{"op": "add", "path": "/" * 2000, "value": 1}],
        [{"op": "add", "path": "/a/b/9", "value": 1}],
        [{"op": "add", "path": "/a/b/01", "value": 1}],
        [{"op": "add", "path": "/a/b/0/x", "value": 1}],
        [{"op": "replace", "path": "/x", "value": 1}],
        [{"op": "remove", "path": "/a/b/-"}],
        [{"op": "test", "path": "/a", "value": 1}],
        [{"op": "remove", "path": "/a"}] * 2,
        [{"op": "test", "path": "/a", "value": 1}] * (MAX_OPERATIONS + 1),
    ],
)
def test_patches_that_do_not_apply_are_parse_errors(patch: object) -> None:
    with pytest.raises(ParseError):
        apply_patch({"a": {"b": [1, 2]}}, patch)


def test_deep_nesting_is_a_parse_error() -> None:
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(ParseError):
        apply_patch({}, [{"op": "add", "path": "/a", "value": deep}])
    with pytest.raises(ParseError):
        parse_json(b"[" * 100_000)
    with pytest.raises(ParseError):
        parse_json(b"\xff")


_NAMES = st.sampled_from(
    [
        *("terminations", "medias", "mediaId", "mediaResourceType", "dcMedia", "streams", "0"),
        *("streamId", "sessionId", "notificationEvent", "eventType", "mediaInfoList"),
        *("mediaInstructionSet", "sctpPort", "fingerprint"),
    ]
)
_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["DC", "1", "0", "HTTP"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=15,
)


@given(_ANY_JSON, st.sampled_from([MediaContext, SessionEventNotification, MediaInstructionData]))
def test_any_json_is_a_value_or_a_parse_error(value: object, model: Any) -> None:
    with contextlib.suppress(ParseError):
        model.from_json(value)


@given(contexts, st.data())
def test_a_context_with_one_member_changed_is_a_value_or_a_parse_error(
    context: MediaContext, data: st.DataObject
) -> None:
    document = context.to_json()
    paths: list[str] = []

    def walk(value: object, path: str) -> None:
        paths.append(path)
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{path}/{key}")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, f"{path}/{index}")

    walk(document, "")
    changed = apply_patch(
        document,
        [
            {
                "op": "replace",
                "path": data.draw(st.sampled_from(paths)),
                "value": data.draw(_ANY_JSON),
            }
        ],
    )
    with contextlib.suppress(ParseError):
        MediaContext.from_json(changed)


@given(st.binary(max_size=100))
def test_any_bytes_are_json_or_a_parse_error(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse_json(data)


def test_readers_say_what_is_missing() -> None:
    body = JsonObject({"a": 1, "b": None}, "Body")
    readers: list[Callable[[], object]] = [
        lambda: body.text("b"),
        lambda: body.object("a"),
        lambda: body.array("a"),
        lambda: body.choice("b", Transport),
    ]
    for reader in readers:
        with pytest.raises(ParseError, match=r"Body\."):
            reader()
    assert "b" not in body and body.optional_object("b") is None
