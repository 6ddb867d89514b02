"""Files to be scored: which one an event speaks of, and how far its scoring is, in the table and in its journal.

Keys: `MODEL#m | SCORING#s`. The version that scores is pinned by the first begin and never changes afterwards: rows
of one file never mix versions, whatever the alias does meanwhile.
"""

from __future__ import annotations

import hashlib
from typing import Any

from tidemill.core.clock import now
from tidemill.core.errors import Conflict, NotFound
from tidemill.core.registry import Registry
from tidemill.core.settings import Settings
from tidemill.core.table import Item, without_keys
from tidemill.core.uploads import Upload

FOLDER = "requests"
LIVE = ("RECEIVED", "RUNNING")
ENDED = frozenset({"DONE", "REJECTED", "FAILED"})
MOST_TRIES = 4  # begins without a new part; at the next, the last that the queue delivers, the scoring has failed


def is_request(upload: Upload) -> bool:
    """Whether an object is a file to be scored: in a model's folder of requests, and no folder marker."""
    return upload.key.startswith(f"{FOLDER}/") and bool(upload.filename) and not upload.key.endswith(".toml")


def scoring_of(upload: Upload) -> str:
    """The scoring a file starts. The same event, however often it comes, and the bucket's list name the same one."""
    which = [upload.version] if upload.version else [upload.etag, upload.sequencer]
    identity = "\n".join([upload.bucket, upload.key, *which])
    return "s-" + hashlib.sha256(identity.encode()).hexdigest()[:12]


class Scorings:
    """The scorings of one deployment."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.table = registry, registry.table

    def of(self, model: str) -> list[Item]:
        """A model's scorings, the newest file first."""
        found = [without_keys(item) for item in self.table.query(f"MODEL#{model}", "SCORING#")]
        return sorted(found, key=lambda item: str(item["order"]), reverse=True)

    def get(self, model: str, scoring: str) -> Item:
        """One scoring; raises NotFound (UNKNOWN_SCORING)."""
        item = self.table.get(f"MODEL#{model}", f"SCORING#{scoring}")
        if item is None:
            text = f"Model {model!r} has no scoring {scoring!r}."
            raise NotFound(text, code="UNKNOWN_SCORING", remedy="List the model's scorings.", model=model)
        return item

    def receive(self, request: Upload) -> Item:
        """Record that a file arrived; the same file received again gives its scoring as it is now."""
        scoring, model = scoring_of(request), request.model
        item = {"scoring": scoring, "model": model, "state": "RECEIVED", "order": request.order, "tries": 0}
        item |= {"request": request.to_json(), "times": {"received": now()}}
        self.table.put_new({"pk": f"MODEL#{model}", "sk": f"SCORING#{scoring}", **item})
        return self._journal(self.get(model, scoring))

    def begin(self, model: str, scoring: str, **pinned: Any) -> Item:
        """Start, or go on with, a scoring that has not ended; what an earlier start pinned stays pinned."""
        sets = "".join(f", {name} = if_not_exists({name}, :{name})" for name in pinned)
        values = {":running": "RUNNING", ":received": "RECEIVED", ":at": now(), ":one": 1, ":zero": 0}
        begun = self.table.update(
            f"MODEL#{model}",
            f"SCORING#{scoring}",
            "SET #state = :running, #times.started = if_not_exists(#times.started, :at), "
            "tries = if_not_exists(tries, :zero) + :one" + sets,
            {**values, **{f":{name}": value for name, value in pinned.items()}},
            condition="#state IN (:received, :running)",
            names={"#state": "state", "#times": "times"},
        )
        return self.get(model, scoring) if begun is None else self._journal(begun)

    def report(self, model: str, scoring: str, progress: Item) -> None:
        """Tell how far it is and count the tries anew; a worker that is behind another one stays unheard."""
        self.table.update(
            f"MODEL#{model}",
            f"SCORING#{scoring}",
            "SET progress = :progress, tries = :zero",
            {":progress": {**progress, "at": now()}, ":parts": progress["parts"], ":running": "RUNNING", ":zero": 0},
            condition="#state = :running AND (attribute_not_exists(progress) OR progress.parts < :parts)",
            names={"#state": "state"},
        )

    def hand_over(self, model: str, scoring: str, job: str) -> Item:
        """Remember the job that goes on with it, unless one is remembered; the scoring as it is then."""
        condition = "attribute_exists(pk) AND attribute_not_exists(job)"
        key = f"SCORING#{scoring}"
        named = self.table.update(f"MODEL#{model}", key, "SET job = :job", {":job": job}, condition=condition)
        return self._journal(self.get(model, scoring) if named is None else named)

    def end(self, model: str, scoring: str, state: str, **fields: Any) -> Item:
        """End a scoring; ending it again the same way is harmless, another way raises Conflict."""
        names = {"#state": "state", "#times": "times", **{f"#f{i}": name for i, name in enumerate(fields)}}
        values = {":state": state, ":received": "RECEIVED", ":running": "RUNNING", ":at": now()}
        ended = self.table.update(
            f"MODEL#{model}",
            f"SCORING#{scoring}",
            "SET #state = :state, #times.ended = :at" + "".join(f", #f{i} = :f{i}" for i in range(len(fields))),
            {**values, **{f":f{i}": value for i, value in enumerate(fields.values())}},
            condition="#state IN (:received, :running)",
            names=names,
        )
        current = self.get(model, scoring) if ended is None else ended
        if current["state"] != state:
            text = f"Scoring {scoring} is {current['state']}; it cannot become {state}."
            raise Conflict(text, remedy="Look at the scoring.", state=current["state"])
        return self._journal(current)

    def _journal(self, item: Item) -> Item:
        model, scoring = item["model"], item["scoring"]
        self.registry._journal_last(f"models/{model}/scorings/{scoring}.json", item, lambda: self.get(model, scoring))
        return item


def job_of(item: Item, settings: Settings, client: Any) -> str:
    """Submit the batch job that goes on with a scoring; its id."""
    names = {"model": item["model"], "scoring": item["scoring"]}
    environment = [{"name": f"TIDEMILL_{name.upper()}", "value": value} for name, value in names.items()]
    submitted = client.submit_job(
        jobName=f"{item['model']}-{item['scoring']}",
        jobQueue=settings.job_queue,
        jobDefinition=settings.job_definition,
        parameters=names,
        containerOverrides={"environment": environment},
        tags={f"tidemill:{name}": value for name, value in names.items()},
    )
    return str(submitted["jobId"])
