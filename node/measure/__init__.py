"""Benchmarks, the doctor, the list of ports, and receivers of outputs."""
