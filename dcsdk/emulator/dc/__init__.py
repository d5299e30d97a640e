"""The functions of the data channel: DCSF, DCMF and the repository of applications."""
