"""The edges of scoring files, of drift and of learning from requests."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from tests.core.pictures import zipped
from tests.edges.edge import Edge

from tidemill.core.errors import NotFound
from tidemill.core.labelled import read_feedback
from tidemill.core.retries import may_retry
from tidemill.core.scoring.blocks import Block, open_request
from tidemill.core.scoring.inputs import Reader
from tidemill.core.scoring.results import table_of
from tidemill.serving.monitoring import watch
from tidemill.serving.scoring import Scorer

ALIAS = {"version": 1, "bundle": "bundles/m/1/", "dataset": "d-1"}


def blocks(content: bytes, name: str, modality: str, folder: Path) -> str:
    """Whether a file is scored in more than one piece."""
    path = folder / "upload"
    path.write_bytes(content)
    found = list(open_request(path, name, modality, modality).blocks)
    return "in two pieces" if len(found) > 1 else ""


def rows(count: int, folder: Path) -> str:
    return blocks(b"x,y\n" + b"1,2\n" * count, "t.csv", "table", folder)


def texts(count: int, folder: Path) -> str:
    return blocks(b"text,y\n" + b"a,2\n" * count, "t.csv", "text", folder)


def pictures(count: int, folder: Path) -> str:
    return blocks(zipped({f"{n}.png": b"x" for n in range(count)}), "p.zip", "picture", folder)


def picture_bytes(size: int, folder: Path) -> str:
    """Two pictures, of which the first leaves room for one byte in `size`."""
    return blocks(zipped({"a.png": b"x" * (size - 1), "b.png": b"y"}), "p.zip", "picture", folder)


def carried(count: int, folder: Path) -> str:
    """Columns that training never saw."""
    none: frozenset[str] = frozenset()
    kept = Reader((), {}, none, none, none).carried([f"c{n}" for n in range(count)])
    return "" if len(kept) == count else f"cut to {len(kept)}"


def labels(count: int, folder: Path) -> str:
    """The columns of probabilities for so many labels."""
    block = Block(np.array([1]), {})
    names = [f"k{n}" for n in range(count)]
    made = table_of(block, np.array([True]), [], 1, np.full((1, count), 1 / count, np.float32), names, None)
    found = [name for name in made.column_names if name.startswith("probability")]
    return "" if len(found) == count else f"cut to {len(found)}"


class Scorings:
    """A registry with one scoring that has just arrived, and everything it needs to end well."""

    def __init__(self, size: int) -> None:
        request = {"bucket": "b", "key": "requests/m/u/t.csv", "size_bytes": size}
        self.item: Any = {"model": "m", "scoring": "s-1", "state": "RECEIVED", "tries": 1, "request": request}
        self.table = self

    def update(self, pk: str, sk: str, sets: str, values: dict[str, Any], **_: Any) -> Any:
        """What the table would keep of it."""
        self.item |= {"state": values.get(":state", self.item["state"])}
        self.item |= ALIAS if ":bundle" in values else {}
        self.item |= {"job": values[":job"]} if ":job" in values else {}
        return dict(self.item)

    def alias(self, model: str) -> Any:
        """The version in service."""
        return ALIAS

    def version(self, model: str, number: int) -> Any:
        """The same."""
        return ALIAS

    def _journal_last(self, *_: Any) -> None:
        """Nothing is journalled."""

    def read_json_or_none(self, key: str) -> Any:
        """Results that stand already, so that scoring takes no longer than seeing so."""
        return {"rows": {"read": 1}, "files": []}


def by_function(size: int, folder: Path) -> str:
    """A file of so many bytes: scored by the function, or handed over to a job."""
    world: Any = Scorings(size)
    bus: Any = SimpleNamespace(tell=lambda *_: None)
    ended = Scorer(world, world, world, bus, world, submit=lambda item: "job-1").go_on(dict(world.item))
    return "by a job" if "job" in ended else {"DONE": ""}[ended["state"]]


class Shelf:
    """Objects by their keys, in place of the bucket of artefacts."""

    def __init__(self, held: dict[str, bytes]) -> None:
        self.held = held

    def keys(self, prefix: str) -> Iterator[dict[str, str]]:
        """The keys under a prefix."""
        return ({"Key": key} for key in sorted(self.held) if key.startswith(prefix))

    def read_bytes(self, key: str) -> bytes:
        """What stands there; raises NotFound."""
        if key not in self.held:
            raise NotFound(key)
        return self.held[key]

    def write_bytes(self, key: str, body: bytes, kind: str = "") -> None:
        """Put it there."""
        self.held[key] = body


def logged(count: int, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> dict[str, bytes]:
    """So many files of the request log, each of one request with one row, in their order within a millisecond."""
    return {
        f"traffic/m/{at:%Y-%m-%d}/{at:%H%M%S}000-e-{n:05d}.jsonl.gz": gzip.compress(
            json.dumps(
                {
                    **{"request": f"r{n}", "at": f"{at:%Y-%m-%dT%H:%M:%S}.{n:06d}Z", "status": 200, "version": 1},
                    **{"index": [0], "columns": {"x": [n]}, "scores": [[0.5]]},
                }
            ).encode()
        )
        for n in range(count)
    }


def said(*requests: str) -> dict[str, bytes]:
    """Labels of the rows of these requests."""
    lines = [json.dumps({"request": name, "row": 0, "label": "yes"}) for name in requests]
    return {"labels/m/1.jsonl": "\n".join(lines).encode()}


def labelled(count: int, folder: Path) -> str:
    """Rows with a label, all in the log."""
    shelf: Any = Shelf({**logged(count), **said(*(f"r{n}" for n in range(count)))})
    found = read_feedback("m", shelf, ["x"])
    return "" if len(found.rows) == count else f"cut to the newest {len(found.rows)}"


def searched(count: int, folder: Path) -> str:
    """Files of the log, of which the oldest has the row that is looked for."""
    shelf: Any = Shelf({**logged(count), **said("r0")})
    return {1: "", 0: "not found"}[len(read_feedback("m", shelf, ["x"]).rows)]


def window(count: int, folder: Path) -> str:
    """Rows that Monitor sees; so few that it waits for more, and says how many there are."""
    now = datetime.now(UTC) - timedelta(seconds=30)
    shelf: Any = Shelf(logged(count, now))
    version = {"version": 1, "created": (now - timedelta(hours=1)).isoformat()}
    table = SimpleNamespace(get=lambda *_: None, update=lambda *_, **__: {}, put=lambda *_: None)
    world: Any = SimpleNamespace(alias=lambda _: version, version=lambda *_: version, table=table)
    seen = watch("m", world, shelf, world, "", settle_s=0)["rows"]
    return "" if seen == count else f"cut to {seen}"


def jobs(count: int, folder: Path) -> str:
    """Whether a run whose jobs were interrupted goes on in its n-th further job."""
    return "" if may_retry({"retries": count - 1}) else "no more"


EDGES = {
    "score_function": Edge(by_function, "by a job"),
    "score_rows": Edge(rows, "in two pieces", small=70),
    "score_texts": Edge(texts, "in two pieces"),
    "score_pictures": Edge(pictures, "in two pieces"),
    "score_picture_bytes": Edge(picture_bytes, "in two pieces", small=100),
    "score_carried": Edge(carried, "cut to 16"),
    "score_labels": Edge(labels, "cut to 1"),
    "labelled_rows": Edge(labelled, "cut to the newest 5", small=5),
    "traffic_files": Edge(searched, "not found", small=3),
    "window_rows": Edge(window, "cut to 5", small=5),
    "retries": Edge(jobs, "no more"),
}
