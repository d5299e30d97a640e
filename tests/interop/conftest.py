"""Finds the real peers. A missing one is a skip, or a failure where interop was asked for."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

REQUIRED = os.environ.get("DCSDK_INTEROP_REQUIRED") == "1"
"""Set by ``make interop``, which has installed everything."""


def missing(peer: str, how: str) -> NoReturn:
    """Skip the test, or fail it where every peer must be there.

    Args:
        peer: what is not there.
        how: the way to get it.
    """
    reason = f"{peer} is not installed; {how}"
    if REQUIRED:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tshark() -> str:
    """Return the path of tshark."""
    path = shutil.which("tshark")
    if path is None:
        missing("tshark", "run `make interop` as root")
    return path
