"""LTX-2, a world with sound from an open checkpoint."""
