"""The clock process, the program that it composes, and the process of one output."""
