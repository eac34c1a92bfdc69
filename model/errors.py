"""Errors that opening a world raises. Each message says how to fix it."""

from __future__ import annotations


class WeightsMissing(FileNotFoundError):
    """A world's weights are not on this machine; the message says how to get them."""


class ExtraMissing(RuntimeError):
    """A world's packages are not installed; the message says how to install them."""
