"""The `wj` command: one file for each group of commands."""
