"""What people do in a run: two data sets for one model, a poisoned file, a rollback, a retraining, a file to score."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from tests.doubles.memory_aws import MemoryAws
from tests.fire.crashing.mill import ARTIFACTS, DATA, MODEL, TABLE, Mill, put

from tidemill.core.errors import Conflict
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage

SPEC = b'[train]\nfamily = "mlp"\nepochs = 2\nmembers = 1\n[search]\nconfigurations = 1\nfolds = 1\n'
TEST_EVENT = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": DATA})
Step = Callable[[Mill], None]


@cache
def table(seed: int, rows: int = 240) -> bytes:
    """A small table with something to learn."""
    draw = random.Random(seed)
    lines = ["age,hours,job,bought"]
    for _ in range(rows):
        age, hours, job = draw.randint(18, 80), draw.randint(1, 60), draw.choice(["clerk", "smith", "cook"])
        bought = age + hours + (20 if job == "cook" else 0) + draw.gauss(0, 8) > 85
        lines.append(f"{age},{hours},{job},{'yes' if bought else 'no'}")
    return "\n".join(lines).encode()


def upload(name: str, body: bytes, spec: bytes = SPEC) -> Step:
    """A person uploads a file."""

    def step(mill: Mill) -> None:
        put(mill, DATA, f"uploads/{MODEL}/tidemill.toml", spec)
        put(mill, DATA, f"uploads/{MODEL}/{name}/table.csv", body)

    return step


def both(*steps: Step) -> Step:
    """Steps of which none waits for the other."""

    def step(mill: Mill) -> None:
        for one in steps:
            one(mill)

    return step


def test_event(mill: Mill) -> None:
    """What S3 sends when a bucket is told to notify."""
    mill.send("preprocess", body=TEST_EVENT)


def person(act: str, **said: object) -> Step:
    """A person moves the alias, and says it again where no answer came."""

    def step(mill: Mill) -> None:
        def do() -> None:
            registry = Registry(TABLE, Storage(ARTIFACTS))
            with suppress(Conflict):  # the person reads why not
                getattr(registry, act)(MODEL, by="person", why="because", **said)

        mill.send("person", act=do)

    return step


def wait(seconds: int) -> Step:
    """Time goes by."""
    return lambda mill: mill.wait(seconds)


def sweep(mill: Mill) -> None:
    """The clock wakes Sweep, two hours later."""
    mill.wait(7200)
    mill.send("sweep", body="{}")


def monitor(mill: Mill) -> None:
    """The clock wakes Monitor."""
    mill.send("monitor", body=json.dumps({"wake": "monitor", "model": MODEL}))


def score(mill: Mill) -> None:
    """A file to be scored comes."""
    put(
        mill,
        DATA,
        f"requests/{MODEL}/u1/people.csv",
        b"\n".join(line.rsplit(b",", 1)[0] for line in table(9, 60).split(b"\n")),
    )


def retrain(mill: Mill) -> None:
    """Somebody has said what became of a predicted row, and asks for a training."""
    columns = {"age": [30, 70], "hours": [5, 50], "job": ["cook", "clerk"]}
    logged = {"request": "q-1", "at": "2026-11-01T00:30:00.000Z", "index": [0, 1], "columns": columns}
    body = gzip.compress(json.dumps(logged).encode(), mtime=0)
    put(mill, ARTIFACTS, f"traffic/{MODEL}/2026-11-01/1.jsonl.gz", body)
    put(mill, ARTIFACTS, f"labels/{MODEL}/1.jsonl", json.dumps({"request": "q-1", "row": 1, "label": "yes"}).encode())
    mill.send("retrain", body=json.dumps({"wake": "retrain", "model": MODEL, "why": "hand", "ask": "a-1"}))


def delete(name: str) -> Step:
    """A person deletes an upload, before it was read."""
    return lambda mill: mill.aws.objects.pop((DATA, f"uploads/{MODEL}/{name}/table.csv"), None) and None


POISON = upload("bad", b"\x00\x01\x02 not a table")
SWEEPS = [sweep, sweep, sweep]
TWO = [both(test_event, upload("good1", table(1)), upload("good2", table(2)), POISON), *SWEEPS]
PINNED = [
    both(upload("good1", table(1)), upload("good2", table(2))),
    person("rollback", leaving=2),
    upload("good3", table(3)),
    score,
    *SWEEPS,
]
AGAIN = [upload("good1", table(1)), retrain, score, monitor, *SWEEPS]
SAME = [
    both(upload("good1", table(1)), upload("good2", table(1))),
    upload("good3", table(2)),
    upload("good4", table(1)),
    *SWEEPS,
]
GONE = [
    both(upload("good1", table(1)), upload("good2", table(2)), delete("good1")),
    both(upload("good2", table(3)), upload("good2", table(1))),
    *SWEEPS,
]


def empty() -> MemoryAws:
    """AWS before the first upload."""
    return MemoryAws()
