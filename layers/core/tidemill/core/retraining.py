"""From a wish to train again to a new upload, or to a reason why not: what Retrain does with one message.

The upload goes in by the front door: `uploads/{model}/retrain/{id}/`, the rows of the newest upload a person made and
the rows labelled since. Checking, splitting, training, the gate and the order of uploads stay what they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tidemill.core.attempts import STARTED, attempts, journalled, refused, started
from tidemill.core.clock import now
from tidemill.core.errors import BadSpec, BadTable, Conflict, NotFound, TidemillError
from tidemill.core.ingest import SPEC_NAME, read_spec
from tidemill.core.labelled import Feedback, read_feedback
from tidemill.core.prepare.merging import merge
from tidemill.core.registry import Item, Registry
from tidemill.core.schedules import schedule_of
from tidemill.core.spec import Spec, to_toml
from tidemill.core.storage import Storage
from tidemill.core.uploads import TRIGGER, Upload
from tidemill.core.version import VERSION
from tidemill.core.wakes import AUTOMATIC, Wake

MOST_TRIES = 5
_LOST = ("FAILED", "CANCELLED")
RECIPE = ("data", "preprocess", "split", "train", "augment", "search", "decision")


class NothingNew(TidemillError):
    """A model that has learned from all there is."""

    code, status, title = "NOTHING_NEW", 409, "There is nothing new to learn"


def retrain(wake: Wake, registry: Registry, uploads: Storage, artifacts: Storage) -> Item | None:
    """Start a training from the newest data and feedback; the attempt as it was written down.

    None for what is not wanted at all: drift where the specification does not care, too few new labels to count. May be
    called any number of times with the same message: the upload's name is made of its content.
    """
    for item in attempts(wake.model, registry) if wake.ask else ():
        if item.get("ask") == wake.ask:
            return journalled(registry, item)  # the same question again
    if not _is_wanted(wake, registry):
        return None
    try:
        return _start(wake, registry, uploads, artifacts)
    except (NothingNew, BadSpec, BadTable, NotFound, Conflict) as error:
        return refused(wake.model, registry, wake.why, error.reason(), **wake.told())


def _is_wanted(wake: Wake, registry: Registry) -> bool:
    if wake.why not in AUTOMATIC:
        return True
    schedule, alias = schedule_of(wake.model, registry), registry.alias(wake.model)
    if schedule is None or alias is None:
        return False  # nothing serves, so there is nothing to be renewed
    if wake.why == "drift" and (not schedule.on_drift or (wake.version and wake.version != alias["version"])):
        return False  # not wished for, or of a version that has been replaced since
    least = schedule.min_new_labels
    if wake.why == "labels" and (not least or _labels_waiting(wake, registry) < least):
        return False
    if schedule.paused:
        remedy = f"Let it go on: tidemill schedule {wake.model} --resume"
        reason = {"code": "PAUSED", "message": "The schedule is paused.", "remedy": remedy}
        refused(wake.model, registry, wake.why, reason, **wake.told())
    return not schedule.paused


def _labels_waiting(wake: Wake, registry: Registry) -> int:
    """About how many labels have come since they were last counted: events may come twice, so this is only a hint."""
    values = {":labels": wake.labels}
    item = registry.table.update(f"MODEL#{wake.model}", "LABELS", "ADD waiting :labels", values)
    return 0 if item is None else int(item["waiting"])


def _start(wake: Wake, registry: Registry, uploads: Storage, artifacts: Storage) -> Item | None:
    model = wake.model
    base = _base(model, registry)
    upload = Upload(**base["upload"])
    spec = read_spec(uploads, upload)
    schema = artifacts.read_json(f"datasets/{model}/{base['dataset']}/schema.json")
    columns = [item["name"] for item in schema["columns"] if item["role"] == "feature"]
    feedback = read_feedback(model, artifacts, columns)
    trigger = _trigger(wake, base, spec, feedback, registry)
    if wake.why == "labels" and not _are_enough(model, trigger["new"], registry):
        return None
    name = _name(wake, base, trigger, feedback, registry)
    folder = f"uploads/{model}/retrain/{name}/"
    uploads.write_bytes(folder + SPEC_NAME, to_toml(pinned(spec, schema)).encode(), "application/toml")
    merged = _send(upload, schema, feedback, folder, trigger, uploads)
    rows = {
        "base": base["rows"]["read"],
        "labelled": merged,
        "unmatched": feedback.unmatched,
        "hidden": feedback.hidden,
    }
    fields = {**wake.told(), "trigger": trigger, "rows": rows, "base": base["run"]}
    attempt = started(model, registry, wake.why, name, **fields)
    _wait_from(model, 0, registry)
    return attempt


def _are_enough(model: str, new: int, registry: Registry) -> bool:
    """Whether the labels, now counted exactly, suffice; the hint goes on from their number where they do not."""
    schedule = schedule_of(model, registry)
    enough = schedule is not None and new >= schedule.min_new_labels
    if not enough:
        _wait_from(model, new, registry)
    return enough


def _wait_from(model: str, labels: int, registry: Registry) -> None:
    registry.table.update(f"MODEL#{model}", "LABELS", "SET waiting = :labels", {":labels": labels})


def _base(model: str, registry: Registry) -> Item:
    """The newest run of a person's upload that became a dataset; raises Conflict while a newer one is still read."""
    runs = [run for run in registry.runs(model) if not Upload(**run["upload"]).made_by_retrain]
    if runs and runs[0]["state"] == "RECEIVED":
        text = f"The upload {runs[0]['upload']['key']} has just come and is being read; its own training is the newest."
        raise Conflict(text, code="UPLOAD_ARRIVING", remedy="Wait until its run has a dataset, then try again.")
    for run in runs:
        if run.get("dataset"):
            return run
    text = f"No upload of {model!r} has become a dataset yet."
    raise NotFound(text, code="NO_DATASET", remedy="Upload data for it.", model=model)


def recipe_of(spec: dict[str, Any]) -> str:
    """What of a specification decides about a model, as a digest; empty for one that this code cannot read."""
    try:
        whole = Spec.from_json(spec).to_json()  # an older one lacks newer settings
    except BadSpec:
        return ""
    parts = {name: whole[name] for name in RECIPE}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _trigger(wake: Wake, base: Item, spec: Spec, feedback: Feedback, registry: Registry) -> Item:
    """Why the upload was made and of what; it goes with the file, into the run, the version and the card.

    `changed` names what a person has changed since the version in service was made: the gate is stricter where that is
    nothing.
    """
    alias, recipe = registry.alias(wake.model), recipe_of(spec.to_json())
    serving = base if alias is None else registry.run(wake.model, alias["run"])
    known = serving.get("trigger") or {"base": serving["run"], "recipe": recipe_of(serving["spec"])}
    now_is = {"base": base["run"], "recipe": recipe}
    before = [item for item in attempts(wake.model, registry) if item["state"] == STARTED]
    learned = next((item["trigger"]["labelled"] for item in before if item["base"] == base["run"]), 0)
    return {
        **{"why": wake.why, "at": now(), **now_is, "champion": None if alias is None else alias["version"]},
        "changed": [what for name, what in (("base", "data"), ("recipe", "recipe")) if known[name] != now_is[name]],
        **{"labelled": len(feedback.rows), "new": max(0, len(feedback.rows) - int(learned))},
        **{name: said for name, said in wake.told().items() if name in ("by", "report")},
    }


def _name(wake: Wake, base: Item, trigger: Item, feedback: Feedback, registry: Registry) -> str:
    """The name of the upload, made of its content; raises NothingNew where that was learned from already.

    Rows whose training failed, by themselves or by a fault of ours, may be tried again: under another name.
    """
    if not feedback.rows and trigger["recipe"] == recipe_of(base["spec"]) and base["state"] not in _LOST:
        raise _nothing_new(wake, base, feedback)
    ended = {run["upload"]["key"].split("/")[3]: run["state"] for run in registry.runs(wake.model) if "trigger" in run}
    known = {item.get("upload") for item in attempts(wake.model, registry)}
    for attempt in range(MOST_TRIES):
        identity = [base["run"], trigger["recipe"], feedback.digest, VERSION, attempt]
        name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
        if name not in known:
            return name
        if ended.get(name) not in _LOST:
            raise _nothing_new(wake, base, feedback)
    text = f"The training of these rows has failed {MOST_TRIES} times."
    raise Conflict(text, code="KEEPS_FAILING", remedy=f"Read the reasons: tidemill runs {wake.model}")


def _nothing_new(wake: Wake, base: Item, feedback: Feedback) -> NothingNew:
    drift = " The requests have drifted, but nobody has said what they turned out to be." if wake.why == "drift" else ""
    lost = f" {feedback.unmatched} labels belong to requests that the log does not hold." if feedback.unmatched else ""
    hidden = f" {feedback.hidden} labelled rows have columns whose values are not kept." if feedback.hidden else ""
    return NothingNew(
        f"There is nothing new since the upload {base['upload']['key']} and {len(feedback.rows)} labelled rows were "
        f"learned from.{drift}{lost}{hidden}",
        remedy="Upload newer data, or send what became of predicted rows: tidemill feedback FILE.",
    )


def pinned(spec: Spec, schema: dict[str, Any]) -> Spec:
    """The specification with the target, the task and the inputs that were found, so that more rows change none.

    A column that was constant is not any more where labelled rows lack it, and another input would be another hash of
    every row: the champion would have trained on rows that are to test both.
    """
    task = schema["task"] if spec.data.task == "auto" else spec.data.task
    named = {*spec.data.drop, *spec.data.id}
    left_out = [item["name"] for item in schema["columns"] if item["role"] == "dropped" and item["name"] not in named]
    data = dataclasses.replace(spec.data, target=schema["target"], task=task, drop=(*spec.data.drop, *left_out))
    return dataclasses.replace(spec, data=data)


def _send(
    base: Upload, schema: dict[str, Any], feedback: Feedback, folder: str, trigger: Item, uploads: Storage
) -> int:
    """Write the rows of the base and the labelled ones as one file, once; how many labelled rows are in it."""
    work = Path(tempfile.mkdtemp(prefix="tidemill-"))
    source, merged, count = work / "base", work / "data.parquet", 0
    try:
        if not _is_there(base, uploads, source):
            text = f"The upload {base.key} is no longer what it was: deleted or overwritten."
            raise NotFound(text, code="SOURCE_DELETED", remedy="Upload the data again.")
        if not feedback.rows:  # another recipe for the same file
            _write_once(uploads, folder + base.filename, source, trigger)
            return 0
        count = merge(source, base.filename, schema, feedback.rows, merged)
        _write_once(uploads, folder + merged.name, merged, trigger)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return count


def _is_there(base: Upload, uploads: Storage, path: Path) -> bool:
    try:
        return bool(uploads.read_file(base.key, path)["etag"] == base.etag)
    except NotFound:
        return False


def _write_once(uploads: Storage, key: str, path: Path, trigger: Item) -> None:
    """Put the file unless it is there: the same name is the same content, and a second event would be a second run."""
    about = {TRIGGER: json.dumps(trigger, separators=(",", ":"))}
    try:
        with path.open("rb") as file:
            uploads.client.put_object(Bucket=uploads.bucket, Key=key, Body=file, Metadata=about, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
