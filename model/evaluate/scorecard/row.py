"""One line of the scorecard."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any


@dataclass(frozen=True)
class Row:
    """A figure and what it must reach.

    target: a floor, or a ceiling where `at_most`. truth: the same measure taken on true stage frames, where it has one.
    detail: further figures, ready for JSON.
    """

    name: str
    value: float
    target: float
    at_most: bool = False
    unit: str = ""  # "%" shows shares as percentages
    truth: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def passes(self) -> bool:
        return isfinite(self.value) and (self.value <= self.target if self.at_most else self.value >= self.target)

    def show(self, value: float | None) -> str:
        if value is None:
            return ""
        if self.unit == "%":
            return f"{value:.0%}"
        return f"{value:.3g} {self.unit}".strip()

    def json(self) -> dict[str, Any]:
        return {
            "value": self.value, "target": self.target, "at_most": self.at_most, "pass": self.passes,
            "truth": self.truth, "unit": self.unit, **({"detail": self.detail} if self.detail else {}),
        }  # fmt: skip
