"""Wan and its causal descendants, worlds from open checkpoints."""
