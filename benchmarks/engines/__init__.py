"""One module for each transport that is measured; :func:`load` finds them by name."""

from __future__ import annotations

from importlib import import_module

from benchmarks.engines.base import Engine

MODULES = {
    "dcsdk": "benchmarks.engines.ours",
    "aiortc": "benchmarks.engines.aiortc_ice",
    "aiortc-udp": "benchmarks.engines.aiortc_udp",
    "libwebrtc": "benchmarks.engines.libwebrtc",
    "usrsctp": "benchmarks.engines.usrsctp",
}
"""Those that Python runs; ``worker.mjs`` knows the others."""


def load(name: str, options: frozenset[str], host: str) -> Engine:
    """Make the engine called ``name``.

    Args:
        name: a key of ``MODULES``.
        options: what the engine's module says it knows.
        host: local address to bind.
    """
    engine: Engine = import_module(MODULES[name]).ENGINE(options, host)
    return engine
