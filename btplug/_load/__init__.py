"""Pinned bytes become modules."""
