"""The client: it registers, calls and answers."""
