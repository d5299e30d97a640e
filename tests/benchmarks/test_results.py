"""What is made of the values of a benchmark run."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.engines.base import END, VARIANTS, Sink, messages_of
from benchmarks.plan import FIGURES, Figure
from benchmarks.relay import redirect
from benchmarks.results import document, figure_of

FASTER = Figure(
    name="f", title="F", unit="MB/s", metric="m", against=("aiortc", "aiortc-udp"), target=10
)
VALUES = {
    ("dcsdk", "m"): [300.0, 100.0, 200.0],
    ("aiortc", "m"): [10.0, 30.0, 20.0],
    ("aiortc-udp", "m"): [12.0],
}
MISSING = {("libwebrtc", ""): "no wheel", ("werift", "m"): "no answer in time"}


def test_a_ratio_compares_medians_with_the_best_of_the_peers() -> None:
    found = figure_of(FASTER, VALUES, MISSING)
    assert (found["ours"], found["ratio"], found["met"]) == (200.0, 10.0, True)
    assert found["peers"] == {"aiortc": 20.0, "aiortc-udp": 12.0}
    assert found["ratios"] == {"aiortc": 10.0, "aiortc-udp": 16.67}
    assert found["unavailable"]["libwebrtc"] == "no wheel"
    assert found["unavailable"]["werift"] == "no answer in time"
    assert found["unavailable"]["usrsctp"] == "it was not measured"


def test_a_peer_may_count_with_its_best_run() -> None:
    figure = Figure(
        name="f", title="F", unit="u", metric="m", against=("aiortc",), target=20, is_best_run=True
    )
    found = figure_of(figure, VALUES, {})
    assert found["peers"]["aiortc"] == 20.0
    assert found["ratio"] == pytest.approx(6.667)
    assert found["met"] is False


def test_less_is_better_turns_the_comparison_round() -> None:
    values = {("dcsdk", "t"): [20.0], ("aiortc", "t"): [100.0], ("aiortc-udp", "t"): [80.0]}
    figure = Figure(
        name="f",
        title="F",
        unit="us",
        metric="t",
        against=("aiortc", "aiortc-udp"),
        target=0.25,
        is_higher_better=False,
    )
    found = figure_of(figure, values, {})
    assert (found["ratio"], found["met"]) == (0.25, True)


def test_a_target_is_undecided_when_one_of_its_peers_is_not_installed() -> None:
    found = figure_of(FASTER, VALUES, {("aiortc-udp", ""): "no wheel"})
    assert (found["ratio"], found["met"]) == (10.0, None)


def test_a_target_of_its_own_needs_no_peer() -> None:
    figure = Figure(
        name="f", title="F", unit="kB", metric="m", target=80, is_higher_better=False, peers=()
    )
    found = figure_of(figure, {("dcsdk", "m"): [85.0]}, {})
    assert (found["ratio"], found["met"], found["target"]) == (None, False, "<= 80 kB")


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    found = figure_of(FASTER, {}, {("dcsdk", "m"): "the worker ended"})
    assert (found["ours"], found["ratio"], found["met"]) == (None, None, None)
    assert found["unavailable"]["dcsdk"] == "the worker ended"


def test_the_page_and_the_plot_show_every_figure(tmp_path: Path) -> None:
    values = {
        (name, figure.metric): [4.0]
        for figure in FIGURES
        for name in (figure.ours, *figure.peers)
        if name != "werift"
    }
    result = document(FIGURES, values, MISSING, {"dcsdk": "1"}, is_quick=False, rounds=1)
    (tmp_path / "pictures").mkdir()
    text, picture = page.write(result, tmp_path)
    written = text.read_text()
    for figure in FIGURES:
        assert figure.title in written
    assert "no wheel" in written
    assert "Where a target is missed" in written
    assert ET.fromstring(picture.read_text()).tag.endswith("svg")  # noqa: S314 - our own


def test_a_sink_notices_what_is_lost_swapped_or_changed() -> None:
    messages = messages_of(100)
    assert len(set(messages)) == VARIANTS
    for wrong in (messages[1], messages[0][:-1], b""):
        sink = Sink(100)
        assert not sink.take(wrong)
        assert sink.is_damaged
    sink = Sink(100)
    assert all(sink.take(message) for message in (*messages, messages[0]))
    assert not sink.take(END)
    assert (sink.count, sink.is_damaged) == (VARIANTS + 1, False)


def test_the_relay_stands_between_the_ends() -> None:
    assert redirect('{"address": ["10.0.0.1", 7]}', "10.0.0.9", 8) == (
        '{"address": ["10.0.0.9", 8]}',
        ("10.0.0.1", 7),
    )
    assert redirect("open", "10.0.0.9", 8) == ("open", None)
    sdp = "\r\n".join(
        (
            "v=0",
            "a=candidate:1 1 UDP 2122 10.0.0.9 5000 typ host",
            "a=candidate:2 1 UDP 2121 fd00::2 5001 typ host",
            "a=candidate:3 1 TCP 2120 10.0.0.9 9 typ host tcptype active",
        )
    )
    changed, real = redirect(sdp, "10.0.0.9", 8)
    assert real == ("10.0.0.9", 5000)
    assert changed == "v=0\r\na=candidate:1 1 UDP 2122 10.0.0.9 8 typ host"
