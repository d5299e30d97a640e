"""One call: its dialog, its media lines, and the offers and answers that change them."""
