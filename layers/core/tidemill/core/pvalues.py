"""How likely a difference is where nothing has changed: the few distributions that drift is judged by.

SciPy has all of them and weighs more than everything else in the layer together.
"""

from __future__ import annotations

import math

TINY = 1e-300
STEPS = 1_000  # of a series that converges in some ten times the root of its argument


def kolmogorov(distance: float, rows: int, others: int) -> float:
    """The chance of a distance of two empirical distributions at least so large.

    Numerical Recipes, 3rd edition, 14.3.3: Kolmogorov's series with Stephens' correction for finite samples. With
    ties it errs to the safe side.
    """
    if rows < 1 or others < 1:
        return 1.0
    root = math.sqrt(rows * others / (rows + others))
    size = (root + 0.12 + 0.11 / root) * distance
    if size < 0.2:  # the series does not converge there, and its limit is one
        return 1.0
    total = sum((1 if step % 2 else -1) * math.exp(-2 * (step * size) ** 2) for step in range(1, 101))
    return min(1.0, max(0.0, 2 * total))


def chi_square(statistic: float, freedom: int) -> float:
    """The chance of a chi-square statistic at least so large: Q(k / 2, x / 2), Numerical Recipes 6.2."""
    if freedom < 1 or statistic <= 0:
        return 1.0
    a, x = freedom / 2, statistic / 2
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        return max(0.0, 1.0 - scale * _series(a, x))
    return min(1.0, scale * _fraction(a, x))


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    for step in range(1, STEPS * 10):
        term *= x / (a + step)
        total += term
        if term < total * 1e-15:
            break
    return total


def _fraction(a: float, x: float) -> float:
    """Lentz's method."""
    b = x + 1 - a
    c, d = 1 / TINY, 1 / b
    result = d
    for step in range(1, STEPS * 10):
        factor = -step * (step - a)
        b += 2
        d = 1 / _off_zero(factor * d + b)
        c = _off_zero(b + factor / c)
        result *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return result


def _off_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY


def shares(hits: int, rows: int, other_hits: int, others: int) -> float:
    """The chance of two shares at least so far apart: chi-square, and Fisher's exact test where counts are small."""
    total, seen = rows + others, hits + other_hits
    if min(rows, others) < 1 or seen in (0, total):
        return 1.0
    if min(rows, others) * min(seen, total - seen) / total < 5:  # Cochran's rule
        return _fisher(hits, rows, seen, total)
    cross = hits * (others - other_hits) - other_hits * (rows - hits)
    return chi_square(total * (cross / rows) / others * (cross / seen) / (total - seen), 1)


def _fisher(hits: int, rows: int, seen: int, total: int) -> float:
    """Fisher's exact test, two-sided: all tables with these margins that are no likelier than the one found."""

    def log_chance(k: int) -> float:
        return _choose(seen, k) + _choose(total - seen, rows - k) - _choose(total, rows)

    bound = log_chance(hits) + 1e-7
    possible = range(max(0, rows + seen - total), min(rows, seen) + 1)
    return min(1.0, sum(math.exp(chance) for k in possible if (chance := log_chance(k)) <= bound))


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def normal(z: float) -> float:
    """The chance of a standard normal value at least so large."""
    return math.erfc(z / math.sqrt(2)) / 2
