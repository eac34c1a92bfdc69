"""Other tools' addresses and files."""
