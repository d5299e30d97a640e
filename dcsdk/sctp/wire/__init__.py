"""The formats of SCTP and DCEP: packets, chunks, parameters, the cookie."""
