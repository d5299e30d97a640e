"""The ``dcsdk`` command."""
