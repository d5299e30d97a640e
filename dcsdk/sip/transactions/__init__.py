"""Transactions of SIP: a request and its responses, repeated and timed."""
