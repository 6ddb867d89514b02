"""Follows an upload through the pipeline: what happens, how far it is, why it waits, and how long each stage took."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tidemill.cli.client import Api
from tidemill.cli.failures import Answer, TookTooLong
from tidemill.cli.screen import Screen, number, seconds
from tidemill.cli.session import Session
from tidemill.core.progress import Progress

Item = dict[str, Any]
TERMINAL = frozenset({"READY", "REJECTED", "FAILED", "SUPERSEDED", "CANCELLED"})
FIRST_POLL_S, LAST_POLL_S = 0.2, 1.0
DECISION_S = 120.0  # the gate answers within seconds; after this something is stuck and waiting helps nobody
UNUSUAL_S = 60.0
WHY = {
    "schedule": "the clock",
    "drift": "drift",
    "labels": "new labels",
    "hand": "a person",
}  # trained again because of
_QUICK = ("", "RECEIVED", "PREPARED")  # states that a large file may hold for minutes, and nothing else
_WAITING = {
    "": "waiting for the upload's event to arrive",
    "RECEIVED": "reading, checking and splitting the table",
    "PREPARED": "the dataset is ready; a training job is about to be submitted",
    "SUBMITTED": "the training job waits for a machine",
    "READY": "the version is ready; the gate compares it with the one in service",
}


def follow(session: Session, api: Api, model: str, upload: str, timeout_s: float) -> Item:
    """The run of an upload when nothing more will happen to it by itself; raises TookTooLong."""
    started = since = session.clock()
    state = ""
    with session.screen.progress() as report:
        for turn in range(10**9):
            run = find_run_of(api, model, upload)
            now = session.clock()
            if run and run["state"] != state:
                state, since = run["state"], now
            report(_progress(run, now - since))
            if run and (is_settled(run) or (state == "READY" and now - since > DECISION_S)):
                return run
            if now - started > timeout_s:
                raise _too_long(model, run, timeout_s)
            session.sleep(min(FIRST_POLL_S * 1.2**turn, LAST_POLL_S) if turn < 20 else LAST_POLL_S)
    raise AssertionError("the loop ends by returning or raising")


def find_run_of(api: Api, model: str, upload: str) -> Item | None:
    """The run of an upload; None while nobody has heard of the upload, or of the model."""
    try:
        runs: list[Item] = api.get(f"/models/{model}/runs", upload=upload)["runs"]
    except Answer as error:
        if error.code == "UNKNOWN_MODEL":
            return None
        raise
    return runs[0] if runs else None


def is_settled(run: Mapping[str, Any]) -> bool:
    """Whether nothing more will happen to a run: it ended badly, or the gate has spoken."""
    return run["state"] in TERMINAL and (run["state"] != "READY" or bool(run.get("decision")))


def _progress(run: Item | None, waited_s: float) -> Progress:
    state = run["state"] if run else ""
    if run and state == "RUNNING":
        now = run.get("progress") or {}
        return Progress(
            f"RUNNING {now.get('stage') or 'starting'}",
            int(now.get("step") or 0),
            int(now.get("steps") or 0),
            str(now.get("message") or ""),
        )
    if run and (wait := run.get("wait")):
        return Progress(state, 0, 0, str(wait.get("message") or ""))
    hint = "; this is longer than usual, see `tidemill doctor`" if waited_s > UNUSUAL_S and state in _QUICK else ""
    return Progress(state or "UPLOADED", 0, 0, _WAITING.get(state, "") + hint)


def _too_long(model: str, run: Item | None, timeout_s: float) -> TookTooLong:
    state = run["state"] if run else "not received yet"
    return TookTooLong(
        f"After {timeout_s:.0f} s the run is {state}. It goes on without this command.",
        remedy=f"Look again with `tidemill runs {run['run'] if run else model}`, or wait longer with --timeout.",
        run=run["run"] if run else None,
    )


def stage_times(run: Mapping[str, Any], upload_s: float | None = None) -> dict[str, float | None]:
    """Seconds of every stage, as far as the run came."""
    times = run.get("times") or {}
    sent = (run.get("upload") or {}).get("time") or times.get("received")
    decided = (run.get("decision") or {}).get("at")
    return {
        "upload": upload_s,
        "preprocess": _between(sent, times.get("prepared") or (times.get("ended") if "running" not in times else None)),
        "wait": _between(times.get("prepared"), times.get("running")),
        "train": _between(times.get("running"), times.get("ended")),
        "promote": _between(times.get("ended"), decided),
    }


def _between(start: Any, end: Any) -> float | None:
    if not start or not end:
        return None
    return max(0.0, (datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(start))).total_seconds())


def show_end(screen: Screen, run: Item, version: Item | None, times: Mapping[str, float | None]) -> None:
    """What became of a run, for a person."""
    ok = run["state"] == "READY"
    made = f", version {run['version']}" if run.get("version") else ""
    screen.say(f"{run['model']}: run {run['run']} is {run['state']}{made}.", "bold green" if ok else "bold red")
    if reason := run.get("reason"):
        show_reason(screen, reason)
    if run.get("reused"):
        screen.say("The same rows with the same recipe made this version before, so nothing was trained.")
    if version:
        show_metrics(screen, version)
    show_rows(screen, run)
    if ok:
        show_decision(screen, run)
    screen.table(["stage", "time"], [(name, seconds(value)) for name, value in times.items()])
    if ok:
        screen.say(f"Read the card: tidemill card {run['model']} --version {run['version']}")


def show_reason(screen: Screen, reason: Mapping[str, Any]) -> None:
    """Why a run ended badly: code, sentence, remedy, and where to look."""
    screen.say(f"{reason.get('code')}: {reason.get('message')}", "red")
    for code, count in (reason.get("codes") or {}).items():
        screen.say(f"  {count} times {code}")
    if reason.get("remedy"):
        screen.say(f"What to do: {reason['remedy']}")
    if reason.get("where"):
        screen.say(f"The report: {reason['where']}")


def show_metrics(screen: Screen, version: Mapping[str, Any]) -> None:
    """The scores on the test rows, with interval and the trivial baseline."""
    found = version.get("metrics") or {}
    rows = [
        (
            about.get("label") or name,
            number(about.get("value")),
            f"{number(about.get('low'))} to {number(about.get('high'))}",
            number(about.get("baseline")),
            f"{about.get('better')} is better" if about.get("better") else "",
        )
        for name, about in (found.get("metrics") or {}).items()
    ]
    if rows:
        title = f"On {found.get('rows')} test rows that training never saw"
        screen.table(["score", "value", "95 % interval", "baseline", ""], rows, title)
    for warning in found.get("warnings") or []:
        screen.say(f"Note: {warning.get('message')}", "yellow")


def show_rows(screen: Screen, run: Mapping[str, Any]) -> None:
    """How many rows were read, used and set aside, and where those lie."""
    rows = run.get("rows") or {}
    if not rows:
        return
    screen.say(f"Rows: {rows.get('read')} read, {rows.get('used')} used, {rows.get('quarantined')} set aside.")
    if rows.get("quarantined"):
        place = f"datasets/{run['model']}/{run.get('dataset')}/quarantine.parquet"
        screen.say(f"Each row set aside, with its reason: {place} in the artifacts bucket.")


def show_decision(screen: Screen, run: Mapping[str, Any]) -> None:
    """What the gate said."""
    decision = run.get("decision")
    if not decision:
        screen.say("The gate has not decided yet; see `tidemill doctor`.", "yellow")
    elif decision.get("promoted"):
        screen.say(f"In service: {decision.get('message')}", "green")
    elif decision.get("code") == "CANARY":
        screen.say(f"In service as challenger: {decision.get('message')}", "green")
    else:
        screen.say(f"Not put in service ({decision.get('code')}): {decision.get('message')}", "yellow")
