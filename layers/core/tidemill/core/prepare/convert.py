"""Turn text columns into typed ones, by the plan of each; cells that do not fit are named with their reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.features.text_cleaning import plain
from tidemill.core.limits import limit
from tidemill.core.prepare import cells, dates
from tidemill.core.prepare.evidence import _MISSING_WORDS, look
from tidemill.core.prepare.hashing import hash_numbers, hash_texts
from tidemill.core.prepare.kinds import CATEGORY, DATETIME, TEXT, Plan

OK, TYPE, NOT_FINITE, OUT_OF_RANGE, NUL, EMPTY = range(6)
CODES = ("", "VALUE_TYPE", "VALUE_NOT_FINITE", "VALUE_OUT_OF_RANGE", "VALUE_NUL", "ROW_TEXT_EMPTY")
REASONS = (
    "",
    "the cell does not fit the column's kind",
    "the number is not finite",
    "the number is too large for 32 bits",
    "the cell holds a NUL character",
    "nothing can be read in the text",
)


@dataclass(frozen=True)
class Typed:
    """A column of one chunk: numbers, or codes into texts (-1: missing); each cell's value hash and error code."""

    values: np.ndarray
    texts: list[str] | None
    hashes: np.ndarray
    errors: np.ndarray
    cut: np.ndarray | None = None  # of texts: where the cell was longer than a text may be

    @property
    def missing(self) -> np.ndarray:
        """Where the cell holds nothing."""
        return self.values < 0 if self.texts is not None else np.isnan(self.values)

    def arrow(self, keep: np.ndarray) -> Any:
        """The kept cells as an Arrow array."""
        values = self.values[keep]
        if self.texts is None:
            return pa.array(values, pa.float64())
        codes = pa.array(values, pa.int32(), mask=values < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(self.texts, pa.string()))


def convert(array: Any, plan: Plan) -> Typed:
    """One column of one chunk by its plan."""
    if plan.kind == CATEGORY:
        return _category(array, plan)
    if plan.kind == TEXT:
        return _texts(array)
    trimmed = pc.utf8_trim_whitespace(array)
    values, errors = _iso(trimmed, plan) if plan.kind == DATETIME else _plain(trimmed, plan)
    if values is None or errors is None:
        values, errors = _by_text(trimmed, _reader(plan))
    return Typed(values, None, hash_numbers(values), errors)


def _iso(trimmed: Any, plan: Plan) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Dates written year-month-day, which most orders read alike, all at once; None where some are not."""
    hours_alone = pc.any(pc.equal(pc.utf8_length(trimmed), 13)).as_py()  # 2024-05-31T13, which only Arrow reads
    if plan.order == dates.COMPACT or hours_alone:
        return None, None
    try:
        moments = pc.cast(_present(trimmed), pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None, None
    values = pc.divide(pc.cast(pc.cast(moments, pa.int64()), pa.float64()), 1e6).to_numpy(zero_copy_only=False)
    return values.astype(np.float64, copy=True), np.zeros(len(values), np.int8)


def _present(trimmed: Any) -> Any:
    """The cells that hold something, null where they do not."""
    absent = pc.or_kleene(pc.is_null(trimmed), pc.is_in(trimmed, value_set=_MISSING_WORDS))
    return pc.if_else(absent, pa.scalar(None, pa.string()), trimmed)


def _plain(trimmed: Any, plan: Plan) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Numbers written plainly, all at once; None where some are not."""
    try:
        values = pc.cast(_present(trimmed), pa.float64())
    except pa.ArrowInvalid:
        return None, None
    numbers = values.to_numpy(zero_copy_only=False).astype(np.float64, copy=True)
    outside = np.abs(numbers) > cells.FLOAT32_MAX
    if not outside.any():
        return numbers, np.zeros(len(numbers), np.int8)
    return _set_aside(numbers, outside, plan)


def _set_aside(numbers: np.ndarray, outside: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    errors = np.zeros(len(numbers), np.int8)
    if not plan.out_of_range_is_missing:
        errors[outside] = np.where(np.isinf(numbers[outside]), NOT_FINITE, OUT_OF_RANGE)
    numbers[outside] = np.nan
    return numbers, errors


def _by_text(trimmed: Any, read: Callable[[str], tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Each different text read once."""
    encoded = _encoded(trimmed)
    found = [read(cells.canonical(text)) for text in encoded.dictionary.to_pylist()] or [(math.nan, OK)]
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    values = np.asarray([value for value, _ in found])[codes]
    errors = np.asarray([error for _, error in found], np.int8)[codes]
    values[codes < 0], errors[codes < 0] = math.nan, OK
    return values, errors


def _encoded(array: Any) -> Any:
    encoded = array.dictionary_encode()
    return encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded


def _reader(plan: Plan) -> Callable[[str], tuple[float, int]]:
    def read_date(text: str) -> tuple[float, int]:
        if cells.missing(text):
            return math.nan, OK
        value = dates.seconds(text, plan.order)
        return (math.nan, TYPE) if value is None else (value, OK)

    def read_number(text: str) -> tuple[float, int]:
        cell = look(text)
        if cell.missing or text in plan.missing_words:
            return math.nan, OK
        value = None if cell.number is None else cells.value_of(cell.number, plan.comma_decimal)
        if value is None:
            return math.nan, TYPE
        if abs(value) <= cells.FLOAT32_MAX:
            return value, OK
        if plan.out_of_range_is_missing:
            return math.nan, OK
        # 1e999 overflows while it is read, so it is not finite; 1e300 only does as a 32-bit number.
        return math.nan, NOT_FINITE if math.isinf(value) else OUT_OF_RANGE

    return read_date if plan.kind == DATETIME else read_number


def _category(array: Any, plan: Plan) -> Typed:
    encoded = _encoded(array)
    texts: list[str] = []
    places: dict[str, int] = {}
    table = np.empty(len(encoded.dictionary) + 1, np.int32)
    for index, raw in enumerate(encoded.dictionary.to_pylist()):
        text = cells.canonical(raw)
        absent = cells.missing(text)
        if absent == 2 or (absent == 1 and text.casefold() == "na" and not plan.na_is_value):
            table[index] = -1
            continue
        if text not in places:
            places[text] = len(texts)
            texts.append(text)
        table[index] = places[text]
    table[-1] = -1
    codes = table[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
    hashes = np.append(hash_texts(texts), np.uint64(0))[codes]
    return Typed(codes, texts, hashes, np.zeros(len(codes), np.int8))


def _texts(array: Any) -> Typed:
    """Texts as they stand, cut where they are too long; equal ones by what can be seen of them share a hash."""
    encoded = _encoded(array)
    most = limit("text")
    whole = encoded.dictionary.to_pylist()
    texts = [text[:most] for text in whole]
    seen = [plain(text) for text in texts]
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    hashes = np.append(hash_texts(seen), np.uint64(0))[codes]
    errors = np.array([OK if text else EMPTY for text in seen] + [EMPTY], np.int8)[codes]
    cut = np.array([len(text) > most for text in whole] + [False])[codes]
    return Typed(codes, texts, hashes, errors, cut)


def label_texts(values: np.ndarray) -> Typed:
    """Numeric labels as text: 1.0 is '1'."""
    distinct, codes = np.unique(values[~np.isnan(values)], return_inverse=True)
    shown = [str(int(value)) if value == int(value) else repr(value) for value in distinct.tolist()]
    result = np.full(len(values), -1, np.int32)
    result[~np.isnan(values)] = codes
    hashes = np.append(hash_texts(shown), np.uint64(0))[result]
    return Typed(result, shown, hashes, np.zeros(len(values), np.int8))
