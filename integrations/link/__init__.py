"""Ableton Link."""
