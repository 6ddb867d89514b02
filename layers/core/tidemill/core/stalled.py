"""What else may wait for a message that never comes: files to be scored, their jobs, the clocks of a model."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from typing import Any

from tidemill.core import jobs
from tidemill.core.limits import limit
from tidemill.core.lost import current, told, upload_of
from tidemill.core.names import may_name
from tidemill.core.registry import Item, Registry
from tidemill.core.scorings import FOLDER, LIVE, Scorings, is_request, scoring_of
from tidemill.core.storage import Storage
from tidemill.core.uploads import Upload, notification_of

GONE = "Batch does not know the job any more."


def lost_requests(
    registry: Registry, uploads: Storage, artifacts: Storage, since: datetime, until: datetime
) -> list[Upload]:
    """Files under requests/ modified between two times that no scoring knows, oldest first."""
    by_model: dict[str, list[Item]] = defaultdict(list)
    for entry in current(uploads, f"{FOLDER}/"):
        if since <= entry["LastModified"] <= until and is_request(request := upload_of(uploads.bucket, entry)):
            by_model[request.model].append(entry)
    found = []
    for model, entries in by_model.items():
        known = Scorings(registry).of(model) if may_name(model) else []
        for entry in entries:
            request = upload_of(uploads.bucket, entry)
            if not _is_known(request, entry, known) and not _is_refused(request, artifacts):
                found.append(request)
    return sorted(found, key=lambda request: request.order)


def message_of(scoring: Item, batch: Any, at: datetime, *, hurry: bool = False) -> str | None:
    """What a scoring that has not ended waits for in vain; None while somebody is at work on it."""
    if scoring["state"] not in LIVE:
        return None
    if "job" in scoring:
        return _of_its_job(scoring, batch)
    if not hurry and (at - _heard(scoring)).total_seconds() < limit("again_scoring"):
        return None
    return notification_of(Upload(**scoring["request"]))


def clocks_message(registry: Registry, model: str, at: datetime, *, hurry: bool = False) -> str | None:
    """What has Retrain look after a model's schedules, where they are not known to follow the version in service."""
    alias = registry.alias(model)
    if alias is None:
        return None
    kept = registry.table.get(f"MODEL#{model}", "CLOCKS") or {}
    young = (at - datetime.fromisoformat(alias["at"])).total_seconds() < limit("sweep_upload")
    if not hurry and (kept.get("rev") == alias["rev"] or young):
        return None
    return json.dumps({"wake": "clocks", "model": model})


def _of_its_job(scoring: Item, batch: Any) -> str | None:
    job = jobs.described(batch, [scoring["job"]]).get(scoring["job"])
    if job is not None and job["status"] in jobs.ALIVE:
        return None
    ended = {"jobId": scoring["job"], "status": "FAILED", "statusReason": GONE}
    names = {"model": scoring["model"], "scoring": scoring["scoring"]}
    if job is not None:
        ended = {**job, "status": "FAILED"}  # one that ended well would have ended the scoring
    detail = {**ended, "parameters": names}
    return json.dumps({"source": "tidemill.sweep", "detail-type": "Batch Job State Change", "detail": detail})


def _heard(scoring: Item) -> datetime:
    """When something was last heard of a scoring."""
    times, progress = scoring.get("times") or {}, scoring.get("progress") or {}
    told = [times.get("received"), times.get("started"), progress.get("at"), scoring.get("swept")]
    return datetime.fromisoformat(max(str(time) for time in told if time))


def _is_known(request: Upload, entry: Item, known: list[Item]) -> bool:
    """Whether a scoring has this version, or, from before versions were kept, these bytes from no earlier time."""
    for scoring in known:
        other: dict[str, Any] = scoring["request"]
        if other["key"] != request.key:
            continue
        if request.version and other.get("version"):
            if other["version"] == request.version:
                return True
        elif other["etag"] == request.etag and other["time"] >= told(entry["LastModified"])[:19]:
            return True
    return False


def _is_refused(request: Upload, artifacts: Storage) -> bool:
    """Whether the file was refused without a scoring, because its folder cannot name a model."""
    return not may_name(request.model) and artifacts.exists(f"results/_unnamed/{scoring_of(request)}/REJECTED.json")
