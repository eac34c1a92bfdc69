"""Helios, a world from an open checkpoint."""
