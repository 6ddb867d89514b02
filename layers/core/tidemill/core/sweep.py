"""What the clock sees to: with every event lost, this alone brings each upload and each run to its end.

It decides little. What did not arrive is sent again through the queue that it should have come by; what can no longer
come to an end by itself is given one. Everything here may be done twice, and beside the events that were only late.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from tidemill.core import jobs, stalled
from tidemill.core.clock import now
from tidemill.core.errors import Conflict, Unavailable
from tidemill.core.limits import limit
from tidemill.core.lost import lost_uploads
from tidemill.core.names import may_name
from tidemill.core.rebuild import needs_work
from tidemill.core.registry import LIVE, TERMINAL, Item, Registry
from tidemill.core.retries import is_held, job_of, may_retry, reopen
from tidemill.core.scorings import LIVE as SCORING
from tidemill.core.scorings import Scorings
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.core.uploads import Upload, notification_of

log = logging.getLogger("tidemill.sweep")  # not Powertools: the command line sweeps too, and its stdout is a document
Step = tuple[str, Callable[[], str | None]]  # what it is about, and what does it: the name of what was done
AWAKE = timedelta(hours=1)  # without a sweep for so long, the mill stood still, and no deadline ran
LATE = {
    "RECEIVED": "The upload could not be read within six hours.",
    "PREPARED": "No training job could be submitted within a day.",
    "SUBMITTED": "The training job got no machine within 30 hours.",
    "RUNNING": "The training did not end within two days.",
    "READY": "The version could not be judged within six hours. Promote it by hand if it is good.",
}


@dataclass
class Sweep:
    """One sweep: what it works with, the time it goes by, and whether it waits before it believes a thing lost."""

    registry: Registry
    uploads: Storage
    artifacts: Storage
    settings: Settings
    sqs: Any
    batch: Any
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    hurry: bool = False  # nothing else is at work: after the local stack was killed
    did: list[str] = field(default_factory=list)

    def run(self) -> Counter[str]:
        """Do what has to be done; how often each thing was. Raises Unavailable at the end where something failed."""
        done: Counter[str] = Counter()
        failed = []
        self._wake()
        for about, step in self._steps():
            try:
                if name := step():
                    done[name] += 1
                    self.did.append(f"{about}: {name}")
            except Exception:  # one broken run must not keep the others from their end
                log.exception("A step of the sweep failed for %s; the next sweep tries again.", about)
                failed.append(about)
        if failed:
            raise Unavailable(f"The sweep failed for {', '.join(failed[:5])}.", remedy="Read the log of Sweep.")
        return done

    def _steps(self) -> Iterator[Step]:
        yield "lost uploads", self._take_lost_uploads
        yield "lost requests", self._take_lost_requests
        for model in [item["sk"] for item in self.registry.table.query("MODELS")]:
            for run in self.registry.runs(model):
                if needs_work(run):
                    yield run["run"], partial(self._care, run)
            for scoring in Scorings(self.registry).of(model):
                if scoring["state"] in SCORING:
                    yield scoring["scoring"], partial(self._care_for_scoring, scoring)
            yield model, partial(self._wind_clocks, model)
        for queue in dict.fromkeys([self.settings.job_queue, self.settings.on_demand_queue, self.settings.nodes]):
            if queue:
                yield queue, partial(self._end_orphans, queue)

    def _wake(self) -> None:
        """Note that a sweep is under way, and since when they have come without a long pause."""
        self.mark = self.registry.table.get("SWEEP", "META") or {}
        slept = not self.mark or self.at - _time(self.mark["swept_at"]) > AWAKE
        self.awake_since = self.at if slept else _time(self.mark["awake_since"])
        values = {":at": self.at.isoformat(), ":since": self.awake_since.isoformat()}
        self.registry.table.update("SWEEP", "META", "SET swept_at = :at, awake_since = :since", values)

    # ------------------------------------------------------------------ uploads
    def _take_lost_uploads(self) -> str | None:
        """Record and announce uploads that nobody told of; remember until when the bucket was looked through."""
        since, until = self._window("uploads_until")
        found = lost_uploads(self.registry, self.uploads, self.artifacts, since, until)
        for upload in found:
            if may_name(upload.model):
                self.registry.receive(upload.model, upload.run, upload.order, upload.to_json())
            self._send(self.settings.preprocess_queue_url, notification_of(upload))
        self.registry.table.update("SWEEP", "META", "SET uploads_until = :until", {":until": until.isoformat()})
        return f"{len(found)} uploads found" if found else None

    def _window(self, mark: str) -> tuple[datetime, datetime]:
        """Of what times a bucket's list is looked through: since the sweep before, with room for what shows late."""
        since = datetime(1970, 1, 1, tzinfo=UTC)
        if mark in self.mark:
            since = _time(self.mark[mark]) - timedelta(seconds=limit("sweep_overlap"))
        return since, self.at - timedelta(seconds=0 if self.hurry else limit("sweep_upload"))

    # ------------------------------------------------------------------ files to be scored, clocks
    def _take_lost_requests(self) -> str | None:
        """Announce files to be scored that nobody told of."""
        since, until = self._window("requests_until")
        found = stalled.lost_requests(self.registry, self.uploads, self.artifacts, since, until)
        for request in found:
            self._send(self.settings.score_queue_url, notification_of(request))
        self.registry.table.update("SWEEP", "META", "SET requests_until = :until", {":until": until.isoformat()})
        return f"{len(found)} requests found" if found else None

    def _care_for_scoring(self, scoring: Item) -> str | None:
        """Send a scoring's message again where it should have come, and remember when."""
        body = stalled.message_of(scoring, self.batch, self.at, hurry=self.hurry)
        if body is None:
            return None
        self._send(self.settings.score_queue_url, body)
        key = f"SCORING#{scoring['scoring']}"
        self.registry.table.update(
            f"MODEL#{scoring['model']}",
            key,
            "SET swept = :at",
            {":at": self.at.isoformat()},
            condition="attribute_exists(pk)",
        )
        return "scoring sent again"

    def _wind_clocks(self, model: str) -> str | None:
        """Have a model's schedules looked after where the event of its new version was lost."""
        body = stalled.clocks_message(self.registry, model, self.at, hurry=self.hurry)
        if body is None:
            return None
        self._send(self.settings.retrain_queue_url, body)
        return "clocks sent again"

    # ------------------------------------------------------------------ runs
    def _care(self, run: Item) -> str | None:
        """Give a run its end where it is overdue, else what it waits for where that should have come."""
        waited = (self.at - max(_entered(run), self.awake_since)).total_seconds()
        state = run["state"].lower()
        if waited > limit(f"late_{state}"):
            return self._give_up(run, LATE[run["state"]])
        if not self.hurry and (self.at - _tried(run)).total_seconds() < limit(f"again_{state}"):
            return None
        if run["state"] == "RECEIVED":
            return self._again(run, self.settings.preprocess_queue_url, notification_of(Upload(**run["upload"])))
        if run["state"] == "PREPARED":
            return self._again(run, self.settings.train_queue_url, _event("DatasetReady", run))
        if run["state"] == "READY":
            return self._again(run, self.settings.promote_queue_url, _event("VersionRegistered", run))
        return self._look_after(run)

    def _look_after(self, run: Item) -> str | None:
        """A run that a job has: nothing while the job lives; its end where it ended; another where it is gone."""
        if run["state"] == "RUNNING" and is_held(run, self.at.timestamp()):
            return None
        name = job_of(run)
        job = jobs.described(self.batch, [name]).get(name) if name else None
        if job is not None and job["status"] in jobs.ALIVE:
            return None
        if job is not None and job["status"] == "FAILED":
            body = json.dumps({"source": "tidemill.sweep", "detail-type": "Batch Job State Change", "detail": job})
            return self._again(run, self.settings.promote_queue_url, body)
        if not may_retry(run):
            return self._give_up(run, "Its jobs disappeared, again and again.")
        why = "Batch does not know the job any more." if job is None else "The job ended without a result."
        reopened = reopen(self.registry, run, why)
        return self._again(reopened, self.settings.train_queue_url, _event("DatasetReady", run)) if reopened else None

    def _give_up(self, run: Item, sentence: str) -> str:
        """End a run that cannot come to an end by itself, with a reason."""
        remedy = f"Read the logs, then send the file again: tidemill logs {run['run']}"
        if run["state"] == "READY":
            said = {"promoted": False, "code": "NOT_JUDGED", "message": sentence, "evidence": {}, "at": now()}
            self.registry.decide(run["model"], run["run"], int(run["version"]), said)
            return "given up"
        reason = {"code": "OVERDUE", "message": sentence, "remedy": remedy}
        try:
            self.registry.advance(run["model"], run["run"], "FAILED", allowed=[run["state"]], reason=reason)
        except Conflict:
            return "went on by itself"
        return "given up"

    def _again(self, run: Item, queue_url: str, body: str) -> str | None:
        """Send a run's message again and remember when, so that the next sweep waits for its effect."""
        self._send(queue_url, body)
        tried = {"state": run["state"], "at": self.at.isoformat()}
        self.registry.table.update(
            f"MODEL#{run['model']}",
            f"RUN#{run['run']}",
            "SET swept = :swept",
            {":swept": tried, ":state": run["state"]},
            condition="#state = :state",
            names={"#state": "state"},
        )
        return f"{run['state']} sent again"

    # ------------------------------------------------------------------ jobs
    def _end_orphans(self, queue: str) -> str | None:
        """Terminate jobs that no run needs: theirs has ended, or is not there."""
        before_ms = (self.at.timestamp() - limit("sweep_job")) * 1000
        names = [job["jobId"] for job in jobs.alive(self.batch, queue) if job["createdAt"] < before_ms]
        count = 0
        for name, job in jobs.described(self.batch, names).items():
            if why := self._why_orphan(job.get("parameters") or {}):
                self.batch.terminate_job(jobId=name, reason=why)
                count += 1
        return f"{count} orphan jobs ended" if count else None

    def _why_orphan(self, parameters: Item) -> str:
        """Why a job has no work to do; empty where it has, or is not of this kind."""
        if "model" not in parameters or "run" not in parameters:
            return ""
        run = self.registry.table.get(f"MODEL#{parameters['model']}", f"RUN#{parameters['run']}")
        if run is None:
            return f"Tidemill has no run {parameters['run']}."
        ended = run["state"] in TERMINAL and (self.at - _entered(run)).total_seconds() > limit("sweep_job")
        return f"Run {parameters['run']} is {run['state']} already." if ended else ""

    def _send(self, queue_url: str, body: str) -> None:
        self.sqs.send_message(QueueUrl=queue_url, MessageBody=body)


def _event(kind: str, run: Item) -> str:
    detail = {"model": run["model"], "run": run["run"]}
    return json.dumps({"source": "tidemill.sweep", "detail-type": kind, "detail": detail})


def _entered(run: Item) -> datetime:
    """When a run came into its state; one that was given back to be trained again, when that was."""
    times = run.get("times") or {}
    name = "ended" if run["state"] in TERMINAL else run["state"].lower()
    entered = str(times.get(name) or times.get("received") or run["upload"]["time"])
    again = str((run.get("interrupted") or {}).get("at") or "")
    return _time(max(entered, again) if run["state"] in LIVE else entered)


def _tried(run: Item) -> datetime:
    """When something was last done for a run in its state."""
    swept = run.get("swept") or {}
    entered = _entered(run)
    return max(entered, _time(swept["at"])) if swept.get("state") == run["state"] else entered


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
