"""The loop as most people write it first: overwrite what is there, number by the highest so far, serve what came last.

Honest code with the same parts in the same places as the product, so that the same checker can look at it: one table,
two buckets, a manifest. It has no conditions, no leases, no reasons; it records an upload when it has been read.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from tests.fire.crashing.mill import ARTIFACTS, DATA, TABLE, Message, Mill

from tidemill.core import clients
from tidemill.core.storage import Storage
from tidemill.core.table import Table
from tidemill.core.uploads import uploads_of

Item = dict[str, Any]


def handle(mill: Mill, message: Message) -> bool:
    """Give a message to its handler; one that raises comes back, as with any queue."""
    mill.at_work = message
    work = {"preprocess": preprocess, "train": train, "job": job, "promote": promote}.get(message["stage"])
    if work is None:
        return True
    try:
        work(mill, message)
    except Exception:  # the queue gives it again
        return False
    return True


def preprocess(mill: Mill, message: Message) -> None:
    """Read the file, write the data set, tell the next."""
    table, uploads, artifacts = Table(TABLE), Storage(DATA), Storage(ARTIFACTS)
    for upload in uploads_of(message["body"]):
        lines = uploads.read_bytes(upload.key).decode().splitlines()
        rows = [line for line in lines[1:] if line.count(",") == lines[0].count(",")]
        if not rows:
            raise ValueError("no rows")
        dataset = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
        artifacts.write_bytes(f"datasets/{upload.model}/{dataset}/rows.csv", "\n".join(rows).encode())
        run = {"run": upload.run, "model": upload.model, "state": "PREPARED", "order": upload.order, "dataset": dataset}
        counts = {"read": len(lines) - 1, "used": len(rows), "quarantined": len(lines) - 1 - len(rows)}
        run |= {"upload": upload.to_json(), "fingerprint": dataset, "rows": counts}
        table.put({"pk": f"MODEL#{upload.model}", "sk": f"RUN#{upload.run}", **run})
        _tell("DatasetReady", {"model": upload.model, "run": upload.run})


def train(mill: Mill, message: Message) -> None:
    """Start a job for the data set."""
    names = json.loads(message["body"])["detail"]
    queue = {"jobQueue": "jobs", "jobDefinition": "job"}
    started = clients.client("batch").submit_job(jobName="train", parameters=names, **queue)
    _change(names, state="RUNNING", job=started["jobId"])


def job(mill: Mill, message: Message) -> None:
    """Train, write the model, give it the next number."""
    table, artifacts = Table(TABLE), Storage(ARTIFACTS)
    pk = f"MODEL#{message['model']}"
    run = table.get(pk, f"RUN#{message['run']}") or {}
    bundle = f"bundles/{message['model']}/{message['run']}/"
    model = os.urandom(64)  # no two trainings end alike
    artifacts.write_bytes(bundle + "model.onnx", model)
    listed = [{"name": "model.onnx", "size_bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()}]
    artifacts.write_json(bundle + "MANIFEST.json", {"files": listed})
    number = 1 + max([int(item["version"]) for item in table.query(pk, "VERSION#")], default=0)
    version = {"version": number, "model": message["model"], "run": message["run"], "bundle": bundle}
    table.put({"pk": pk, "sk": f"VERSION#{number:06d}", "fingerprint": run["fingerprint"], **version})
    table.put({"pk": pk, "sk": "META", "head": number})
    _change(message, state="READY", version=number)
    mill.job_went(message["job"], "SUCCEEDED")


def promote(mill: Mill, message: Message) -> None:
    """Serve what was trained last."""
    table, names = Table(TABLE), json.loads(message["body"])["detail"]["parameters"]
    pk = f"MODEL#{names['model']}"
    version = table.query(pk, "VERSION#")[-1]
    alias = {"version": version["version"], "bundle": version["bundle"], "model": names["model"]}
    table.put({"pk": pk, "sk": "ALIAS#champion", **alias})
    _tell("ModelPromoted", {"model": names["model"], "run": version["run"]})


def _change(names: Item, **fields: Any) -> None:
    table, key = Table(TABLE), (f"MODEL#{names['model']}", f"RUN#{names['run']}")
    table.put({"pk": key[0], "sk": key[1], **(table.get(*key) or {}), **fields})


def _tell(name: str, detail: Item) -> None:
    entry = {"EventBusName": "bus", "Source": "naive", "DetailType": name, "Detail": json.dumps(detail)}
    clients.client("events").put_events(Entries=[entry])
