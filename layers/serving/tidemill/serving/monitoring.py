"""What Monitor does with one model: recent requests against the rows the version was made from, a report, an alarm.

Columns are compared with reference.npz. Scores are compared with those of the test rows in holdout.npz and not with
those of the training rows, of which a model is always surer than of new ones.

Axes: n rows, k labels.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tidemill.core import (
    clients,
    drift,
    estimates,
    feedback,
    holdout,
    measures,
    reference,
    report_page,
    reports,
    traffic,
)
from tidemill.core.clock import now
from tidemill.core.drift import Finding
from tidemill.core.events import Bus
from tidemill.core.limits import limit
from tidemill.core.registry import Item, Registry
from tidemill.core.storage import Storage
from tidemill.core.traffic import Window
from tidemill.serving.predictor import Predictor

Array = np.ndarray[Any, Any]

FORMAT = 1
LEAST_ROWS = 200  # fewer tell nothing that matters
SETTLE_S = 10  # a window ends so long ago: what was being written then has arrived
TEST_ROWS = {"table": 20_000, "text": 1_000, "picture": 500}  # that are scored again for comparison
TEXTS = 5_000  # that are measured
SCORES = 20  # labels whose scores are watched, the most frequent
PERFORMANCE = "performance"


def watch(model: str, registry: Registry, artifacts: Storage, bus: Bus, topic: str, settle_s: int = SETTLE_S) -> Item:
    """Make a report where enough rows came since the last, and tell of drift once; what was done, for the log."""
    seen = reports.state(registry, model)
    announce(model, seen, registry, bus, topic)
    alias = registry.alias(model)
    if alias is None:
        return {"model": model, "done": "no version in service"}
    version = registry.version(model, int(alias["version"]))
    until = _iso(datetime.now(UTC) - timedelta(seconds=settle_s))
    since = str(seen.get("until") or version.get("created") or until)
    window = traffic.read(artifacts, model, since, until, int(alias["version"]), limit("window_rows"))
    if window.rows < LEAST_ROWS:
        reports.wait(registry, model, window.rows, LEAST_ROWS)
        return {"model": model, "done": "waiting", "rows": window.rows, "least": LEAST_ROWS}
    report = _report(model, version, window, artifacts, since, until)
    return _keep(report, seen, registry, artifacts, bus, topic)


def announce(model: str, state: Item, registry: Registry, bus: Bus, topic: str) -> None:
    """Tell what is pending of the last report: the event on the bus and the mail to whoever subscribed."""
    pending = state.get("pending")
    if not pending:
        return
    bus.tell("DriftDetected", pending)
    if topic:
        clients.client("sns").publish(
            TopicArn=topic, Subject=f"Tidemill: drift in {model}"[:100], Message=_mail(pending)
        )
    reports.told(registry, model, str(state["report"]))


def _mail(pending: Item) -> str:
    named = ", ".join(pending["columns"][:20])
    return (
        f"The requests to version {pending['version']} of {pending['model']} are no longer like its training data.\n"
        f"Changed: {named}\n\n"
        f"Read the report: GET /models/{pending['model']}/reports/{pending['report']}/page, or "
        f"tidemill drift {pending['model']}\n"
    )


def _keep(report: Item, seen: Item, registry: Registry, artifacts: Storage, bus: Bus, topic: str) -> Item:
    """Store the report; drift is told when a column drifts that did not drift in the last report of the version."""
    model, time, drifted = report["model"], report["time"], report["drifted"]
    before = set(seen.get("drifting") or ()) if seen.get("version") == report["version"] else set()
    pending = None
    if set(drifted) - before:
        pending = {"model": model, "version": report["version"], "columns": drifted, "report": time}
    artifacts.write_json(reports.key_of(model, time, "json"), report)
    page = report_page.page(report).encode()
    artifacts.write_bytes(reports.key_of(model, time, "html"), page, "text/html; charset=utf-8")
    item = {name: report[name] for name in ("model", "version", "time", "at", "since", "until", "drifted", "words")}
    item["rows"] = report["window"]["rows"]
    if not reports.record(registry, item, seen.get("report"), pending):
        return {"model": model, "done": "another Monitor was quicker"}
    announce(model, reports.state(registry, model), registry, bus, topic)
    return {"model": model, "done": "report", "report": time, "drifted": drifted, "told": pending is not None}


def _report(model: str, version: Item, window: Window, artifacts: Storage, since: str, until: str) -> Item:
    work = Path(tempfile.mkdtemp(prefix="tidemill-"))
    try:
        artifacts.read_folder(version["bundle"], work)
        predictor, then = Predictor.load(work), reference.load(work / "reference.npz")
        test_columns, truth = _test_rows(work, predictor)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    columns, hidden = _columns(predictor, window)
    found = [drift.compare(part, columns[part.name]) for part in then.columns if part.name in columns]
    test_scores, scores = predictor.predict_columns(test_columns), _scores(predictor, window.scores)
    compared = _compared(predictor, test_scores, scores, truth)
    labels = list(feedback.read(artifacts, model, since, until))
    performance = _performance(predictor, test_scores, scores, truth, _labelled(artifacts, version, until, labels))
    found, bound = drift.judged(found, len(compared) + 1)
    scored = [replace(item, drifted=item.p < bound) for item in compared]
    performance["drifted"] = bool((performance["real"] or {}).get("p", 1.0) < bound)
    drifted = [item.name for item in [*found, *scored] if item.alarming] + [PERFORMANCE] * performance["drifted"]
    at = now()
    told = {
        **{"format": FORMAT, "model": model, "version": int(version["version"]), "at": at, "since": since},
        **{"until": until, "time": at.replace(":", "").replace(".", ""), "task": predictor.task, "bound": bound},
        "tests": round(drift.ALPHA / bound),
        "window": _window(window),
        "columns": [item.to_json() for item in found],
        "scores": [item.to_json() for item in scored],
        "private": hidden,
        "performance": {**performance, "labels": len(labels)},
        "drifted": drifted,
    }
    return {**told, "words": _words(told), "quality": _quality(found, window)}


def _test_rows(folder: Path, predictor: Predictor) -> tuple[dict[str, Array], Array]:
    """The rows kept from training, or as many at equal distances as are scored in time."""
    columns, target = holdout.load(folder / "holdout.npz")
    most = min(len(target), TEST_ROWS[predictor.modality])
    at = np.linspace(0, len(target) - 1, most).round().astype(int)
    return {name: values[at] for name, values in columns.items()}, target[at]


def _columns(predictor: Predictor, window: Window) -> tuple[dict[str, Array], list[str]]:
    """The columns of the window as the reference has them, and the names of those whose values were not kept."""
    hidden = [name for name in predictor.program.columns if name not in window.columns]
    if predictor.modality == "picture" or len(hidden) == len(predictor.program.columns):
        return {}, [] if predictor.modality == "picture" else hidden
    count = window.rows if predictor.modality == "table" else min(window.rows, TEXTS)
    cells = {name: window.columns.get(name, [None] * count) for name in predictor.program.columns}
    rows = [dict(zip(cells, row, strict=True)) for row in zip(*(cells[name][:count] for name in cells), strict=True)]
    columns = predictor.program.read_rows(rows)
    x_n = predictor.program.apply(columns) if predictor.modality == "text" else None
    shown = measures.measured(columns, x_n, predictor.modality)
    return {name: values for name, values in shown.items() if name not in hidden}, hidden


def _scores(predictor: Predictor, scores: list[Any]) -> Array:
    found = np.asarray(scores, np.float64)
    wanted = (len(scores),) if predictor.task == "regression" else (len(scores), len(predictor.labels))
    if found.shape != wanted:
        raise ValueError(f"scores of shape {found.shape}, not {wanted}: is the log of another model?")
    return found


def _compared(predictor: Predictor, test: Array, scores: Array, truth: Array) -> list[Finding]:
    """The scores now against those of the test rows: one for values and for two labels, else one a frequent label."""
    if predictor.task == "regression":
        return [drift.compare(reference.summarise("predicted value", test.astype(np.float64)), scores)]
    labels = list(predictor.labels)
    often = sorted(range(len(labels)), key=lambda k: -int((truth == labels[k]).sum()))[:SCORES]
    watched = [len(labels) - 1] if len(labels) == 2 else sorted(often)
    named = {k: reference.summarise(f"score of {labels[k]}", test[:, k].astype(np.float64)) for k in watched}
    return [drift.compare(then, scores[:, k]) for k, then in named.items()]


def _labelled(artifacts: Storage, version: Item, until: str, labels: list[Item]) -> list[tuple[Any, Any]]:
    """Scores and labels of rows whose label came in the window and whose answer was kept."""
    told = {(label["request"], label["row"]): label["label"] for label in labels}
    scores = traffic.scores_of(artifacts, version["model"], until, int(version["version"]), set(told))
    return [(scores[place], told[place]) for place in scores]


def _performance(predictor: Predictor, test: Array, scores: Array, truth: Array, pairs: list[tuple[Any, Any]]) -> Item:
    is_value = predictor.task == "regression"
    truth_n = _codes(predictor, truth.tolist())
    known = truth_n >= 0 if not is_value else np.isfinite(truth_n)
    then = estimates.held_out(predictor.task, test[known], truth_n[known])
    real = None
    if pairs:
        label_n = _codes(predictor, [label for _, label in pairs])
        known_n = np.isfinite(label_n) if is_value else label_n >= 0
        answered = _scores(predictor, [score for score, _ in pairs])
        if known_n.any():
            real = estimates.realised(predictor.task, answered[known_n], label_n[known_n], then)
    guess = None if is_value else estimates.estimated(scores, test[known], truth_n[known])
    note = estimates.NO_ESTIMATE if is_value else estimates.BLIND_SPOT
    return {
        "measure": then["measure"],
        "then": estimates.shown(then),
        "estimated": guess,
        "real": estimates.shown(real),
        "note": note,
    }


def _codes(predictor: Predictor, labels: list[Any]) -> Array:
    """The places of labels, -1 for those the model does not know; of values the values."""
    if predictor.task == "regression":
        return np.array([np.nan if label is None else float(label) for label in labels], np.float64)
    place = {label: at for at, label in enumerate(predictor.labels)}
    return np.array([place.get(str(label), -1) for label in labels], np.int64)


def _window(window: Window) -> Item:
    told = {name: getattr(window, name) for name in ("records", "others", "spoiled", "files", "files_read", "rows")}
    rows = {json.dumps(row, default=str) for row in zip(*window.columns.values(), strict=True)}
    refused = dict(window.refused.most_common(10))
    return {**told, "first": window.first, "last": window.last, "refused": refused, "distinct": len(rows) or None}


def _words(report: Item) -> str:
    """What the report says in one sentence."""
    window, drifted = report["window"], report["drifted"]
    rows = f"{window['rows']:,} rows from {window['first'][:16]} to {window['last'][:16]} UTC"
    if not drifted:
        return f"Nothing has changed beyond chance in {rows}."
    named = ", ".join(drifted[:5]) + (f" and {len(drifted) - 5} more" if len(drifted) > 5 else "")
    return f"Changed beyond chance in {rows}: {named}."


def _quality(found: list[Finding], window: Window) -> list[str]:
    """What a person should know of the rows beyond their distributions."""
    told = []
    if refused := window.refused.total():
        codes = ", ".join(f"{code} ({count})" for code, count in window.refused.most_common(5))
        told.append(f"{refused} of {window.records} requests were refused: {codes}.")
    for item in found:
        if item.new_levels:
            told.append(f"{item.name}: {item.new_rows} rows have levels that training never saw: {_quoted(item)}.")
        if item.missing_drifted:
            told.append(f"{item.name}: missing in {item.missing[1]:.1%} of the rows, before in {item.missing[0]:.1%}.")
    rows = _window(window)["distinct"]
    if rows and rows < window.rows / 2:
        told.append(
            f"Only {rows} of {window.rows} rows differ. The tests take rows as independent of each other: rows "
            "that are sent again and again look like drift."
        )
    if window.spoiled:
        told.append(f"{window.spoiled} lines of the request log could not be read.")
    return told


def _quoted(item: Finding) -> str:
    return ", ".join(repr(level[:40]) for level in item.new_levels[:5]) + (" ..." if len(item.new_levels) > 5 else "")


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
