"""The world in a browser."""
