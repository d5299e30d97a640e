"""Data channels as a program uses them, and their bootstrap form."""
