"""Limit on the parts of an image file, which every look into one shares."""

MOST_PARTS = 1 << 16
"""Largest number of chunks, segments, blocks, strips or tiles of one image; encoders write one for each 8 KiB, or for each row."""
