"""DTLS on paths, and the SCTP associations inside."""
