"""The passes over a table: gather evidence from its text, convert it by plan, measure what is used, write shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.prepare import convert
from tidemill.core.prepare.evidence import Evidence
from tidemill.core.prepare.hashing import in_column, mix
from tidemill.core.prepare.kinds import NUMBER, Plan
from tidemill.core.prepare.quarantine import Quarantine
from tidemill.core.prepare.spool import ROW, Spool
from tidemill.core.progress import Progress, Report
from tidemill.core.readers.chunks import BadRow, Chunk, Table
from tidemill.core.readers.csv_table import joined

_TOTALS = frozenset({"total", "totals", "sum", "subtotal", "average", "mean", "合计", "总计", "小计", "平均"}) | {
    "grand total"
}


@dataclass
class Gathered:
    """All columns of a table with their evidence, in file order, and the rows read."""

    evidence: dict[str, Evidence] = field(default_factory=dict)
    read: int = 0
    kept: int = 0


def gather(table: Table, spool: Spool, quarantine: Quarantine, fraction: float, report: Report) -> Gathered:
    """Read a table once: spool its text, count what its cells may mean, set aside rows that cannot be read."""
    found = Gathered()
    for chunk in table.chunks():
        quarantine.add(chunk.bad)
        found.read += len(chunk.rows) + len(chunk.bad)
        if found.read > limit("rows"):
            raise BadTable(
                f"The table has more than {limit('rows'):,} rows.",
                code="TOO_MANY_ROWS",
                remedy="Upload a sample, or split the file.",
            )
        if len(chunk.rows):
            _take(chunk, spool, found)
        quarantine.check(found.read, fraction, final=False)
        report(Progress("reading", message=f"{found.read:,} rows read"))
    return found


def _take(chunk: Chunk, spool: Spool, found: Gathered) -> None:
    spool.append({ROW: pa.array(chunk.rows), **dict(zip(chunk.names, chunk.columns, strict=True))})
    for name, column in zip(chunk.names, chunk.columns, strict=True):
        if name not in found.evidence:
            found.evidence[name] = Evidence(name)
            found.evidence[name].add_absent(found.kept)
        found.evidence[name].add(column)
    for name in found.evidence.keys() - set(chunk.names):
        found.evidence[name].add_absent(len(chunk.rows))
    found.kept += len(chunk.rows)


@dataclass
class Converted:
    """Hashes of the features and of the target of every row converted, label counts, and how many texts were cut."""

    hashes: np.ndarray
    targets: np.ndarray
    labels: Counter[str]
    cut: int = 0


@dataclass(frozen=True)
class Recipe:
    """What conversion needs to know: the plans of features and target, and what to do with missing cells."""

    features: list[Plan]
    target: Plan
    classes: bool
    drop_missing: bool
    groups: list[Plan] = field(default_factory=list)  # no features, but scores are shown by them


def convert_all(
    raw: Spool, typed: Spool, recipe: Recipe, rows: int, quarantine: Quarantine, report: Report
) -> Converted:
    """Convert all `rows` spooled rows; those with cells that do not fit go to the quarantine."""
    hashes, targets = np.empty(rows, np.uint64), np.empty(rows, np.uint64)
    labels: Counter[str] = Counter()
    done = used = cut = 0
    for chunk in raw.chunks():
        columns = {plan.name: _typed(chunk, plan, recipe) for plan in [*recipe.features, recipe.target]}
        keep = _sort_out(chunk, columns, recipe, quarantine)
        if (count := int(keep.sum())) > 0:
            asked = {plan.name: _typed(chunk, plan, recipe) for plan in recipe.groups}  # what does not fit is missing
            cells = {name: column.arrow(keep) for name, column in [*columns.items(), *asked.items()]}
            typed.append({ROW: chunk[ROW].filter(pa.array(keep)), **cells})
            hashes[used : used + count] = row_hashes(columns, recipe.features, keep)
            target = columns[recipe.target.name]
            targets[used : used + count] = target.hashes[keep]
            _count_labels(target, keep, labels)
            cut += sum(int(column.cut[keep].sum()) for column in columns.values() if column.cut is not None)
        done, used = done + len(keep), used + count
        report(Progress("converting", message=f"{done:,} rows converted"))
    return Converted(hashes[:used], targets[:used], labels, cut)


def row_hashes(columns: dict[str, convert.Typed], features: list[Plan], keep: np.ndarray) -> np.ndarray:
    """The hash of each kept row's features."""
    total = np.zeros(int(keep.sum()), np.uint64)
    for plan in features:
        total += in_column(plan.name, columns[plan.name].hashes[keep])
    return mix(total)


def _typed(chunk: dict[str, Any], plan: Plan, recipe: Recipe) -> convert.Typed:
    cells = chunk.get(plan.name)
    if cells is None:
        cells = pa.nulls(len(chunk[ROW]), pa.string())
    typed = convert.convert(cells, plan)
    if plan is recipe.target and recipe.classes and plan.kind == NUMBER:
        labels = convert.label_texts(typed.values)
        return convert.Typed(labels.values, labels.texts, labels.hashes, typed.errors)
    return typed


def _count_labels(target: convert.Typed, keep: np.ndarray, labels: Counter[str]) -> None:
    if target.texts is None:
        return
    counts = np.bincount(target.values[keep], minlength=len(target.texts))
    for place in np.flatnonzero(counts).tolist():
        labels[target.texts[place]] += int(counts[place])


def _sort_out(
    chunk: dict[str, Any], columns: dict[str, convert.Typed], recipe: Recipe, quarantine: Quarantine
) -> np.ndarray:
    """Which rows are used; the others are set aside with their first reason."""
    target = columns[recipe.target.name]
    wrong = np.zeros(len(target.values), bool)
    for column in columns.values():
        wrong |= column.errors > 0
    absent = target.missing & (target.errors == 0)
    lacking = np.zeros(len(wrong), bool)
    if recipe.drop_missing:
        for plan in recipe.features:
            lacking |= columns[plan.name].missing
    keep: np.ndarray = ~(wrong | absent | lacking)
    if not keep.all():
        quarantine.add(_reasons(chunk, columns, recipe, np.flatnonzero(~keep)))
    return keep


def _reasons(
    chunk: dict[str, Any], columns: dict[str, convert.Typed], recipe: Recipe, places: np.ndarray
) -> Iterator[BadRow]:
    texts = texts_of(chunk, places)
    for place, cells in zip(places.tolist(), texts, strict=True):
        row = int(chunk[ROW][place].as_py())
        code, column, reason = _reason(columns, recipe, place, cells)
        yield BadRow(row, code, reason, column, joined([cell or "" for cell in cells]))


def _reason(
    columns: dict[str, convert.Typed], recipe: Recipe, place: int, cells: list[str | None]
) -> tuple[str, str | None, str]:
    target = recipe.target.name
    if not any(cell and cell.strip() for cell in cells):
        return "ROW_EMPTY", None, "the row has no value at all"
    if any(cell and cell.strip().rstrip(":").casefold() in _TOTALS for cell in cells):
        return "ROW_TYPE", None, "the row looks like a summary of the others"
    if columns[target].missing[place] and columns[target].errors[place] == 0:
        return "MISSING_TARGET", target, "the target has no value"
    for name, column in columns.items():
        if error := int(column.errors[place]):
            return convert.CODES[error], name, convert.REASONS[error]
    lacking = next(plan.name for plan in recipe.features if columns[plan.name].missing[place])
    return "MISSING_VALUE", lacking, "the cell has no value, and the specification drops such rows"


def texts_of(chunk: dict[str, Any], places: np.ndarray) -> list[list[str | None]]:
    """The cells of some rows of a chunk of text, row by row."""
    chosen = pa.array(places)
    columns = [column.take(chosen).to_pylist() for name, column in chunk.items() if name != ROW]
    return [list(cells) for cells in zip(*columns, strict=True)]


def set_aside(raw: Spool, rows: np.ndarray, code: str, reason: str, column: str | None, quarantine: Quarantine) -> None:
    """Quarantine rows by number that were converted, but are not used after all."""
    for chunk in raw.chunks():
        numbers = chunk[ROW].to_numpy()
        places = np.flatnonzero(np.isin(numbers, rows))
        texts = texts_of(chunk, places)
        quarantine.add(
            BadRow(int(numbers[place]), code, reason, column, joined([cell or "" for cell in cells]))
            for place, cells in zip(places.tolist(), texts, strict=True)
        )
