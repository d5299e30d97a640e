"""Set-up, end, liveness and stream resets of an association."""
