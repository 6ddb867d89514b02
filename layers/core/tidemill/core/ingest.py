"""From an upload to a dataset, or to a reason: what Preprocess does with one S3 event."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from tidemill.core import decision
from tidemill.core.clock import now
from tidemill.core.errors import BadSpec, BadTable, Conflict, Forbidden, NotFound, Superseded, TidemillError
from tidemill.core.events import Bus, Name
from tidemill.core.limits import limit
from tidemill.core.names import check_model
from tidemill.core.prepare import Prepared, prepare
from tidemill.core.registry import LIVE, TERMINAL, Item, Registry
from tidemill.core.spec import Spec
from tidemill.core.storage import Storage
from tidemill.core.uploads import TRIGGER, Upload
from tidemill.core.version import VERSION

SPEC_NAME = "tidemill.toml"
TOLD: dict[str, Name] = {"REJECTED": "DatasetRejected", "SUPERSEDED": "DatasetSuperseded"}


def ingest(upload: Upload, registry: Registry, uploads: Storage, artifacts: Storage, bus: Bus) -> Item | None:
    """Make a dataset of an upload and tell the bus; the run as it is afterwards, None for what is not a data set.

    May be called any number of times with the same upload: every step finds what an earlier call left behind.
    """
    if not upload.is_data():
        return None
    try:
        check_model(upload.model)
    except TidemillError as error:
        _write_rejection(artifacts, "_unnamed", upload, error)
        return None
    if upload.bucket != uploads.bucket:  # said before anything is asked of either bucket
        foreign = Forbidden(
            f"The event names the bucket {upload.bucket[:80]!r}, which is not this deployment's.",
            code="SOURCE_FORBIDDEN",
            remedy="Upload to this deployment's data bucket; POST /uploads gives a form for it.",
        )
        _write_rejection(artifacts, "_unnamed", upload, foreign)
        return None
    run = registry.receive(upload.model, upload.run, upload.order, upload.to_json())
    if run["state"] == "RECEIVED":
        run = _prepare(upload, registry, uploads, artifacts)
    if run["state"] == "PREPARED":
        bus.tell("DatasetReady", {"model": run["model"], "run": run["run"], "dataset": run["dataset"]})
    elif run["state"] in TOLD:
        bus.tell(TOLD[run["state"]], {"model": run["model"], "run": run["run"], "reason": run["reason"]})
    return run


def fingerprint(dataset: str, spec: Spec) -> str:
    """What makes a version: the dataset, the training recipe and the code. Equal inputs, one version."""
    recipe = {name: part for name, part in spec.to_json().items() if name in ("train", "augment", "search", "decision")}
    identity = json.dumps([dataset, recipe, VERSION], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def kept_of_requests(spec: Spec, prepared: Prepared) -> Item:
    """[monitor] for those who answer: the columns in which personal data was recognised are private, too."""
    found = {warned["column"] for warned in prepared.profile["warnings"] if warned["code"] == "WARN_PII"}
    return {**spec.to_json()["monitor"], "private": sorted(found.union(spec.monitor.private))}


def _prepare(upload: Upload, registry: Registry, uploads: Storage, artifacts: Storage) -> Item:
    work = Path(tempfile.mkdtemp(prefix="tidemill-"))
    made: dict[str, Item] = {}
    try:
        spec = read_spec(uploads, upload)
        source = _fetch(upload, uploads, work, made)
        prepared = _dataset(upload, source, artifacts, spec, work)
    except (BadTable, BadSpec, NotFound, Superseded) as error:
        where = _write_rejection(artifacts, upload.model, upload, error)
        state = "SUPERSEDED" if isinstance(error, Superseded) else "REJECTED"
        return _advance(registry, upload, state, reason={**error.reason(), "where": where}, **made)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _advance(
        registry,
        upload,
        "PREPARED",
        dataset=prepared.dataset,
        spec=spec.to_json(),
        fingerprint=fingerprint(prepared.dataset, spec),
        rows=prepared.schema["rows"],
        target=prepared.schema["target"],
        task=prepared.schema["task"],
        modality=prepared.schema.get("modality", "table"),
        monitor=kept_of_requests(spec, prepared),
        **made,
    )


def _fetch(upload: Upload, uploads: Storage, work: Path, made: dict[str, Item]) -> Path:
    """Copy the file here; why Retrain made it, where it did, is added to `made`."""
    most = limit("upload")
    if upload.size_bytes > most:
        raise BadTable(
            f"{upload.filename} has {upload.size_bytes:,} bytes; the limit is {most:,}.",
            code="UPLOAD_TOO_LARGE",
            remedy="Send a sample, or Parquet, which is smaller.",
        )
    source = work / "upload"
    try:
        read = uploads.read_file(upload.key, source)
    except NotFound as error:
        raise NotFound(
            f"{upload.key} was deleted before it could be read.", code="SOURCE_DELETED", remedy="Upload it again."
        ) from error
    if upload.etag and read["etag"] != upload.etag:  # these bytes have an event, and so a run, of their own
        raise Superseded(f"{upload.key} was overwritten before it could be read.", remedy="Look at the newer run.")
    if upload.made_by_retrain and (trigger := read["metadata"].get(TRIGGER)):
        made["trigger"] = json.loads(trigger)
    return source


def _dataset(upload: Upload, source: Path, artifacts: Storage, spec: Spec, work: Path) -> Prepared:
    prepared = prepare(source, upload.filename, spec, work / "dataset", model=upload.model)
    decision.check(spec.decision, prepared.schema)
    prefix = f"datasets/{upload.model}/{prepared.dataset}/"
    if artifacts.read_json_or_none(prefix + "MANIFEST.json") is None:
        artifacts.write_folder(prepared.folder, prefix)
    return prepared


def read_spec(uploads: Storage, upload: Upload) -> Spec:
    """The tidemill.toml beside the upload, else the model's, else the defaults."""
    for key in dict.fromkeys([upload.folder + SPEC_NAME, f"uploads/{upload.model}/{SPEC_NAME}"]):
        try:
            body = uploads.read_bytes(key)
        except NotFound:
            continue
        try:
            spec = Spec.from_toml(body.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise BadSpec(f"{key} is not UTF-8: {error}", remedy="Save it as UTF-8.") from error
        decision.check(spec.decision)  # before the file is read: half a pair of costs is wrong whatever it holds
        return spec
    return Spec()


def _advance(registry: Registry, upload: Upload, state: str, **fields: object) -> Item:
    """Move the run on; when another delivery of the same event was quicker, take what it made."""
    try:
        return registry.advance(upload.model, upload.run, state, allowed=["RECEIVED"], **fields)
    except Conflict:
        current = registry.run(upload.model, upload.run)
        if current["state"] in TERMINAL or current["state"] in LIVE[1:]:
            return current
        raise


def _write_rejection(artifacts: Storage, model: str, upload: Upload, error: TidemillError) -> str:
    key = f"rejections/{model}/{upload.run}.json"
    artifacts.write_json(key, {"upload": upload.to_json(), "reason": error.reason(), "at": now()})
    return f"s3://{artifacts.bucket}/{key}"
