"""The receiving half of an association."""
