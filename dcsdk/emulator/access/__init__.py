"""The access side of the emulated network: the P-CSCF."""
