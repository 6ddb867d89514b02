"""What things cost: one dated table of list prices, replaceable, and the sums made of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tidemill.core.errors import TidemillError

TABLE = Path(__file__).with_name("prices.toml")
LEAST_BILLED_S = 60.0  # of an instance
HOUR_S = 3600.0


class BadPrices(TidemillError):
    """A price table that lacks a price, or has one that is none."""

    code, status, title = "BAD_PRICES", 422, "The price table cannot be used"


@dataclass(frozen=True)
class Prices:
    """One price table. `values` has a number at every path that prices.toml has."""

    date: str
    region: str
    currency: str
    values: Mapping[str, float]

    def of(self, path: str) -> float:
        """A price by its path, such as lambda.gb_second."""
        return self.values[path]

    @property
    def instances(self) -> dict[str, float]:
        """On-Demand dollars an hour of every kind of machine that a job may run on."""
        head = "training.instance_hour."
        return {name.removeprefix(head): price for name, price in self.values.items() if name.startswith(head)}

    @property
    def dearest_hour(self) -> float:
        """What an hour costs when Spot has none and the dearest machine is the one that is free."""
        return max(self.instances.values())

    def job(self, seconds: float, instance: str = "", spot: bool = True) -> float:
        """Dollars of a job that ran for so long, its machine's start included; of the dearest machine if unknown."""
        hour = self.instances.get(instance, self.dearest_hour) * (self.of("training.spot_share") if spot else 1.0)
        return hour / HOUR_S * max(LEAST_BILLED_S, seconds + self.of("training.start_s"))

    def function(self, seconds: float, memory_mb: int, calls: int = 1) -> float:
        """Dollars of a function that ran for so long in all, in so many calls."""
        worked = self.of("lambda.gb_second") * seconds * memory_mb / 1024
        return worked + self.of("lambda.million_requests") * calls / 1e6


@cache
def load(path: Path = TABLE) -> Prices:
    """Read a price table, once a process; raises BadPrices naming what is missing or no price."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadPrices(f"{path.name} cannot be read: {error}", remedy="Start from prices.toml.") from error
    values = dict(_numbers(found, path.name))
    if path != TABLE:
        _check_complete(values, path.name)
    about = {name: found.get(name) for name in ("date", "region", "currency")}
    if missing := [name for name, value in about.items() if not isinstance(value, str) or not value]:
        raise BadPrices(f"{path.name} does not say its {', '.join(missing)}.", remedy='Write date = "2026-11-22".')
    return Prices(**{name: str(value) for name, value in about.items()}, values=values)


def _numbers(found: Mapping[str, Any], file: str, head: str = "") -> list[tuple[str, float]]:
    """Every price with its path."""
    numbers: list[tuple[str, float]] = []
    for name, value in found.items():
        path = f"{head}{name}"
        if isinstance(value, dict):
            numbers += _numbers(value, file, f"{path}.")
        elif head:
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise BadPrices(f"{file}: {path} is {value!r}.", remedy="Write a number that is not negative.")
            numbers.append((path, float(value)))
    return numbers


def _check_complete(values: Mapping[str, float], file: str) -> None:
    machines = "training.instance_hour."
    needed = [path for path in load().values if not path.startswith(machines)]
    if missing := [path for path in needed if path not in values]:
        raise BadPrices(f"{file} lacks {', '.join(missing)}.", remedy="Start from prices.toml.")
    if not any(path.startswith(machines) for path in values):
        raise BadPrices(f"{file} names no machine.", remedy="Fill [training.instance_hour].")
