"""Statistics of typed columns, chunk by chunk: moments, levels, and whether one column gives the target away."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemill.core.limits import limit
from tidemill.core.prepare.hashing import Sketch, hash_numbers

CORRELATION = 0.999  # above it a column and the target are one thing in two units
_DIGITS = 9  # of stored statistics: sums over differently ordered rows agree to more than that


def rounded(value: float, scale: float = 0.0) -> float | None:
    """A statistic as it is stored: nine digits of it, or of the scale of what was summed; None if not finite."""
    if not math.isfinite(value):
        return None
    largest = max(abs(value), scale)
    if largest == 0.0:
        return 0.0
    return round(value, _DIGITS - 1 - math.floor(math.log10(largest))) + 0.0


@dataclass
class Moments:
    """Count, mean and central moments, merged chunk by chunk (Pebay 2008, SAND2008-6212, eqs. 2.1 and 3.1)."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    least: float = math.inf
    greatest: float = -math.inf

    def add(self, values: np.ndarray) -> None:
        """Take in finite values."""
        if not len(values):
            return
        n, mean = len(values), float(values.mean())
        centred = values - mean
        m2, m3 = float(np.square(centred).sum()), float((centred**3).sum())
        total, delta = self.n + n, mean - self.mean
        self.m3 += (
            m3 + delta**3 * self.n * n * (self.n - n) / total**2 + 3 * delta * (self.n * m2 - n * self.m2) / total
        )
        self.m2 += m2 + delta**2 * self.n * n / total
        self.mean += delta * n / total
        self.n = total
        self.least, self.greatest = min(self.least, float(values.min())), max(self.greatest, float(values.max()))

    @property
    def variance(self) -> float:
        """The variance over all values."""
        return self.m2 / self.n if self.n else math.nan

    @property
    def skew(self) -> float:
        """The skewness over all values; 0 for a constant."""
        noise = (1e-12 * max(abs(self.least), abs(self.greatest))) ** 2 if self.n else 0.0
        if not self.n or self.variance <= noise:
            return 0.0
        return float((self.m3 / self.n) / self.variance**1.5)


@dataclass
class Tie:
    """Whether a column determines the target: by a line, or value by value."""

    n: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(5))
    shift: tuple[float, float] | None = None
    owner: dict[Any, int] = field(default_factory=dict)
    broken: bool = False

    def add_line(self, values: np.ndarray, target: np.ndarray) -> None:
        """Take in pairs of numbers."""
        both = ~(np.isnan(values) | np.isnan(target))
        x, y = values[both], target[both]
        if not len(x):
            return
        if self.shift is None:
            self.shift = (float(x.mean()), float(y.mean()))
        x, y = x - self.shift[0], y - self.shift[1]
        self.n += len(x)
        with np.errstate(over="ignore", invalid="ignore"):
            self.sums += np.array([x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()])

    def add_values(self, keys: np.ndarray, texts: list[str] | None, classes: np.ndarray) -> None:
        """Take in pairs of a value (or a code into texts) and a class."""
        if self.broken or not len(keys):
            return
        distinct, codes = np.unique(keys, return_inverse=True)
        if len(distinct) > limit("levels"):
            self.broken = True
            return
        for pair in np.unique(codes.astype(np.int64) * (limit("classes") + 1) + classes).tolist():
            place, label = divmod(pair, limit("classes") + 1)
            key = distinct[place].item() if texts is None else texts[int(distinct[place])]
            if self.owner.setdefault(key, label) != label or len(self.owner) > limit("levels"):
                self.broken = True
                return

    def found(self, rows: int) -> str:
        """How the column gives the target away; '' where it does not."""
        if 2 <= len(self.owner) <= max(2, 0.1 * rows) and not self.broken:
            return "each of its values goes with one class only"
        sx, sy, sxx, syy, sxy = self.sums.tolist()
        if self.n < 20:
            return ""
        vx, vy, both = sxx - sx * sx / self.n, syy - sy * sy / self.n, sxy - sx * sy / self.n
        strength = abs(both) / math.sqrt(vx * vy) if vx > 0 and vy > 0 else 0.0
        return f"its correlation with the target is {strength:.4f}" if strength > CORRELATION else ""


@dataclass
class NumberMeasure:
    """What is kept of a column of numbers or dates."""

    moments: Moments = field(default_factory=Moments)
    sketch: Sketch = field(default_factory=Sketch)
    tie: Tie = field(default_factory=Tie)
    missing: int = 0
    bins: np.ndarray | None = None

    def add(self, values: np.ndarray) -> None:
        """Take in one chunk; NaN is missing."""
        present = values[~np.isnan(values)]
        self.missing += len(values) - len(present)
        self.moments.add(present)
        self.sketch.add(hash_numbers(present))

    def add_bins(self, values: np.ndarray) -> None:
        """Count one chunk into 20 equal bins between the extremes, which are known by now."""
        present = values[~np.isnan(values)]
        low, high = self.moments.least, self.moments.greatest
        if len(present) and high - low > 100 * np.spacing(max(abs(low), abs(high))):
            counts, _ = np.histogram(present, bins=20, range=(low, high))
            self.bins = counts if self.bins is None else self.bins + counts

    def schema(self) -> dict[str, Any]:
        """The schema's entries."""
        m = self.moments
        return {
            "missing": self.missing,
            "distinct": self.sketch.count(),
            "min": m.least if m.n else None,
            "max": m.greatest if m.n else None,
            "mean": rounded(m.mean, max(abs(m.least), abs(m.greatest))) if m.n else None,
            "skew": round(m.skew, 6) + 0.0 if math.isfinite(m.skew) else 0.0,
        }

    def profile(self) -> dict[str, Any]:
        """The profile's entries."""
        counts = self.bins.tolist() if self.bins is not None else []
        low, high = self.moments.least, self.moments.greatest
        edges = np.linspace(low, high, len(counts) + 1).tolist() if counts else []
        return {
            **self.schema(),
            "std": rounded(math.sqrt(self.moments.variance)) if self.moments.n else None,
            "histogram": {"edges": [rounded(edge) for edge in edges], "counts": counts},
        }


@dataclass
class CategoryMeasure:
    """What is kept of a column of words."""

    counts: Counter[str] = field(default_factory=Counter)
    tie: Tie = field(default_factory=Tie)
    missing: int = 0

    def add(self, codes: np.ndarray, texts: list[str]) -> None:
        """Take in one chunk of codes into texts; -1 is missing."""
        seen = np.bincount(codes[codes >= 0], minlength=len(texts))
        self.missing += int(np.count_nonzero(codes < 0))
        for place in np.flatnonzero(seen).tolist():
            self.counts[texts[place]] += int(seen[place])

    def frequent(self) -> list[tuple[str, int]]:
        """Levels by falling frequency, then by name."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))

    def schema(self) -> dict[str, Any]:
        """The schema's entries."""
        levels = [level for level, _ in self.frequent()[: limit("levels")]]
        return {
            "missing": self.missing,
            "distinct": len(self.counts),
            "levels": levels,
            "rare": len(levels) < len(self.counts),
        }

    def profile(self) -> dict[str, Any]:
        """The profile's entries."""
        top = [{"value": level[: limit("reason_text")], "rows": count} for level, count in self.frequent()[:20]]
        return {"missing": self.missing, "distinct": len(self.counts), "top": top}
