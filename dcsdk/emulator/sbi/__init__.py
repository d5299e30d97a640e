"""Service-based interfaces of the network: JSON over HTTP (TS 29.500, 29.501)."""
