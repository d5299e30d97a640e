"""SDP without loss (RFC 8866), and the rules of data channel lines (RFC 8841, 8842, 8864)."""
