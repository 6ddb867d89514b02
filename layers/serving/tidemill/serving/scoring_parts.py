"""A file scored part by part: each part is written once, so that a scoring that was killed goes on at the next.

Axes: n rows, k labels.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tidemill.core.errors import BadBundle, BadPicture, BadTable
from tidemill.core.readers.chunks import BadRow
from tidemill.core.scoring import results
from tidemill.core.scoring.blocks import CSV, PARQUET, PICTURE, Block, open_request
from tidemill.core.scoring.inputs import Reader
from tidemill.core.storage import Storage
from tidemill.core.version import VERSION
from tidemill.serving.predictor import Predictor

Array = np.ndarray[Any, Any]
Item = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """What one part holds. Its record is written after its files: a part without a record does not exist yet."""

    rows_in: int
    rows_out: int
    rejects: int
    columns: list[str]
    sha256: str
    format: str


@dataclass(frozen=True)
class Parts:
    """The parts of one scoring in the bucket, by number from 1."""

    artifacts: Storage
    prefix: str

    @classmethod
    def of(cls, artifacts: Storage, model: str, scoring: str) -> Parts:
        """Where the parts of a scoring lie; other code starts anew, lest its blocks be cut elsewhere."""
        return cls(artifacts, f"parts/{model}/{scoring}/{VERSION}/")

    def written(self) -> dict[int, Part]:
        """The parts that are complete."""
        keys = [item["Key"] for item in self.artifacts.keys(self.prefix) if item["Key"].endswith(".json")]
        return {int(key[len(self.prefix) :][:6]): Part(**self.artifacts.read_json(key)) for key in keys}

    def write(self, number: int, part: Part, predictions: bytes, rejects: bytes) -> None:
        """Write a part's files, each once, and then its record."""
        self.artifacts.write_new(self._key(number, part.format), predictions)
        if rejects:
            self.artifacts.write_new(self._key(number, "rejects.csv"), rejects)
        record = json.dumps(asdict(part), sort_keys=True).encode()
        self.artifacts.write_new(self._key(number, "json"), record, "application/json")

    def predictions(self, parts: dict[int, Part]) -> Iterator[bytes]:
        """The predictions of the parts in their order; raises BadBundle where one is not what its record says."""
        for number in sorted(parts):
            content = self.artifacts.read_bytes(self._key(number, parts[number].format))
            if hashlib.sha256(content).hexdigest() != parts[number].sha256:
                raise BadBundle(f"{self._key(number, '*')} differs from its record.", remedy="Send the file again.")
            yield content

    def rejects(self, parts: dict[int, Part]) -> Iterator[bytes]:
        """The rows that the parts set aside, in their order."""
        for number in sorted(parts):
            if parts[number].rejects:
                yield self.artifacts.read_bytes(self._key(number, "rejects.csv"))

    def _key(self, number: int, kind: str) -> str:
        return f"{self.prefix}{number:06d}.{kind}"


@dataclass(frozen=True)
class Model:
    """What scores: a version, its predictor, and how cells are read for it."""

    version: int
    predictor: Predictor
    reader: Reader

    @property
    def column(self) -> str:
        """The one column that models of pictures and texts read."""
        return str(self.predictor.program.columns[0])

    def score(self, block: Block, carried: list[str]) -> tuple[Any, list[BadRow]]:
        """The predictions of a block as a table, and all its rows that have none."""
        read = self._pictures if self.predictor.modality == PICTURE else self._cells
        score_nk, keep, bad = read(block)
        rule = self.predictor.rule and self.predictor.rule[:2]
        labels = self.predictor.labels if self.predictor.task != "regression" else ()
        table = results.table_of(block, keep, carried, self.version, score_nk, labels, rule)
        return table, sorted([*block.bad, *bad], key=lambda row: row.row)

    def _cells(self, block: Block) -> tuple[Array, Array, list[BadRow]]:
        columns, keep, bad = self.reader.read(block)
        count = int(keep.sum())
        if not count:
            return np.empty((0, max(1, len(self.predictor.labels))), np.float32), keep, bad
        return self.predictor.predict_columns(columns).reshape(count, -1), keep, bad

    def _pictures(self, block: Block) -> tuple[Array, Array, list[BadRow]]:
        program, bad = self.predictor.program, list[BadRow]()
        keep = np.ones(len(block.rows), bool)
        x_nhwc = np.empty((len(block.rows), *program.shape), np.uint8)
        for at, data in enumerate(block.columns[self.column]):
            try:
                x_nhwc[at] = program.pixels_of(data)
            except BadPicture as error:
                keep[at] = False
                bad.append(BadRow(int(block.rows[at]), error.code, error.message, self.column))
        return self.predictor.scores(x_nhwc[keep]), keep, bad


def write_parts(
    path: Path, filename: str, model: Model, parts: Parts, report: Callable[[dict[int, Part]], None]
) -> dict[int, Part]:
    """Score a file and write every part that is not there yet; tells of each. All parts, by number.

    Raises BadTable or SchemaMismatch where the file cannot be scored; `report` may raise to stop between two parts.
    """
    opened = open_request(path, filename, model.predictor.modality, model.column)
    there, done = parts.written(), dict[int, Part]()
    carried: list[str] = []
    for number, block in enumerate(opened.blocks, start=1):
        if number == 1:
            model.reader.check(block.columns)
            carried = model.reader.carried(block.columns)
        if number in there:
            done[number] = there[number]
            _check_same(there[number], block, number)
            continue
        done[number] = _write(number, block, carried, model, parts, opened.format)
        report(done)
    if not done:
        raise BadTable("The file has no rows.", code="NO_ROWS", remedy="Send a file with rows below its header.")
    return done


def _write(number: int, block: Block, carried: list[str], model: Model, parts: Parts, kind: str) -> Part:
    table, bad = model.score(block, carried)
    predictions = results.packed(table, kind)
    digest = hashlib.sha256(predictions).hexdigest()
    part = Part(block.count, table.num_rows, len(bad), table.column_names, digest, kind)
    if part.rows_in != part.rows_out + part.rejects:
        raise AssertionError(f"rows do not add up: {part}")
    parts.write(number, part, predictions, results.packed_rejects(bad))
    return part


def _check_same(part: Part, block: Block, number: int) -> None:
    if part.rows_in != block.count:
        raise BadBundle(
            f"Part {number} was made of {part.rows_in} rows and has {block.count} now.", remedy="Send the file again."
        )


def join(parts: Parts, done: dict[int, Part], prefix: str, work: Path) -> list[Item]:
    """Put the parts together under a prefix; the files written, with sizes and hashes."""
    kind, artifacts = done[1].format, parts.artifacts
    name, pieces = f"predictions.{kind}", parts.predictions(done)
    if kind == PARQUET:
        results.join_parquet(pieces, work / name)
        with (work / name).open("rb") as file:
            entry = _send(artifacts, prefix, name, iter(lambda: file.read(1 << 20), b""), kind)
    else:
        entry = _send(artifacts, prefix, name, _after(results.header(done[1].columns, kind), pieces), kind)
    rejects = _after(results.header(results.REJECTS, CSV), parts.rejects(done))
    return [entry, _send(artifacts, prefix, "rejects.csv", rejects, CSV)]


def _after(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _send(artifacts: Storage, prefix: str, name: str, pieces: Iterator[bytes], kind: str) -> Item:
    joined = results.Joined(pieces)
    artifacts.write_stream(prefix + name, io.BufferedReader(joined, 1 << 20), results.CONTENT[kind])
    return {"name": name, "size_bytes": joined.size_bytes, "sha256": joined.sha256}
