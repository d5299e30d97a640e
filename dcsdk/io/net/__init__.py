"""Paths for datagrams: UDP sockets, alone or shared, and ICE."""
