"""Limits of one text."""

MOST_CHARACTERS = 100_000
"""Largest number of characters (code points) of one text, in a dataset and in a request."""
MOST_BYTES = 4 * MOST_CHARACTERS
"""Largest size of one text in UTF-8: no character takes more than four bytes."""
