"""The audience takes part by a page on their phones: a server of its own passes on aggregates, and nothing else."""
