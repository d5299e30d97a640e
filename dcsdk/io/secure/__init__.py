"""Transports on paths: DTLS with SCTP associations inside, TLS, and streams without keys."""
