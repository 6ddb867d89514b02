"""Files in a bucket: the only place that talks to S3."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tidemill.core import clients, manifest
from tidemill.core.errors import BadBundle, NotFound

_MISSING = {"404", "NoSuchKey", "NotFound"}
_REFUSED = {"403", "AccessDenied"}
_TAKEN = {"412", "PreconditionFailed"}
_CHANGING = {"409", "ConditionalRequestConflict"}  # another write of the key is under way: AWS asks to try again
READS = 4  # the client tries calls again, but not bodies that break off
WRITES = 5
PAUSE_S = 0.1


class Storage:
    """One bucket. `client` is a boto3 S3 client; one is made where none is given."""

    def __init__(self, bucket: str, client: Any = None) -> None:
        self.bucket = bucket
        self.client = client if client is not None else clients.client("s3")

    def read_bytes(self, key: str) -> bytes:
        """The object's content; raises NotFound."""
        body: bytes = self._read(key, lambda answer: answer["Body"].read())
        return body

    def read_json(self, key: str) -> Any:
        """The object's content as JSON; raises NotFound."""
        return json.loads(self.read_bytes(key))

    def read_json_or_none(self, key: str) -> Any:
        """The object's content as JSON, or None where there is no such object."""
        try:
            return self.read_json(key)
        except NotFound:
            return None

    def read_file(self, key: str, path: Path) -> dict[str, Any]:
        """Copy an object to a file while hashing it; returns size_bytes, sha256, etag, metadata. Raises NotFound."""
        path.parent.mkdir(parents=True, exist_ok=True)

        def copy(answer: dict[str, Any]) -> dict[str, Any]:
            digest, size_bytes = hashlib.sha256(), 0
            with path.open("wb") as file:
                for block in answer["Body"].iter_chunks(1 << 20):
                    digest.update(block)
                    size_bytes += len(block)
                    file.write(block)
            etag, metadata = answer.get("ETag", "").strip('"'), answer.get("Metadata") or {}
            return {"size_bytes": size_bytes, "sha256": digest.hexdigest(), "etag": etag, "metadata": metadata}

        copied: dict[str, Any] = self._read(key, copy)
        return copied

    def exists(self, key: str) -> bool:
        """Whether there is such an object, asked by listing."""
        listed = self.client.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        return bool(listed) and bool(listed[0]["Key"] == key)

    def write_bytes(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        """Put an object, replacing what was there."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def write_new(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """Put an object unless there is one; False where there is, be it our own from a write whose answer was lost."""
        put = {"Bucket": self.bucket, "Key": key, "Body": body, "ContentType": content_type}
        for left in reversed(range(WRITES)):
            try:
                self.client.put_object(**put, IfNoneMatch="*")
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code in _TAKEN:
                    return False
                if code not in _CHANGING or not left:
                    raise
                time.sleep(PAUSE_S * (WRITES - left))
            else:
                break
        return True

    def write_stream(self, key: str, stream: IO[bytes], content_type: str = "application/octet-stream") -> None:
        """Put what a stream gives, piece by piece, replacing what was there."""
        more = {"ContentType": content_type}
        self.client.upload_fileobj(stream, self.bucket, key, ExtraArgs=more, Config=TransferConfig(use_threads=False))

    def write_json(self, key: str, value: Any) -> None:
        """Put a JSON object, replacing what was there."""
        self.write_bytes(key, json.dumps(value, indent=1, sort_keys=True).encode(), "application/json")

    def keys(self, prefix: str) -> Iterator[dict[str, Any]]:
        """The objects under a prefix, in key order, as S3 lists them (Key, Size, ETag, LastModified)."""
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            yield from page.get("Contents", [])

    def write_folder(self, folder: Path, prefix: str) -> None:
        """Copy a folder with a manifest to a prefix, the manifest last, so that readers see all of it or nothing."""
        named = [entry["name"] for entry in manifest.read(folder)["files"]]
        for name in [*named, manifest.NAME]:
            with (folder / name).open("rb") as file:
                self.client.put_object(
                    Bucket=self.bucket, Key=prefix + name, Body=file, ContentType=_content_type(name)
                )

    def read_folder(self, prefix: str, folder: Path) -> dict[str, Any]:
        """Copy a complete prefix to a folder and check every hash; raises BadBundle. Returns the manifest."""
        try:
            listed = manifest.parsed(self.read_bytes(prefix + manifest.NAME), prefix)
            for entry in listed["files"]:
                self.read_file(prefix + entry["name"], folder / entry["name"])
        except NotFound as error:
            raise BadBundle(f"{prefix} is incomplete: {error.message}", remedy="Train again.") from error
        (folder / manifest.NAME).write_text(json.dumps(listed, indent=1, sort_keys=True))
        return manifest.check(folder)

    def _read(self, key: str, take: Callable[[dict[str, Any]], Any]) -> Any:
        """What `take` makes of an object, from its beginning again where its body breaks off; raises NotFound."""
        for left in reversed(range(READS)):
            try:
                return take(self.client.get_object(Bucket=self.bucket, Key=key))
            except ClientError as error:
                raise self._failure(key, error) from error
            except clients.BROKEN:
                if not left:
                    raise
                time.sleep(PAUSE_S * (READS - left))
        raise AssertionError("unreachable")

    def _failure(self, key: str, error: ClientError) -> Exception:
        """NotFound where the object is missing, else the error.

        S3 answers 403 instead of 404 where the right to list is limited to prefixes, so a refusal is looked into.
        """
        code = error.response.get("Error", {}).get("Code", "")
        if code in _MISSING or (code in _REFUSED and not self.exists(key)):
            text = f"s3://{self.bucket}/{key} does not exist."
            return NotFound(text, remedy="Check the key.", code="NO_SUCH_OBJECT")
        failure: Exception = error
        return failure


def _content_type(name: str) -> str:
    kinds = {
        ".json": "application/json",
        ".html": "text/html; charset=utf-8",
        ".parquet": "application/vnd.apache.parquet",
    }
    return kinds.get(Path(name).suffix, "application/octet-stream")
