"""Certificates and DTLS on OpenSSL memory BIOs."""

from __future__ import annotations
