"""What a column's cells look like, gathered chunk by chunk: counts of every way a cell can be read."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.prepare import cells, dates
from tidemill.core.prepare.hashing import LONG, Sketch, hash_numbers, hash_texts

SAMPLE = 64  # texts kept as examples: those with the smallest hashes, so that row order does not matter
JUNK = 1_000  # different words counted in a column of numbers
DATE_NAME = re.compile(r"date|day|time|日期|时间|(?:^|[_ ])(?:dt|on|at)$", re.IGNORECASE)

_SPELLINGS = sorted(
    {shape(word) for word in (*cells.ALWAYS_MISSING, *cells.PERHAPS_MISSING) for shape in (str, str.upper, str.title)}
    | {"NaN"}
)
_MISSING_WORDS = pa.array(_SPELLINGS, pa.string())


@dataclass(frozen=True)
class Cell:
    """One text and what it may mean."""

    missing: int
    number: cells.Number | None
    shaped: bool
    orders: tuple[str, ...]


_WORDS = Cell(0, None, False, ())  # what every long text is


@lru_cache(maxsize=1 << 16)
def look(text: str) -> Cell:
    """What a canonical text may mean."""
    if absent := cells.missing(text):
        return Cell(absent, None, False, ())
    found = cells.number(text)
    if found is not None and not (found.integer and len(text) == 8):
        return Cell(0, found, False, ())
    shaped, orders = dates.orders(text)
    return Cell(0, found, shaped, orders)


@dataclass
class Evidence:
    """The counts of one column over all rows that could be read."""

    name: str
    rows: int = 0
    missing: int = 0
    perhaps: Counter[str] = field(default_factory=Counter)
    numbers: int = 0
    styles: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    integers: int = 0
    leading_zeros: int = 0
    big: int = 0
    not_finite: int = 0
    out_of_range: int = 0
    least: float = math.inf
    greatest: float = -math.inf
    shortest: int = 1 << 30
    longest: int = 0
    shaped: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    words: int = 0
    junk: Counter[str] = field(default_factory=Counter)
    letters: int = 0
    spaces: int = 0
    sketch: Sketch = field(default_factory=Sketch)
    sample: list[tuple[int, str]] = field(default_factory=list)

    @property
    def present(self) -> int:
        """The cells that hold something, whatever the column turns out to be."""
        return self.rows - self.missing - self.perhaps.total()

    @property
    def distinct(self) -> int:
        """The number of different values."""
        return self.sketch.count()

    @property
    def examples(self) -> list[str]:
        """Some of the column's texts."""
        return [text for _, text in self.sample]

    def add(self, array: Any) -> None:
        """Take in the cells of one chunk."""
        self.rows += len(array)
        trimmed = pc.utf8_trim_whitespace(array)
        if DATE_NAME.search(self.name) or not self._add_plain(trimmed):
            self._add_words(trimmed)

    def add_absent(self, rows: int) -> None:
        """Take in rows of a chunk that does not have the column at all."""
        self.rows += rows
        self.missing += rows

    def _add_plain(self, trimmed: Any) -> bool:
        """Take in cells that are all plain numbers or missing; False where they are not."""
        absent = pc.or_kleene(pc.is_null(trimmed), pc.is_in(trimmed, value_set=_MISSING_WORDS))
        present = trimmed.filter(pc.invert(absent))
        try:
            values = pc.cast(present, pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            return False
        if len(values) and not np.all(np.abs(values) < cells.EXACT_INTEGER):
            return False
        for word, count in counted(trimmed.filter(absent)):
            self._add_missing(word, cells.missing(word or ""), count)
        if len(values):
            self._add_numbers(values)
            self.leading_zeros += leading_zeros(present)
            lengths = pc.binary_length(present)
            self.letters += pc.sum(lengths).as_py()
            extremes = pc.min_max(lengths)
            self._add_widths(extremes["min"].as_py(), extremes["max"].as_py())
        return True

    def _add_numbers(self, values: np.ndarray) -> None:
        self.numbers += len(values)
        self.styles["plain"] += len(values)
        self.integers += int(np.count_nonzero(values == np.floor(values)))
        self.least = min(self.least, float(values.min()))
        self.greatest = max(self.greatest, float(values.max()))
        self.sketch.add(hash_numbers(values))
        if len(self.sample) < SAMPLE:
            self.sample += [(0, f"{value:.17g}") for value in values[: SAMPLE - len(self.sample)].tolist()]

    def _add_missing(self, word: str | None, certainty: int, count: int) -> None:
        if certainty == 2:
            self.missing += count
        else:
            self.perhaps[word or ""] += count

    def _add_words(self, trimmed: Any) -> None:
        texts, numbers, hashes = [], [], []
        for raw, count in counted(trimmed):
            text = cells.canonical(raw or "")
            cell = look(text) if len(text) <= LONG else _WORDS
            if cell.missing:
                self._add_missing(text, cell.missing, count)
                continue
            self._add_cell(text, cell, count)
            if cell.number is not None and cell.number.style == "plain" and not cell.number.big:
                numbers.append(cell.number.value)
            else:
                texts.append(text)
        if numbers:
            hashes.append(hash_numbers(np.asarray(numbers)))
        if texts:
            hashes.append(text_hashes := hash_texts(texts))
            self._keep_sample(texts, text_hashes)
        for found in hashes:
            self.sketch.add(found)

    def _add_cell(self, text: str, cell: Cell, count: int) -> None:
        self.letters += count * len(text)
        self.spaces += count * text.count(" ")
        self.shaped += count * cell.shaped
        for order in cell.orders:
            self.orders[order] += count
        if cell.number is not None:
            self._add_number(text, cell.number, count)
        elif not cell.shaped:
            self.words += count
            if text in self.junk or len(self.junk) < JUNK:
                self.junk[text] += count

    def _add_number(self, text: str, found: cells.Number, count: int) -> None:
        self.numbers += count
        self.styles[found.style] += count
        if found.unit:
            self.units[found.unit] += count
        self.integers += count * (found.integer or found.value == math.floor(found.value) if _finite(found) else 0)
        self.leading_zeros += count * found.leading_zero
        self.big += count * found.big
        self._add_widths(len(text), len(text))
        if not _finite(found):
            self.not_finite += count
        elif abs(found.value) > cells.FLOAT32_MAX:
            self.out_of_range += count
        else:
            self.least, self.greatest = min(self.least, found.value), max(self.greatest, found.value)

    def _add_widths(self, shortest: int, longest: int) -> None:
        self.shortest, self.longest = min(self.shortest, shortest), max(self.longest, longest)

    def _keep_sample(self, texts: list[str], hashes: np.ndarray) -> None:
        full = len(self.sample) >= SAMPLE
        worst = self.sample[-1][0] if full else 2**64
        better = [
            (int(hashed), text[:200]) for hashed, text in zip(hashes.tolist(), texts, strict=True) if hashed < worst
        ]
        if better:
            self.sample = sorted({*self.sample, *better})[:SAMPLE]


def _finite(found: cells.Number) -> bool:
    return math.isfinite(found.value)


def counted(array: Any) -> list[tuple[str | None, int]]:
    """Each different text of an array with how often it stands there."""
    if not len(array):
        return []
    pairs = pc.value_counts(array)
    return list(zip(pairs.field(0).to_pylist(), pairs.field(1).to_pylist(), strict=True))


def leading_zeros(array: Any) -> int:
    """How many texts of an array without nulls start with 0 and another digit, after a sign or not."""
    texts = pa.concat_arrays([array])
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2], np.uint8)
    starts, ends = offsets[:-1], offsets[1:]
    starts = starts + np.isin(data[np.minimum(starts, len(data) - 1)], (43, 45))
    long = ends - starts > 1
    first, second = data[starts[long]], data[starts[long] + 1]
    return int(np.count_nonzero((first == 48) & (second >= 48) & (second <= 57)))
