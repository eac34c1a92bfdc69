"""Worlds from open checkpoints, and the test card."""
