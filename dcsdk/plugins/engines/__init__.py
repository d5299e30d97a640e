"""Association engines: SCTP over DTLS."""
