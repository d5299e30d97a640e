"""Ways to reach the network."""
