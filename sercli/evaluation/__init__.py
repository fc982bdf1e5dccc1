"""Protocols run from end to end, and their results."""
