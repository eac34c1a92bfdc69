"""NDI: the output and the source of live frames."""
