"""Paths: UDP sockets, alone or shared, ICE, and TCP."""
