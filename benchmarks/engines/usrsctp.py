"""Debian's usrsctp, called through cffi: placeholder until it is there."""

from __future__ import annotations

raise RuntimeError("not here yet")
