"""SIP (RFC 3261) as IMS needs it, without I/O: messages, transactions, dialogs, registration."""

from __future__ import annotations
