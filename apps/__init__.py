"""Sample applications, written on the public names of dcsdk only."""
