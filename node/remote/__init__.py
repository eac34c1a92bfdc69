"""A world on another machine."""
