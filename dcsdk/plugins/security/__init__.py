"""Security backends."""
