"""A bucket in a folder: the calls of an S3 client that `Storage` makes, for work that needs no network in between."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError


class DiskS3:
    """One folder; every bucket is a folder in it, every object a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.puts: list[str] = []

    def _path(self, bucket: str, key: str) -> Path:
        return self.folder / bucket / key

    def put_object(self, *, Bucket: str, Key: str, Body: Any, IfNoneMatch: str = "", **_: Any) -> dict[str, str]:  # noqa: N803
        """Write a file, once where that is asked."""
        path = self._path(Bucket, Key)
        if IfNoneMatch and path.exists():
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Body if isinstance(Body, bytes) else Body.read())
        self.puts.append(Key)
        return {}

    def upload_fileobj(self, stream: Any, bucket: str, key: str, **_: Any) -> None:
        """Write what a stream gives."""
        path = self._path(bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while block := stream.read(1 << 20):
                file.write(block)

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        """Read a file; its ETag is its MD5, as S3's is."""
        path = self._path(Bucket, Key)
        if not path.is_file():
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": _Body(path.read_bytes()), "ETag": f'"{etag(path)}"'}

    def get_paginator(self, _: str) -> Any:
        """Lists files under a prefix in key order."""
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        """One page."""
        root = self.folder / Bucket
        found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        yield {"Contents": [{"Key": key} for key in found if key.startswith(Prefix)]}


class _Body(io.BytesIO):
    def iter_chunks(self, size: int) -> Iterator[bytes]:
        """The content in pieces."""
        while block := self.read(size):
            yield block


def etag(path: Path) -> str:
    """The MD5 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
