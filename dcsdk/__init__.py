"""UE-side SDK for IMS media-plane security and IMS/WebRTC data channels (TS 33.328 Rel-18)."""

from __future__ import annotations
