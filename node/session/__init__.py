"""A run of a show: assembles the processes and keeps them alive."""
