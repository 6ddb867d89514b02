"""One file of the corpus, and the small honest table that most of them spoil."""

from __future__ import annotations

from dataclasses import dataclass

GOOD, REFUSED, PARTLY = "accepted", "rejected", "accepted-with-quarantine"
HEADER = "age,income,city,label"
ROWS = 60


@dataclass(frozen=True)
class Made:
    """A file, what must become of it (a class and a code), and its bytes."""

    name: str
    expected: str
    reason: str
    content: bytes

    @property
    def modality(self) -> str:
        """The folder it lies in."""
        return self.name.partition("/")[0]


def lines(count: int = ROWS) -> list[str]:
    """Rows of an honest table: numbers, a city, a label of two."""
    cities = ("Paris", "Lyon", "Lille")
    return [f"{20 + n % 30},{1000 + 37 * n},{cities[n % 3]},{('no', 'yes')[n % 2]}" for n in range(count)]


def table(rows: list[str] | None = None, header: str = HEADER, end: str = "\n") -> str:
    """A header and rows as text."""
    return end.join([header, *(lines() if rows is None else rows)]) + end


def swapped(*new: str, at: int = 5, header: str = HEADER) -> str:
    """The honest table with rows exchanged, from row `at` on."""
    rows = lines()
    rows[at : at + len(new)] = new
    return table(rows, header)


def series(header: str, row: str, count: int = ROWS) -> str:
    """A table whose rows are a pattern of their number {n}, its parity {p} and of a third {t}."""
    return table([row.format(n=n, p=n % 2, t=n % 3) for n in range(count)], header)
