"""nano, the embedded world."""
