"""Measures dcsdk beside other stacks; ``make bench`` runs it."""

from __future__ import annotations
