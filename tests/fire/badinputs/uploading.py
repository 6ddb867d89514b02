"""The public door of a file: it is put into a bucket, and Preprocess is woken in a process of its own, as deployed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
import uuid
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.core.pictures import class_folders, zipped

from tidemill.core.registry import Registry
from tidemill.core.storage import Storage
from tidemill.core.uploads import notification_of, uploads_of

LONGEST_S = 30
MOST_MEMORY = 1 << 30
FRESH = 100 << 20  # what Preprocess holds when it has started; a child of this process starts with what this one holds


@dataclass
class Found:
    """What became of one upload."""

    name: str
    run: dict[str, Any]
    peak_bytes: int
    log: str
    seconds: float = 0.0  # that Preprocess took, its start included
    files: list[str] = field(default_factory=list)  # of the dataset, by their names
    profile: dict[str, Any] = field(default_factory=dict)
    schema: dict[str, Any] = field(default_factory=dict)
    rejection: str = ""
    folder: Any = None  # reads a file of the dataset by its name

    @property
    def codes(self) -> set[str]:
        """Every code that the user is told."""
        told = {warned["code"] for warned in self.profile.get("warnings", [])} | set(
            self.profile.get("quarantined", {})
        )
        return told | ({self.run["reason"]["code"]} if "reason" in self.run else set())

    def kind(self, column: str) -> tuple[str, str]:
        """A column's kind and role."""
        (found,) = [item for item in self.schema["columns"] if item["name"] == column]
        return found["kind"], found["role"]


@dataclass
class Entrance:
    """The bucket that uploads go to, the registry, and what Preprocess is given in its environment."""

    registry: Registry
    uploads: Storage
    artifacts: Storage
    environment: dict[str, str]

    def send(self, name: str, content: bytes, log: Path) -> Found:
        """Upload a file to a model of its own and let Preprocess take it."""
        model = f"b-{uuid.uuid4().hex[:10]}"
        key = f"uploads/{model}/u1/{Path(name).name}"
        self.uploads.write_bytes(key, content)
        head = self.uploads.client.head_object(Bucket=self.uploads.bucket, Key=key)
        told = {"key": key, "size": len(content), "eTag": head["ETag"].strip('"'), "sequencer": "0055AED6DCD90281E5"}
        s3 = {"bucket": {"name": self.uploads.bucket}, "object": told}
        body = json.dumps(
            {"Records": [{"eventName": "ObjectCreated:Put", "eventTime": "2026-01-01T00:00:00.000Z", "s3": s3}]}
        )
        (upload,) = uploads_of(body)
        started = time.monotonic()
        status, peak, answer = self.wake(notification_of(upload), log)
        took = time.monotonic() - started
        assert status == 0, f"Preprocess ended with status {status}: {log.read_text()[-1500:]}"
        assert answer == {"batchItemFailures": []}, log.read_text()[-3000:]
        kept = self.uploads.read_bytes(key)
        assert hashlib.sha256(kept).digest() == hashlib.sha256(content).digest(), "the upload itself was changed"
        return self._found(Found(name, self.registry.run(model, upload.run), peak, log.read_text(), took))

    def wake(self, body: str, log: Path) -> tuple[int, int, Any]:
        """Preprocess with one message, in a child that is ended after 30 s; its status, peak memory and answer."""
        answer, held = log.with_suffix(".answer"), _resident_bytes()
        child = os.fork()
        if child == 0:
            _in_child(self.environment, body, log, answer)
        _, status, usage = os.wait4(child, 0)
        code = os.waitstatus_to_exitcode(status)
        peak = FRESH + usage.ru_maxrss * 1024 - held
        return code, peak, json.loads(answer.read_text()) if code == 0 else None

    def _found(self, found: Found) -> Found:
        run = found.run
        if run["state"] == "REJECTED":
            bucket, _, key = run["reason"]["where"].removeprefix("s3://").partition("/")
            assert bucket == self.artifacts.bucket
            found.rejection = self.artifacts.read_bytes(key).decode()
            return found
        prefix = f"datasets/{run['model']}/{run['dataset']}/"
        found.folder = lambda part: io.BytesIO(self.artifacts.read_bytes(prefix + part))
        found.files = [entry["name"] for entry in self.artifacts.read_json(prefix + "MANIFEST.json")["files"]]
        assert found.files
        found.profile, found.schema = (
            self.artifacts.read_json(f"{prefix}{part}.json") for part in ("profile", "schema")
        )
        return found


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def as_upload(entry: dict[str, Any], content: bytes) -> tuple[str, bytes]:
    """A picture that is set aside or taken is one of many in a zip; everything else is sent as it is."""
    if entry["modality"] != "image" or entry["expected"] == "rejected":
        return str(entry["name"]), content
    packed = zipped({**class_folders(), f"cat/{Path(entry['name']).name}": content})
    assert zipfile.is_zipfile(io.BytesIO(packed))
    return Path(entry["name"]).stem + ".zip", packed


def _in_child(environment: dict[str, str], body: str, log: Path, answer: Path) -> None:
    """Run the handler and leave the process; never returns."""
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONGEST_S)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
        os.environ.update(environment)
        import boto3

        import preprocess
        from tidemill.core import clients

        boto3.setup_default_session()
        clients.forget()
        preprocess.logger._logger.handlers[0].setStream(sys.stdout)
        event = {"Records": [{"messageId": "m1", "receiptHandle": "h", "body": body}]}
        answer.write_text(json.dumps(preprocess.handler(event, None)))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
