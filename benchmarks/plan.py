"""What is measured, on what, and what is aimed at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

OURS = "dcsdk"
AIORTC_UDP, AIORTC = "aiortc-udp", "aiortc"
LIBDATACHANNEL, LIBWEBRTC, WERIFT, USRSCTP = "libdatachannel", "libwebrtc", "werift", "usrsctp"
NO_OFFLOAD, RAW, ICE = "dcsdk-no-offload", "dcsdk-raw", "dcsdk-ice"
PER_SESSION, GROWTH = "dcsdk-per-session", "dcsdk-many"

Group = Literal["pair", "distance", "memory", "growth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One transport, set up in one way.

    Attributes:
        name: in the results.
        title: for people.
        program: what runs the worker.
        engine: what the worker calls it.
        options: for the worker.
        groups: of measurements it takes part in.
        how: the way to get it when it is missing.
    """

    name: str
    title: str
    engine: str
    program: Literal["python", "node"] = "python"
    options: tuple[str, ...] = ()
    groups: frozenset[Group] = frozenset({"pair", "distance", "memory"})
    how: str = "make bench-setup"


PAIR: frozenset[Group] = frozenset({"pair"})

VARIANTS = (
    Variant(name=OURS, title="dcsdk", engine="dcsdk"),
    Variant(
        name=PER_SESSION,
        title="dcsdk, a certificate for each session",
        engine="dcsdk",
        options=("per-session",),
        groups=frozenset({"memory"}),
    ),
    Variant(name=AIORTC_UDP, title="aiortc on plain UDP", engine="aiortc-udp"),
    Variant(
        name=LIBDATACHANNEL,
        title="libdatachannel (node-datachannel)",
        engine="node-datachannel",
        program="node",
    ),
    Variant(name=LIBWEBRTC, title="libwebrtc (reactor-webrtc)", engine="libwebrtc"),
    Variant(
        name=USRSCTP,
        title="usrsctp by cffi, on our path and DTLS",
        engine="usrsctp",
        how="apt-get install libusrsctp2",
    ),
    Variant(
        name=NO_OFFLOAD,
        title="dcsdk without UDP GSO/GRO",
        engine="dcsdk",
        options=("no-offload",),
        groups=PAIR,
    ),
    Variant(
        name=RAW, title="dcsdk with raw OpenSSL", engine="dcsdk", options=("raw",), groups=PAIR
    ),
    Variant(name=ICE, title="dcsdk with ICE", engine="dcsdk", options=("ice",), groups=PAIR),
    Variant(
        name=AIORTC, title="aiortc with ICE", engine="aiortc", groups=frozenset({"pair", "memory"})
    ),
    Variant(name=WERIFT, title="werift", engine="werift", program="node"),
    Variant(
        name=GROWTH,
        title="dcsdk",
        engine="dcsdk",
        options=("many",),
        groups=frozenset({"growth"}),
    ),
)
"""In the order they are measured in: within a round those that are compared come together."""

BY_NAME = {variant.name: variant for variant in VARIANTS}
PEERS = (AIORTC_UDP, AIORTC, LIBDATACHANNEL, LIBWEBRTC, USRSCTP, WERIFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the results.

    Attributes:
        name: in the JSON.
        title: for people.
        unit: of the values.
        metric: what the runner measures.
        ours: the variant whose value is ours.
        against: the peers whose best value the target is about; empty for a target of its own.
        target: bound on the ratio ours / peer, or on our value; ``None``: only published.
        is_higher_better: the value, and so the ratio, should be high.
        is_best_run: the peer counts with its best round, not with its median.
        peers: whose values are shown beside ours.
    """

    name: str
    title: str
    unit: str
    metric: str
    ours: str = OURS
    against: tuple[str, ...] = ()
    target: float | None = None
    is_higher_better: bool = True
    is_best_run: bool = False
    peers: tuple[str, ...] = field(default=PEERS)

    @property
    def target_text(self) -> str:
        """The target, for people."""
        if self.target is None:
            return "published"
        sign = ">=" if self.is_higher_better else "<="
        if not self.against:
            return f"{sign} {self.target:g} {self.unit}"
        who = " and ".join(BY_NAME[name].title for name in self.against)
        if len(self.against) > 2:
            who = "the best peer"
        best = "'s best run" if self.is_best_run else ""
        return f"{sign} {self.target:g} x {who}{best}"


_OWN_PATH = tuple(name for name in PEERS if name != AIORTC)

# Targets about aiortc are about aiortc over its own ICE, as the package works; what its DTLS and
# SCTP do on plain UDP stands beside it. Where the path is a relay, plain UDP is what is compared.
FIGURES = (
    Figure(
        name="16KiB_vs_aiortc",
        title="16 KiB messages",
        unit="MB/s",
        metric="mb_per_s_16k",
        against=(AIORTC,),
        target=10,
    ),
    Figure(
        name="16KiB_raw_vs_aiortc",
        title="16 KiB messages, raw OpenSSL switch",
        unit="MB/s",
        metric="mb_per_s_16k",
        ours=RAW,
        against=(AIORTC,),
        target=15,
    ),
    Figure(
        name="16KiB_no_offload_vs_aiortc",
        title="16 KiB messages, no UDP GSO/GRO",
        unit="MB/s",
        metric="mb_per_s_16k",
        ours=NO_OFFLOAD,
        against=(AIORTC,),
        target=7,
    ),
    Figure(
        name="16KiB_vs_libdatachannel",
        title="16 KiB messages",
        unit="MB/s",
        metric="mb_per_s_16k",
        against=(LIBDATACHANNEL,),
        target=2,
    ),
    Figure(
        name="16KiB_vs_libwebrtc",
        title="16 KiB messages",
        unit="MB/s",
        metric="mb_per_s_16k",
        against=(LIBWEBRTC,),
        target=1.2,
    ),
    Figure(
        name="1KiB_vs_aiortc",
        title="1 KiB messages",
        unit="MB/s",
        metric="mb_per_s_1k",
        against=(AIORTC,),
        target=10,
    ),
    Figure(
        name="100B_vs_aiortc",
        title="100 B messages",
        unit="messages/s",
        metric="messages_per_s_100",
        against=(AIORTC_UDP, AIORTC),
        target=20,
        is_best_run=True,
    ),
    Figure(
        name="rtt_p50_vs_aiortc",
        title="round trip, median",
        unit="us",
        metric="rtt_p50_us",
        against=(AIORTC,),
        target=0.25,
        is_higher_better=False,
    ),
    Figure(
        name="rtt_p99_vs_aiortc",
        title="round trip, 99th percentile",
        unit="us",
        metric="rtt_p99_us",
        against=(AIORTC,),
        target=0.25,
        is_higher_better=False,
    ),
    Figure(
        name="setup_cpu",
        title="set-up without ICE, CPU of one end",
        unit="ms",
        metric="setup_cpu_ms",
        target=0.8,
        is_higher_better=False,
        peers=(AIORTC_UDP, USRSCTP),
    ),
    Figure(
        name="setup_wall",
        title="set-up without ICE",
        unit="ms",
        metric="setup_wall_ms",
        target=2,
        is_higher_better=False,
        peers=(AIORTC_UDP, USRSCTP),
    ),
    Figure(
        name="setup_ice_wall",
        title="set-up with ICE, host pair",
        unit="ms",
        metric="setup_wall_ms",
        ours=ICE,
        target=6,
        is_higher_better=False,
        peers=(AIORTC, LIBDATACHANNEL, LIBWEBRTC, WERIFT),
    ),
    Figure(
        name="16KiB_ice_vs_aiortc",
        title="16 KiB messages over an ICE host pair",
        unit="MB/s",
        metric="mb_per_s_16k",
        ours=ICE,
        against=(AIORTC,),
        target=7,
        peers=(AIORTC, LIBDATACHANNEL, LIBWEBRTC, WERIFT),
    ),
    Figure(
        name="memory_per_client",
        title="memory of an idle association end, one certificate for all",
        unit="kB",
        metric="memory_kb",
        target=80,
        is_higher_better=False,
    ),
    Figure(
        name="memory_per_session",
        title="memory of an idle association end, a certificate for each",
        unit="kB",
        metric="memory_kb",
        ours=PER_SESSION,
        is_higher_better=False,
    ),
    Figure(
        name="idle_200_cpu",
        title="200 idle associations, share of a core, heartbeats included (others: scaled to 200)",
        unit="%",
        metric="idle_percent",
        target=0.05,
        is_higher_better=False,
    ),
    Figure(
        name="20ms_vs_aiortc",
        title="20 ms round trip, no loss, 16 KiB messages",
        unit="MB/s",
        metric="distance_0",
        against=(AIORTC_UDP,),
        target=4,
        peers=_OWN_PATH,
    ),
    Figure(
        name="20ms_loss_0.1_vs_best",
        title="20 ms round trip, 0.1 % loss",
        unit="MB/s",
        metric="distance_0.1",
        against=_OWN_PATH,
        target=1.2,
        peers=_OWN_PATH,
    ),
    Figure(
        name="20ms_loss_1_vs_best",
        title="20 ms round trip, 1 % loss",
        unit="MB/s",
        metric="distance_1",
        against=_OWN_PATH,
        target=1.2,
        peers=_OWN_PATH,
    ),
    Figure(
        name="growth_channels",
        title="1000 channels on one association, throughput beside 1",
        unit="of 1",
        metric="channels_throughput",
        ours=GROWTH,
        target=0.8,
        peers=(),
    ),
    Figure(
        name="growth_channels_memory",
        title="memory of a channel, the second 500 beside the first",
        unit="of 1",
        metric="channels_memory",
        ours=GROWTH,
        target=1.2,
        is_higher_better=False,
        peers=(),
    ),
    Figure(
        name="growth_associations",
        title="one busy association among 1000, throughput beside 1 alone",
        unit="of 1",
        metric="associations_throughput",
        ours=GROWTH,
        target=0.8,
        peers=(),
    ),
    Figure(
        name="growth_associations_spread",
        title="1000 busy associations together, throughput beside 1 alone",
        unit="of 1",
        metric="associations_spread",
        ours=GROWTH,
        target=0.8,
        peers=(),
    ),
    Figure(
        name="growth_associations_memory",
        title="memory of an association: the last 375 of 1000 beside the 375 before",
        unit="of 1",
        metric="associations_memory",
        ours=GROWTH,
        target=1.2,
        is_higher_better=False,
        peers=(),
    ),
)

METRIC_GROUPS: dict[str, Group] = {
    "distance_0": "distance",
    "distance_0.1": "distance",
    "distance_1": "distance",
    "memory_kb": "memory",
    "idle_percent": "memory",
    "channels_throughput": "growth",
    "channels_memory": "growth",
    "associations_throughput": "growth",
    "associations_spread": "growth",
    "associations_memory": "growth",
}
"""All others belong to ``pair``."""


def group_of(metric: str) -> Group:
    """Return the group that measures a metric."""
    return METRIC_GROUPS.get(metric, "pair")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is done for each measurement.

    Attributes:
        rounds: all of it is done this often, interleaved.
        seconds: of sending, for one throughput.
        lossy_seconds: of sending where packets are lost.
        pings: round trips.
        setups: associations set up one after the other.
        idle: associations of dcsdk that are open at once for memory and idleness.
        idle_peers: the same for others, some of which take a second for each.
        settle_s: after set-up of dcsdk, until its heartbeats are as rare as they get; then each
            association has one exchange of them in about 110 s.
        idle_s: how long nothing but that happens at dcsdk.
        settle_peers_s: the wait after set-up of others.
        idle_peers_s: the measurement of others.
        many: channels, or associations, that are many.
        open_s: bound on the set-up of one association.
        order_timeout_s: bound on all else that a worker does.
        budget_s: no measurement is begun after this time, ``None`` for no bound.
    """

    rounds: int = 5
    seconds: float = 2.0
    lossy_seconds: float = 6.0
    pings: int = 4000
    setups: int = 40
    idle: int = 200
    idle_peers: int = 60
    settle_s: float = 101.0
    idle_s: float = 112.0
    settle_peers_s: float = 1.0
    idle_peers_s: float = 10.0
    many: int = 1000
    open_s: float = 2.0
    order_timeout_s: float = 90.0
    budget_s: float | None = None


QUICK = Effort(
    rounds=1,
    seconds=0.2,
    lossy_seconds=0.5,
    pings=200,
    setups=5,
    idle=20,
    idle_peers=15,
    settle_s=4.0,
    idle_s=2.0,
    idle_peers_s=0.5,
    many=50,
    open_s=0.3,
    order_timeout_s=8.0,
    budget_s=95.0,
)
"""Shows that everything runs; the numbers say little."""
