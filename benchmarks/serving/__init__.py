"""Serving beside six frameworks: the same files, the same client, and the limit without HTTP."""
