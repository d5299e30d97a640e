"""Readers of application lists."""
