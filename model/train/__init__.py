"""Training of nano."""
