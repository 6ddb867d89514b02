"""The S3 event that starts everything: which upload it is, and when it came."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote_plus

from tidemill.core.errors import BadRequest

SEQUENCER_LENGTH = 32
TRIGGER = "tidemill-trigger"  # the metadata of a file that Retrain made: why, and of what


@dataclass(frozen=True)
class Upload:
    """One object written under uploads/, as its event described it."""

    bucket: str
    key: str
    size_bytes: int
    etag: str
    sequencer: str
    time: str  # ISO 8601, UTC
    version: str = ""  # of the object, where the bucket keeps versions

    @property
    def model(self) -> str:
        """The second part of the key: uploads/{model}/..."""
        parts = self.key.split("/")
        return parts[1] if len(parts) > 2 else ""

    @property
    def filename(self) -> str:
        """The last part of the key."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def folder(self) -> str:
        """The key up to and including its last slash."""
        return self.key[: len(self.key) - len(self.filename)]

    @property
    def run(self) -> str:
        """The run this upload starts. The same event, however often it comes, names the same run.

        So does the bucket's own list of versions, which has no sequencers: an upload found by the sweep and its event
        that comes late are one run.
        """
        which = [self.version] if self.version else [self.etag, self.sequencer]
        identity = "\n".join([self.bucket, self.key, *which])
        return "r-" + hashlib.sha256(identity.encode()).hexdigest()[:12]

    @property
    def order(self) -> str:
        """Sorts uploads by arrival. Sequencers order one key's events; time, to the millisecond, orders keys."""
        return f"{self.time}#{padded(self.sequencer)}"

    def to_json(self) -> dict[str, Any]:
        """The upload as the registry stores it."""
        return asdict(self)

    @property
    def made_by_retrain(self) -> bool:
        """Whether the key is one that Retrain writes: uploads/{model}/retrain/{id}/..."""
        parts = self.key.split("/")
        return len(parts) == 5 and parts[2] == "retrain"

    def is_data(self) -> bool:
        """Whether the object is a data set: not a folder marker, not a specification, in a model's folder."""
        return self.key.startswith("uploads/") and bool(self.filename) and not self.key.endswith(".toml")


def padded(sequencer: str) -> str:
    """A sequencer that compares as text: S3 asks for zeros on the right of the shorter one."""
    return sequencer.upper().ljust(SEQUENCER_LENGTH, "0")


def version_of(name: str | None) -> str:
    """An object's version; empty in a bucket that keeps none, which S3 calls null."""
    return "" if name in (None, "null") else str(name)


def uploads_of(body: str) -> list[Upload]:
    """The uploads in one S3 notification; none in a test event or of deletions. Raises BadRequest on others."""
    found = [_upload_of(record) for record in _records_of(body) if _is_creation(record)]
    return [upload for upload in found if upload is not None]


def notification_of(upload: Upload) -> str:
    """An S3 notification for an upload, as S3 would send it: for putting a lost event back."""
    return json.dumps(
        {
            "Records": [
                {
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "eventTime": upload.time,
                    "s3": {
                        "bucket": {"name": upload.bucket},
                        "object": {
                            "key": upload.key.replace("%", "%25").replace("+", "%2B").replace(" ", "+"),
                            "size": upload.size_bytes,
                            "eTag": upload.etag,
                            "sequencer": upload.sequencer,
                            **({"versionId": upload.version} if upload.version else {}),
                        },
                    },
                }
            ]
        }
    )


def _records_of(body: str) -> list[Any]:
    try:
        message = json.loads(body)
    except ValueError:
        message = None
    if isinstance(message, dict) and message.get("Event") == "s3:TestEvent":
        return []
    if isinstance(message, dict) and isinstance(message.get("Records"), list):
        return list(message["Records"])
    raise BadRequest(
        "The message is no notification of S3.",
        code="NOT_A_NOTIFICATION",
        remedy="Look at it among the dead letters; the sweep finds the upload that it may have been about.",
    )


def _is_creation(record: Any) -> bool:
    return isinstance(record, dict) and str(record.get("eventName", "")).startswith("ObjectCreated")


def _upload_of(record: dict[str, Any]) -> Upload | None:
    try:
        s3 = record["s3"]
        return Upload(
            bucket=s3["bucket"]["name"],
            key=unquote_plus(s3["object"]["key"]),
            size_bytes=int(s3["object"].get("size", 0)),
            etag=str(s3["object"].get("eTag", "")).strip('"'),
            sequencer=str(s3["object"].get("sequencer", "")),
            time=str(record.get("eventTime", "")),
            version=version_of(s3["object"].get("versionId")),
        )
    except (KeyError, TypeError, ValueError):
        return None
