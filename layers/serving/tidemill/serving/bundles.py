"""Bundles on the disk of this process: fetched once a version, checked against their manifest, a few kept open."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tidemill.core import manifest
from tidemill.core.errors import BadBundle, NotFound
from tidemill.serving.predictor import Predictor

# Those a bundle has; features.npz is what a program of texts knows.
PREDICTING = ("features.json", "features.npz", "labels.json", "outputs.json", "model.onnx", "weights.bin")
EXPLAINING = "explain.onnx"
MUST = frozenset({"features.json", "labels.json", "model.onnx"})
MOST_OPEN = 4  # models; memory and /tmp hold a few of the usual size


class Objects(Protocol):
    """Where bundles are read from."""

    def get_object(self, bucket: str, key: str) -> bytes: ...


@dataclass(frozen=True)
class Opened:
    """A bundle that answers, and what is needed to fetch its other files."""

    model: str
    bundle: str
    files: Mapping[str, Mapping[str, Any]]
    predictor: Predictor


class Bundles:
    """The open bundles of a process: one version a model, two while another stands beside the one in service."""

    def __init__(self, objects: Objects, bucket: str, folder: Path) -> None:
        self.objects, self.bucket, self.folder = objects, bucket, folder
        self.opened: OrderedDict[str, Opened] = OrderedDict()  # by bundle, the least used first
        self.lock = threading.Lock()  # the control plane answers in several threads

    def predictor(self, model: str, bundle: str, *, explain: bool = False, beside: Collection[str] = ()) -> Predictor:
        """The predictor of a bundle; with `explain`, its explanation graph lies beside it. Raises BadBundle.

        Of the model's other bundles those in `beside` stay open, if they are, and no more.
        """
        opened = self.opened.get(bundle)
        if opened is None or explain:
            with self.lock:
                opened = self._open(model, bundle, beside)
                if explain and EXPLAINING in opened.files:
                    self._fetch(bundle, opened.files, (EXPLAINING,))
                    _ = opened.predictor.explain_session  # opened before another thread may put a new version here
        return opened.predictor

    def _open(self, model: str, bundle: str, beside: Collection[str]) -> Opened:
        opened = self.opened.get(bundle)
        if opened is None:
            files = self._files(bundle)
            self._fetch(bundle, files, PREDICTING)
            opened = Opened(model, bundle, files, Predictor.load(self._place(bundle)))
            self._close_others(model, {bundle, *beside})
        self.opened[bundle] = opened
        self.opened.move_to_end(bundle)
        while len({item.model for item in self.opened.values()}) > MOST_OPEN:
            self._close(next(iter(self.opened)))
        return opened

    def _close_others(self, model: str, kept: set[str]) -> None:
        for name in [name for name, item in self.opened.items() if item.model == model and name not in kept]:
            self._close(name)

    def _close(self, bundle: str) -> None:
        """Forget a bundle and free its disk; a file that a session has mapped lives on until the session ends."""
        if self.opened.pop(bundle, None) is not None:
            for path in self._place(bundle).iterdir():
                path.unlink(missing_ok=True)

    def _files(self, bundle: str) -> dict[str, Mapping[str, Any]]:
        try:
            described = json.loads(self.objects.get_object(self.bucket, bundle + manifest.NAME))
            files = {entry["name"]: entry for entry in described["files"]}
        except (NotFound, ValueError, LookupError, TypeError) as error:
            raise BadBundle(
                f"{bundle} has no readable {manifest.NAME}.", remedy="Go back to a version before."
            ) from error
        if missing := MUST - files.keys():
            raise BadBundle(f"{bundle} lacks {', '.join(sorted(missing))}.", remedy="Go back to a version before.")
        return files

    def _place(self, bundle: str) -> Path:
        return self.folder / bundle.strip("/").replace("/", "_")

    def _fetch(self, bundle: str, files: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> None:
        """Bring files of a bundle to the disk; one that lies there with the right hash is not read again."""
        place = self._place(bundle)
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            if name in files and not _holds(place / name, files[name]):
                _write(place / name, self._read(bundle + name, files[name]))

    def _read(self, key: str, entry: Mapping[str, Any]) -> bytes:
        try:
            content = self.objects.get_object(self.bucket, key)
        except NotFound as error:
            raise BadBundle(
                f"{key} is named in the manifest but missing.", remedy="Go back to a version before."
            ) from error
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise BadBundle(f"{key} differs from its manifest.", remedy="Go back to a version before.")
        return content


def _holds(path: Path, entry: Mapping[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == entry["size_bytes"] and manifest.sha256_of(path) == entry["sha256"]


def _write(path: Path, content: bytes) -> None:
    """Write a file that others see whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    partial.write_bytes(content)
    partial.replace(path)
