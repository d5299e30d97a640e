"""The sending half of an association."""
