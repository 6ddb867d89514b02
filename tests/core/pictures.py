"""Pictures and archives drawn for one test."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image

Members = Mapping[str, bytes] | Iterable[tuple[str, bytes]]


def drawn(seed: int, height: int = 24, width: int = 24, grey: bool = False) -> np.ndarray:
    """Smooth blobs, different for every seed."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (4, 4) if grey else (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture file."""
    sink = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(sink, kind, **options)
    return sink.getvalue()


def decoded(data: bytes) -> np.ndarray:
    """The pixels of a picture file, as Pillow gives them."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def class_folders(count: int = 40, prefix: str = "", classes: tuple[str, ...] = ("cat", "dog")) -> dict[str, bytes]:
    """Pictures by path, in turn one of each class."""
    return {f"{prefix}{classes[k % len(classes)]}/{k}.png": encoded(drawn(k, grey=k % 3 == 0)) for k in range(count)}


def pairs(members: Members) -> Iterable[tuple[str, bytes]]:
    """Members as pairs of a name and bytes."""
    return members.items() if isinstance(members, Mapping) else members


def zipped(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of members."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in pairs(members):
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return sink.getvalue()


def tarred(members: Members, mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of members."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in pairs(members):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()
