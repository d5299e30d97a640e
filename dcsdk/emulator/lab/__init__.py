"""What a laboratory adds to a network: the trace, faults and certificates."""
