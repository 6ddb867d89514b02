"""The edges of requests, feedback and what is sent for them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.doubles.plane import Plane
from tests.edges.archives import png
from tests.edges.edge import Edge, code_of

from tidemill.core import feedback
from tidemill.core.errors import TooLarge
from tidemill.serving import bodies
from tidemill.serving.inbox import Inbox
from tidemill.serving.intake import rows_for
from tidemill.serving.payloads import Payload

JSON = {"content-type": "application/json"}


def body(size: int, folder: Path) -> str:
    return code_of(lambda: bodies.read(b'{"row": {"x": 1}}'.ljust(size), JSON, "", "predict"))


def binary(size: int, folder: Path) -> str:
    return code_of(lambda: bodies.read(bytes(size), {"content-type": "image/png"}, "", "predict"))


def parts(count: int, folder: Path) -> str:
    """A form of so many pictures."""
    one = '--b\r\ncontent-disposition: form-data; name="picture"; filename="a.png"\r\n\r\nx\r\n'
    kind = {"content-type": "multipart/form-data; boundary=b"}
    return code_of(lambda: bodies.read((one * count + "--b--\r\n").encode(), kind, "", "predict"))


def headers(size: int, folder: Path) -> str:
    return code_of(lambda: bodies.check_headers([("x-a", "v" * (size - 3))]))


def rows(verb: str) -> Any:
    """Rows of a table in one body."""

    def attempt(count: int, folder: Path) -> str:
        sent = json.dumps({"rows": [{"x": 1}] * count}).encode()
        return code_of(lambda: bodies.read(sent, JSON, "", verb))

    return attempt


def asked(modality: str, verb: str, contents: list[Any], size: tuple[int, int] = (8, 8)) -> str:
    """Pictures or texts, asked of a model that looks at pictures of this size."""
    program = SimpleNamespace(columns=(modality,), size=size, read_rows=lambda rows: {"picture": contents})
    model: Any = SimpleNamespace(modality=modality, program=program)
    payload = Payload([{modality: content} for content in contents], sent=modality)
    inbox: Any = None  # no row names a key
    return code_of(lambda: rows_for(model, payload, "m", verb, inbox))


def examples(modality: str, verb: str) -> Any:
    """So many pictures or texts."""
    return lambda count, folder: asked(modality, verb, [b"" if modality == "picture" else "a"] * count)


def pixels_explained(count: int, folder: Path) -> str:
    """Two pictures that have so many pixels together, as the model sees them."""
    return asked("picture", "explain", [b""] * 2, (1, -(-count // 2)))


class Objects:
    """Files of a size each, as the bucket gives them."""

    def get_object(self, bucket: str, key: str, most: int | None = None) -> bytes:
        """So many bytes as the key ends in."""
        size = int(key.rpartition("-")[2])
        if most is not None and size > most:
            raise TooLarge(f"The file has {size} bytes; {most} are read.", remedy="Send less.")
        return bytes(size)


def inbox(size: int, folder: Path) -> str:
    """Two files that have so many bytes together."""
    keys = {0: f"inbox/m/a-{size // 2}", 1: f"inbox/m/b-{size - size // 2}"}
    return code_of(lambda: Inbox(Objects(), "data").read("m", keys))


def labels(count: int, folder: Path) -> str:
    sent = [{"request": f"r{n}", "row": 0, "label": "yes"} for n in range(count)]
    return code_of(lambda: feedback.checked(sent, {"labels": ["yes", "no"], "task": "binary"}))


def backbone(size: int, folder: Path) -> str:
    """A form for weights of so many bytes."""
    asked = {"purpose": "backbone", "model": "lite0", "filename": "model.safetensors", "size_bytes": size}
    with Plane().client() as http:
        answer = http.post("/uploads", json=asked).json()
    return str(answer.get("code", ""))


EDGES = {
    "request": Edge(body, "TOO_LARGE"),
    "request_binary": Edge(binary, "TOO_LARGE"),
    "request_parts": Edge(parts, "TOO_LARGE"),
    "request_headers": Edge(headers, "HEADERS_TOO_LARGE"),
    "request_rows": Edge(rows("predict"), "TOO_LARGE"),
    "request_rows_explained": Edge(rows("explain"), "TOO_LARGE"),
    "request_pictures": Edge(examples("picture", "predict"), "TOO_LARGE"),
    "request_pictures_explained": Edge(examples("picture", "explain"), "TOO_LARGE"),
    "request_pixels": Edge(lambda n, at: asked("picture", "predict", [png(n, 1)]), "TOO_LARGE", small=1_000),
    "request_pixels_explained": Edge(pixels_explained, "TOO_LARGE"),
    "request_texts": Edge(examples("text", "predict"), "TOO_LARGE"),
    "request_texts_explained": Edge(examples("text", "explain"), "TOO_LARGE"),
    "feedback_labels": Edge(labels, "TOO_LARGE"),
    "inbox": Edge(inbox, "TOO_LARGE", small=2_500),
    "backbone": Edge(backbone, "TOO_LARGE"),
}
