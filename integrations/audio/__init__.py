"""Audio input."""
