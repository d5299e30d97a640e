"""The core of the emulated network: S-CSCF, registrar and HSS."""
