"""From a file to a dataset folder: read, decide, convert, measure, split, write; bounded in memory throughout."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from tidemill.core import manifest
from tidemill.core.errors import BadTable
from tidemill.core.limits import MIB, limit
from tidemill.core.names import check_model
from tidemill.core.prepare import deciding, passes, private, target, texts
from tidemill.core.prepare.archives import check_no_picture, prepare_archive
from tidemill.core.prepare.documents import profile_of, schema_of, split_warnings, wishes
from tidemill.core.prepare.keeping import Kept, keep_rows
from tidemill.core.prepare.kinds import CATEGORY, DROPPED, FEATURE, TEXT
from tidemill.core.prepare.measuring import Measured, measure
from tidemill.core.prepare.quarantine import Quarantine
from tidemill.core.prepare.shards import HASH, ROW, ShardWriter, arrow_schema, batch_of
from tidemill.core.prepare.split import SPLITS, Split, divide
from tidemill.core.prepare.spool import Spool
from tidemill.core.prepare.text_measure import TextMeasure
from tidemill.core.progress import Progress, Report, silent
from tidemill.core.readers.archive import open_archive
from tidemill.core.readers.chunks import Table, Warned
from tidemill.core.readers.opening import open_table
from tidemill.core.spec import Spec

PREPARE_CODE = 1  # part of every dataset's id: raise it when the same file would give other rows


@dataclass(frozen=True)
class Prepared:
    """A dataset that was written: its id, its folder, and what schema.json and profile.json say."""

    dataset: str
    folder: Path
    schema: dict[str, Any]
    profile: dict[str, Any]
    rows: dict[str, int]


def prepare(
    source: Path | BinaryIO, filename: str, spec: Spec, out: Path, *, model: str, report: Report = silent
) -> Prepared:
    """Make a dataset in the folder `out` from a file; raises BadTable, saying why, where the file cannot be used."""
    check_model(model)
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty: a dataset is written into a folder of its own")
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        path = source if isinstance(source, Path) else _copied(source, work / "source")
        check_no_picture(path, filename)
        if archive := open_archive(path, filename):
            return prepare_archive(archive, path, spec, out, work, model, report)
        return Preparation(path, lambda: open_table(path, filename), spec, out, work, model, report).run()
    except BaseException:
        for leftover in out.iterdir():
            leftover.unlink()
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def dataset_id(content_sha256: str, spec: Spec) -> str:
    """The id of the dataset that a file gives under a specification: the same content and wishes, the same id."""
    text = json.dumps(
        [content_sha256, wishes(spec), PREPARE_CODE], sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )
    return "d-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _copied(source: BinaryIO, path: Path) -> Path:
    size = 0
    with path.open("wb") as file:
        while block := source.read(MIB):
            size += len(block)
            if size > limit("upload"):
                raise BadTable(
                    f"The file has more than {limit('upload'):,} bytes.",
                    code="FILE_TOO_LARGE",
                    remedy="Upload fewer rows, or Parquet.",
                )
            file.write(block)
    return path


class Preparation:
    """One file on its way to a dataset; each method is a step, in the order of `run`.

    `opened` reads the file as a table, from its start at every call; `how` says how the target was found, where that
    is known before.
    """

    def __init__(
        self,
        path: Path,
        opened: Callable[[], Table],
        spec: Spec,
        out: Path,
        work: Path,
        model: str,
        report: Report,
        how: str = "",
    ) -> None:
        self.path, self.opened, self.spec, self.out = path, opened, spec, out
        self.model, self.report, self.how = model, report, how
        self.raw, self.typed = Spool(work / "raw"), Spool(work / "typed")
        self.fraction = spec.preprocess.max_bad_fraction

    def run(self) -> Prepared:
        """Every step, from the file to its dataset."""
        table = self.opened()
        self.quarantine = Quarantine(self.out)
        try:
            found = self._read(table, self.spec.data.text)
            if text := self._long_texts(table, found):
                table, found = self._read_again(text)
            self.quarantine.check(found.read, self.fraction, final=True)
            decided = deciding.decide(table, found, self.spec, text)
            decided = replace(decided, sentence=self.how or decided.sentence)
            recipe = self._recipe(decided)
            converted = passes.convert_all(self.raw, self.typed, recipe, found.kept, self.quarantine, self.report)
            self.quarantine.check(found.read, self.fraction, final=True)
            decided.warnings.extend(target.variants(converted.labels, decided.task.plan.name))
            drop = self.spec.preprocess.duplicates == "drop"
            kept = keep_rows(self.raw, self.typed, converted, recipe, drop, self.quarantine)
            measured = measure(self.typed, recipe, kept.keep, kept.labels, self.report)
        finally:
            self.quarantine.close()
        if isinstance(texts_measure := measured.columns.get(decided.text), TextMeasure):
            decided.warnings.extend(texts.warnings_for(decided.text, converted.cut, texts_measure, kept))
        del converted  # its hashes are the largest thing in memory
        decided, recipe, kept = self._leaks(decided, recipe, measured, kept)
        divided = self._divide(kept, decided)
        kept = replace(kept, hashes=np.empty(0), targets=np.empty(0))
        self._write(recipe, kept, divided, measured)
        return self._finish(table, found, decided, kept, divided, measured)

    def _read(self, table: Table, text: str) -> passes.Gathered:
        table.text = text
        found = passes.gather(table, self.raw, self.quarantine, self.fraction, self.report)
        if not found.read:
            raise BadTable(
                "The table has no rows.", code="NO_ROWS", remedy="Upload a table with rows below its header."
            )
        if found.read < (least := limit("good_texts" if text else "good_rows")):
            raise _too_few(found.read, found.read, least)
        return found

    def _long_texts(self, table: Table, found: passes.Gathered) -> str:
        """The column of a text data set some of whose texts are too long for a cell of a table; mostly empty."""
        if self.spec.data.text or not found.kept or not self.quarantine.codes["ROW_FIELD_TOO_LONG"]:
            return ""
        try:
            return deciding.decide(table, found, self.spec).text
        except BadTable:  # the real decision says so again, once the bad rows were counted
            return ""

    def _read_again(self, text: str) -> tuple[Table, passes.Gathered]:
        """The table from its start, with texts of any length: they are cut and not set aside."""
        self.raw.clear()
        self.quarantine.close()
        self.quarantine = Quarantine(self.out)
        table = self.opened()
        return table, self._read(table, text)

    def _recipe(self, decided: deciding.Decided) -> passes.Recipe:
        classes = decided.task.name != target.REGRESSION
        features = [plan for plan in decided.plans if plan.role == FEATURE]
        left_out = [plan for plan in decided.plans if plan.role == DROPPED and plan.reason != private.REASON]
        asked = [plan for plan in left_out if plan.name in self.spec.data.groups]
        return passes.Recipe(features, decided.task.plan, classes, self.spec.preprocess.missing == "drop", asked)

    def _leaks(
        self, decided: deciding.Decided, recipe: passes.Recipe, measured: Measured, kept: Kept
    ) -> tuple[deciding.Decided, passes.Recipe, Kept]:
        """Warn of columns that give the target away, and leave them out where the specification says so."""
        drop = self.spec.preprocess.leaks == "drop"
        guilty = {name: how for name, item in measured.columns.items() if (how := item.tie.found(kept.used))}
        for name, how in guilty.items():
            verb = "it is left out" if drop and len(guilty) < len(recipe.features) else "is it known beforehand?"
            remedy = f'Leave it out with [data] drop = ["{name}"] if it is only known with the outcome.'
            decided.warnings.append(
                Warned("COLUMN_LEAK", f"{name!r} gives the target away: {how}; {verb}", name, remedy)
            )
        if not drop or not guilty or len(guilty) >= len(recipe.features):
            return decided, recipe, kept
        plans = [replace(p, role=DROPPED, reason="leak") if p.name in guilty else p for p in decided.plans]
        lost = [plan for plan in recipe.features if plan.name in guilty and plan.name in self.spec.data.groups]
        left = [plan for plan in recipe.features if plan.name not in guilty]
        recipe = replace(recipe, features=left, groups=[*recipe.groups, *lost])
        hashes = measured.hashes_without(self.typed, recipe)
        return replace(decided, plans=plans), recipe, replace(kept, hashes=hashes)

    def _divide(self, kept: Kept, decided: deciding.Decided) -> Split:
        used = kept.used
        if used < (least := limit("good_texts" if decided.text else "good_rows")):
            raise _too_few(used, len(kept.keep), least)
        if kept.classes is not None and len(kept.labels) < 2:
            raise target.constant(decided.task.plan.name)
        every = used == len(kept.keep)
        hashes, targets = (kept.hashes, kept.targets) if every else (kept.hashes[kept.keep], kept.targets[kept.keep])
        classes = None if kept.classes is None else kept.classes[kept.keep]
        shares = self.spec.split
        return divide(hashes, targets, classes, shares.validation, shares.test, shares.seed)

    def _write(self, recipe: passes.Recipe, kept: Kept, divided: Split, measured: Measured) -> None:
        splits = np.full(len(kept.keep), -1, np.int8)
        splits[kept.keep] = divided.splits
        hashes = divided.hashes
        if len(hashes) < len(kept.keep):
            hashes = np.zeros(len(kept.keep), np.uint64)
            hashes[kept.keep] = divided.hashes
        inputs, groups = (
            [(p.name, p.kind in (CATEGORY, TEXT)) for p in plans] for plans in (recipe.features, recipe.groups)
        )
        schema = arrow_schema([*inputs, *groups, (recipe.target.name, recipe.classes)])
        start = 0
        with ShardWriter(self.out, schema) as writer:
            for chunk in self.typed.chunks():
                end = start + len(chunk[ROW])
                measured.add_bins(chunk, kept.keep[start:end])
                columns = {**chunk, HASH: pa.array(hashes[start:end])}
                writer.add(batch_of(columns, schema), splits[start:end])
                start = end
                self.report(Progress("writing", message=f"{end:,} rows written"))

    def _finish(
        self,
        table: Table,
        found: passes.Gathered,
        decided: deciding.Decided,
        kept: Kept,
        divided: Split,
        measured: Measured,
    ) -> Prepared:
        counts = np.bincount(divided.splits, minlength=3).tolist()
        rows = {
            "read": found.read,
            "used": sum(counts),
            "quarantined": self.quarantine.count,
            **dict(zip(SPLITS, counts, strict=True)),
        }
        if rows["read"] != rows["used"] + rows["quarantined"]:
            raise AssertionError(f"rows do not add up: {rows}")
        decided.warnings.extend(self._row_warnings(table, decided, kept, divided))
        identity = dataset_id(manifest.sha256_of(self.path), self.spec)
        schema = schema_of(self.model, identity, self.spec, decided, found, measured, kept.labels, rows)
        profile = profile_of(table, decided, measured, divided, rows, self.quarantine.codes, kept.duplicates)
        for name, document in (("schema.json", schema), ("profile.json", profile)):
            text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
            (self.out / name).write_text(text, encoding="utf-8")
        manifest.write(self.out, "dataset", id=identity, rows=rows)
        return Prepared(identity, self.out, schema, profile, rows)

    def _row_warnings(self, table: Table, decided: deciding.Decided, kept: Kept, divided: Split) -> list[Warned]:
        warnings = [warned for warned in table.warnings if warned not in decided.warnings]
        name = decided.task.plan.name
        if unlabelled := self.quarantine.codes["MISSING_TARGET"]:
            warnings.append(
                Warned("MISSING_TARGET", f"{unlabelled:,} rows have no value in the target {name!r}.", name)
            )
        if kept.duplicates:
            what = "left out" if self.spec.preprocess.duplicates == "drop" else "kept; equal rows share a split"
            warnings.append(
                Warned("DUPLICATE_ROWS", f"{kept.duplicates:,} rows equal an earlier row; they are {what}.")
            )
        classes = None if kept.classes is None else kept.classes[kept.keep]
        return warnings + split_warnings(divided, classes, kept.labels, name)


def _too_few(used: int, read: int, least: int) -> BadTable:
    return BadTable(
        f"{used:,} of {read:,} rows can be used; at least {least} are needed.",
        code="TOO_FEW_ROWS",
        remedy="Upload more rows.",
    )
