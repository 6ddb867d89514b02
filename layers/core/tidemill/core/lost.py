"""Uploads whose event never came: found in the bucket's own list, and made what the event would have made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tidemill.core.names import may_name
from tidemill.core.registry import Item, Registry
from tidemill.core.storage import Storage
from tidemill.core.uploads import Upload, version_of


def lost_uploads(
    registry: Registry, uploads: Storage, artifacts: Storage, since: datetime, until: datetime
) -> list[Upload]:
    """Objects under uploads/ modified between two times that no run knows, oldest first."""
    by_model: dict[str, list[Item]] = defaultdict(list)
    for entry in current(uploads, "uploads/"):
        if since <= entry["LastModified"] <= until and (upload := upload_of(uploads.bucket, entry)).is_data():
            by_model[upload.model].append(entry)
    found = []
    for model, entries in by_model.items():
        known = registry.runs(model) if may_name(model) else []
        for entry in entries:
            upload = upload_of(uploads.bucket, entry, known)
            if not _is_known(upload, entry, known) and not _is_refused(upload, artifacts):
                found.append(upload)
    return sorted(found, key=lambda upload: upload.order)


def current(storage: Storage, prefix: str) -> Iterator[Item]:
    """The newest version of each object under a prefix, as ListObjectVersions shows it; deleted ones are not there."""
    pages = storage.client.get_paginator("list_object_versions").paginate(Bucket=storage.bucket, Prefix=prefix)
    for page in pages:
        yield from (entry for entry in page.get("Versions", []) if entry.get("IsLatest"))


def upload_of(bucket: str, entry: Item, known: list[Item] | None = None) -> Upload:
    """An upload as the bucket remembers it.

    S3 keeps whole seconds, so the end of that second counts; and no upload is older than those that came before under
    its own key, because it is the newest version of that key.
    """
    key, stamp = str(entry["Key"]), entry["LastModified"]
    times = [str(run["upload"]["time"]) for run in known or [] if run["upload"]["key"] == key]
    return Upload(
        bucket=bucket,
        key=key,
        size_bytes=int(entry["Size"]),
        etag=str(entry["ETag"]).strip('"'),
        sequencer="F" * 32,
        time=max([told(stamp if stamp.microsecond else stamp + timedelta(milliseconds=999)), *times]),
        version=version_of(entry.get("VersionId")),
    )


def told(stamp: datetime) -> str:
    """A time of the bucket's list as an event would write it."""
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_known(upload: Upload, entry: Item, known: list[Item]) -> bool:
    """Whether a run has this version, or, from before versions were kept, these bytes from no earlier time."""
    modified = told(entry["LastModified"])[:19]
    for run in known:
        other: dict[str, Any] = run["upload"]
        if other["key"] != upload.key:
            continue
        if upload.version and other.get("version") == upload.version:
            return True
        if not (other.get("version") and upload.version) and other["etag"] == upload.etag and other["time"] >= modified:
            return True
    return False


def _is_refused(upload: Upload, artifacts: Storage) -> bool:
    """Whether the upload was refused without a run, because its folder cannot name a model."""
    return not may_name(upload.model) and artifacts.exists(f"rejections/_unnamed/{upload.run}.json")
