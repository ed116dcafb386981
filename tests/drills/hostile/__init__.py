"""Hostile and malformed input in bulk: what is tried, and how it is judged."""
