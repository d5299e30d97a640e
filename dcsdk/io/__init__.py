"""Sockets, clocks and files: the only package that does I/O."""

from __future__ import annotations
