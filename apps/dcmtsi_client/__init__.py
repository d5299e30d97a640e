"""A DCMTSI client for the terminal: calls, mini-apps, chat and files."""
