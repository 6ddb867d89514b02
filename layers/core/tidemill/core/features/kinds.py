"""The kinds of input column after fitting, the features each owns, and the elementwise functions they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Cycle = Literal["month", "weekday", "hour"]

CLIP = 10.0  # standard deviations; a value further out says no more than "far out"
HUGE = 1e100  # larger magnitudes are read as this, so that squares and sums stay finite
TINY = 1e-100  # a standard deviation below this is none, so that no quotient overflows
FIRST_SECOND, LAST_SECOND = -62_135_596_800.0, 253_402_300_799.0  # the years 1 to 9999
CYCLES: dict[Cycle, int] = {"month": 12, "weekday": 7, "hour": 24}


@dataclass(frozen=True)
class Number:
    """A numeric column. Scale 0 means that it never varied in training and its value is no feature."""

    name: str
    log1p: bool
    median: float
    mean: float
    scale: float
    flag: bool  # whether "is missing" is a feature
    kind: Literal["number"] = "number"

    def features(self) -> list[str]:
        """The names of the features this column owns."""
        return [self.name] * (self.scale > 0) + [f"{self.name} is missing"] * self.flag


@dataclass(frozen=True)
class Moment:
    """A date or time, in seconds since 1970 UTC."""

    name: str
    median: float
    mean: float
    scale: float
    flag: bool
    cycles: tuple[Cycle, ...]
    compact: bool = False  # training had dates like 20240531, so such a number is a date and not seconds
    kind: Literal["datetime"] = "datetime"
    log1p: bool = False

    def features(self) -> list[str]:
        """The names of the features this column owns."""
        waves = [f"{self.name} {cycle} {wave}" for cycle in self.cycles for wave in ("sine", "cosine")]
        return [self.name] * (self.scale > 0) + [f"{self.name} is missing"] * self.flag + waves


@dataclass(frozen=True)
class Category:
    """A column of levels. A level without a slot, and no slot for others, is all zeros: none of the known ones."""

    name: str
    levels: tuple[str, ...]
    other: bool  # whether rare and unseen levels have a slot
    missing: bool  # whether missing has a slot; otherwise it counts as other
    kind: Literal["category"] = "category"

    def features(self) -> list[str]:
        """The names of the features this column owns."""
        tail = ["(other)"] * self.other + ["(missing)"] * self.missing
        return [f"{self.name}={level}" for level in (*self.levels, *tail)]


Column = Number | Moment | Category


def signed_log1p(value: Array) -> Array:
    """log1p that is odd: the usual one for the positive values of training, and finite should a negative one come."""
    logged: Array = np.copysign(np.log1p(np.abs(value)), value)
    return logged


def phase(second_n: Array, cycle: Cycle) -> Array:
    """The position in a cycle (month 0-11, Monday 0 to Sunday 6, hour 0-23) as integers; missing seconds give 0."""
    whole = np.where(np.isnan(second_n), 0.0, np.minimum(np.maximum(second_n, FIRST_SECOND), LAST_SECOND))
    second = np.floor(whole).astype(np.int64)
    if cycle == "month":
        at: Array = second.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12
    elif cycle == "weekday":
        at = (second // 86_400 + 3) % 7  # 1970-01-01 was a Thursday
    else:
        at = second // 3600 % 24
    return at


def wave(second_n: Array, cycle: Cycle) -> Array:
    """Sine and cosine of the position in a cycle; missing is the middle of the circle."""
    wave_n2 = _TABLES[cycle][phase(second_n, cycle)]
    wave_n2[np.isnan(second_n)] = 0.0
    return wave_n2


def _table(steps: int) -> Array:
    angle = 2.0 * np.pi * np.arange(steps) / steps
    return np.stack([np.sin(angle), np.cos(angle)], axis=1).round(15)


_TABLES: dict[Cycle, Array] = {cycle: _table(steps) for cycle, steps in CYCLES.items()}
