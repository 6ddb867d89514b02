"""From a file under requests/ to its predictions under results/, or to a reason: what Score and its job do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.core.clock import now
from tidemill.core.endings import ending_of
from tidemill.core.errors import (
    BadBundle,
    BadPicture,
    BadTable,
    Conflict,
    NoChampion,
    NotFound,
    SchemaMismatch,
    TidemillError,
)
from tidemill.core.events import Bus
from tidemill.core.limits import limit
from tidemill.core.manifest import NAME as MANIFEST
from tidemill.core.names import check_model
from tidemill.core.registry import Registry
from tidemill.core.scoring.inputs import Reader
from tidemill.core.scorings import ENDED, MOST_TRIES, Scorings, is_request, scoring_of
from tidemill.core.storage import Storage
from tidemill.core.table import Item
from tidemill.core.uploads import Upload
from tidemill.core.version import VERSION
from tidemill.serving.bundles import Bundles
from tidemill.serving.scoring_parts import Model, Part, Parts, join, write_parts

HAND_OVER_S = 90.0  # left of a function's time: enough for the part in work and for saying who goes on
TOLD = {"DONE": "ScoringFinished", "REJECTED": "ScoringRejected", "FAILED": "ScoringFailed"}
Progress = Callable[[Item], None]


class OutOfTime(Exception):
    """The function's time ends before the file does: a job goes on at the next part."""


@dataclass(frozen=True)
class Scorer:
    """What a scoring works with. `submit` starts the job that goes on with one; in the job there is none."""

    registry: Registry
    requests: Storage
    artifacts: Storage
    bus: Bus
    bundles: Bundles
    submit: Callable[[Item], str] | None = None
    time_left_s: Callable[[], float] = lambda: float("inf")

    @property
    def scorings(self) -> Scorings:
        """Where the states of scorings are kept."""
        return Scorings(self.registry)

    def take(self, request: Upload) -> Item | None:
        """Score a file that arrived and tell the bus; the scoring as it is then, None for what is no such file.

        May be called any number of times with the same file: every step finds what an earlier call left behind.
        """
        if not is_request(request):
            return None
        try:
            check_model(request.model)
        except TidemillError as error:
            self._write_rejection("_unnamed", scoring_of(request), request.to_json(), error)
            return None
        item = self.scorings.receive(request)
        if "job" in item and item["state"] not in ENDED:
            return item  # its job goes on with it, and Batch tells how that ended
        return self.go_on(item)

    def go_on(self, item: Item) -> Item:
        """Bring a scoring to its end, or to its job, from wherever it stands."""
        if item["state"] not in ENDED:
            try:
                item = self._worked(item)
            except (BadTable, BadPicture, SchemaMismatch, NoChampion, NotFound) as error:
                item = self._rejected(item, error)
        if item["state"] in ENDED:
            names = ("model", "scoring", "state", "version", "rows", "results", "reason")
            self.bus.tell(TOLD[item["state"]], {name: item[name] for name in names if name in item})  # type: ignore[arg-type]
        return item

    def job_ended(self, detail: Item) -> Item | None:
        """Handle the failure of a scoring's job; None for jobs of others."""
        parameters = detail.get("parameters") or {}
        if "model" not in parameters or "scoring" not in parameters:
            return None
        item = self.scorings.get(str(parameters["model"]), str(parameters["scoring"]))
        if detail.get("status") != "FAILED" or item["state"] in ENDED or item.get("job") != detail.get("jobId"):
            return item
        container = detail.get("container") or {}
        ending = ending_of(detail)
        said = f"{ending.sentence} {detail.get('statusReason') or container.get('reason') or ''}".strip()
        return self.go_on(self._failed(item, ending.code.replace("TRAINING", "SCORING"), said))

    def _worked(self, item: Item) -> Item:
        model, scoring = item["model"], item["scoring"]
        item = self.scorings.begin(model, scoring, **self._champion(item))
        if item["state"] in ENDED:
            return item
        if item["tries"] > MOST_TRIES:
            return self._failed(item, "NO_PROGRESS", f"It was begun {item['tries']} times and got no further.")
        if self.submit is not None and int(item["request"]["size_bytes"]) > limit("score_function"):
            return self._handed_over(item)
        try:
            fields = self._scored(item)
        except OutOfTime:
            return self._handed_over(item)
        return self._ended(item, "DONE", **fields)

    def _champion(self, item: Item) -> Item:
        """What to pin: the version in service, unless an earlier begin pinned one; raises NoChampion."""
        model = item["model"]
        if "version" in item:
            return {name: item[name] for name in ("version", "bundle", "dataset")}
        alias = self.registry.alias(model)
        if alias is None:
            raise NoChampion(
                f"Model {model!r} has no version in service.",
                remedy="Look at the list of models, wait for its first run to end, then send the file again.",
            )
        version = self.registry.version(model, int(alias["version"]))
        return {"version": int(alias["version"]), "bundle": alias["bundle"], "dataset": version["dataset"]}

    def _scored(self, item: Item) -> Item:
        """The rows and results of a scoring whose files all stand; what stood before is not made again."""
        prefix = f"results/{item['model']}/{item['scoring']}/"
        told = self.artifacts.read_json_or_none(prefix + MANIFEST)
        if told is None:
            told = self._made(item, prefix)
        return {"rows": told["rows"], "results": prefix, "files": told["files"]}

    def _made(self, item: Item, prefix: str) -> Item:
        work = Path(tempfile.mkdtemp(prefix="tidemill-score-"))
        try:
            parts = Parts.of(self.artifacts, item["model"], item["scoring"])
            path = self._fetched(item, work)
            filename = item["request"]["key"].rpartition("/")[2]
            done = write_parts(path, filename, self._model(item), parts, lambda done: self._report(item, done))
            files = join(parts, done, prefix, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self.artifacts.write_json(prefix + MANIFEST, told := _manifest(item, done, files))
        return told

    def _model(self, item: Item) -> Model:
        key = f"datasets/{item['model']}/{item['dataset']}/schema.json"
        schema = self.artifacts.read_json_or_none(key)
        if schema is None:
            raise BadBundle(f"{key} is missing: version {item['version']} was trained on it.", remedy="Train again.")
        predictor = self.bundles.predictor(item["model"], item["bundle"])
        return Model(int(item["version"]), predictor, Reader.of(predictor.program, schema))

    def _fetched(self, item: Item, work: Path) -> Path:
        request, path = item["request"], work / "request"
        most = limit("upload")
        if int(request["size_bytes"]) > most:
            text = f"The file has {request['size_bytes']:,} bytes; the limit is {most:,}."
            raise BadTable(text, code="FILE_TOO_LARGE", remedy="Send it in several files, or as Parquet.")
        try:
            found = self.requests.read_file(request["key"], path)
        except NotFound as error:
            text = f"{request['key']} was deleted before it could be read."
            raise NotFound(text, code="REQUEST_GONE", remedy="Send it again.") from error
        if request["etag"] and found["etag"] != request["etag"]:
            text = f"{request['key']} was replaced by another file before all of it was scored."
            raise BadTable(text, code="REQUEST_REPLACED", remedy="The later file is scored by itself.")
        return path

    def _report(self, item: Item, done: dict[int, Part]) -> None:
        self.scorings.report(item["model"], item["scoring"], {"parts": len(done), "rows": _rows(done)})
        if self.submit is not None and self.time_left_s() < HAND_OVER_S:
            raise OutOfTime

    def _handed_over(self, item: Item) -> Item:
        """SubmitJob takes no token: two jobs, should there be two, write the same parts, each once."""
        if self.submit is None or "job" in item:
            return item
        return self.scorings.hand_over(item["model"], item["scoring"], self.submit(item))

    def _rejected(self, item: Item, error: TidemillError) -> Item:
        where = self._write_rejection(item["model"], item["scoring"], item["request"], error)
        return self._ended(item, "REJECTED", reason={**error.reason(), "where": where})

    def _failed(self, item: Item, code: str, message: str) -> Item:
        remedy = "Send the file again; if that fails, too, look into the log of the Score function."
        return self._ended(item, "FAILED", reason={"code": code, "message": message, "remedy": remedy})

    def _ended(self, item: Item, state: str, **fields: Any) -> Item:
        """End it; when another delivery of the same event was quicker, take what that one made of it."""
        try:
            return self.scorings.end(item["model"], item["scoring"], state, **fields)
        except Conflict:
            return self.scorings.get(item["model"], item["scoring"])

    def _write_rejection(self, model: str, scoring: str, request: Item, error: TidemillError) -> str:
        key = f"results/{model}/{scoring}/REJECTED.json"
        self.artifacts.write_json(key, {"request": request, "reason": error.reason(), "at": now()})
        return f"s3://{self.artifacts.bucket}/{key}"


class Bucket:
    """The bucket of bundles as `Bundles` reads it, through the client that the process has anyway."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def get_object(self, bucket: str, key: str) -> bytes:
        """An object of the bucket; raises NotFound."""
        return self.storage.read_bytes(key)


def _rows(done: dict[int, Part]) -> Item:
    """How many rows were read, scored and set aside."""
    parts = done.values()
    counts = {"in": sum(part.rows_in for part in parts), "out": sum(part.rows_out for part in parts)}
    return {**counts, "rejected": sum(part.rejects for part in parts)}


def _manifest(item: Item, done: dict[int, Part], files: list[Item]) -> Item:
    """What MANIFEST.json says: written last, it makes the results complete."""
    names = ("scoring", "model", "version", "bundle", "request")
    return {
        **{"format": 1, "kind": "scoring", **{name: item[name] for name in names}, "code": VERSION},
        **{"rows": _rows(done), "files": files, "parts": len(done), "columns": done[1].columns},
        **{"started": item["times"]["started"], "ended": now(), "cost": {}},
    }
