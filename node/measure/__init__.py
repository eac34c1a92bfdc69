"""Benchmarks, the doctor, ports, and the programs that stand in for receivers."""
