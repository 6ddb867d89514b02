"""From a finished job to a version in service, or to a reason: what Promote does with one event."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tidemill.core.aliases import live_challenger
from tidemill.core.clock import now
from tidemill.core.endings import Ending, ending_of
from tidemill.core.errors import BadBundle, Conflict
from tidemill.core.events import Bus
from tidemill.core.registry import LIVE, TERMINAL, Item, Registry
from tidemill.core.retries import JOB_STATES, is_its_job, may_retry, reopen, was_interrupted
from tidemill.core.storage import Storage
from tidemill.serving.gate import Verdict, judge


def job_ended(detail: dict[str, Any], registry: Registry, artifacts: Storage, bus: Bus) -> Item | None:
    """Handle a Batch Job State Change (SUCCEEDED or FAILED); the run as it is afterwards, None for foreign jobs."""
    parameters = detail.get("parameters") or {}
    if "model" not in parameters or "run" not in parameters:
        return None
    model, run_id = str(parameters["model"]), str(parameters["run"])
    run = registry.run(model, run_id)
    if detail.get("status") == "FAILED" and run["state"] in LIVE and is_its_job(run, detail["jobId"]):
        run = _ended_badly(run, detail, registry)
    if was_interrupted(run, detail["jobId"]):
        told = {"model": model, "run": run_id, "retries": run["retries"], "why": run["interrupted"]["why"]}
        bus.tell("RunInterrupted", told)
    if run["state"] == "FAILED":
        bus.tell("RunFailed", {"model": model, "run": run_id, "reason": run.get("reason", {})})
    return decide(model, run_id, registry, artifacts, bus) if run["state"] == "READY" else run


def decide(model: str, run_id: str, registry: Registry, artifacts: Storage, bus: Bus) -> Item:
    """Let the gate decide on a READY run, move the alias if it agrees, and write down what was decided."""
    run = registry.run(model, run_id)
    if run["state"] != "READY":
        return run
    if "decision" not in run:
        version = int(run["version"])
        decision = _decision(run, version, registry, artifacts)
        registry.decide(model, run_id, version, decision)
        run = {**run, "decision": decision}
    else:
        registry.keep_decision(run)
    decision = run["decision"]
    told = {
        "model": model,
        "run": run_id,
        "version": run["version"],
        "code": decision["code"],
        "why": decision["message"],
    }
    challenges = decision["code"] == "CANARY"
    bus.tell("ModelPromoted" if decision["promoted"] else "ModelChallenged" if challenges else "ModelRefused", told)
    return run


def _decision(run: Item, version: int, registry: Registry, artifacts: Storage) -> Item:
    """Judge and move until the champion that was judged against is still the champion when the alias moves."""
    model = run["model"]
    if not run["spec"]["promote"]["auto"]:
        return _said(False, "MANUAL", "Automatic promotion is switched off in tidemill.toml. Promote it by hand.")
    for _ in range(5):
        alias = registry.alias(model)
        refusal = _not_its_turn(run, alias)
        if refusal is not None:
            return refusal
        verdict = _judged(run, registry.version(model, version), alias, registry, artifacts)
        if not verdict.promote:
            return _said(False, verdict.code, verdict.message, verdict.evidence)
        seen = None if alias is None else alias["rev"]
        share = run["spec"].get("canary", {}).get("share", 0)
        if share and alias is not None and alias["version"] != version:
            order, why = run["order"], verdict.message
            if registry.challenge_by_gate(model, version, order, why, seen_rev=seen, run=run["run"])[1]:
                return _said(False, "CANARY", f"{why} It answers {share:.0%} of the requests first.", verdict.evidence)
            continue
        _, moved = registry.promote_by_gate(model, version, run["order"], verdict.message, seen_rev=seen)
        if moved:
            return _said(True, verdict.code, verdict.message, verdict.evidence)
    raise Conflict(f"The champion of {model} kept changing.", remedy="The event comes again by itself.")


def _not_its_turn(run: Item, alias: Item | None) -> Item | None:
    if alias is None or (alias["version"] == run["version"] and alias["order"] == run["order"]):
        return None
    if alias["pinned"]:
        why = f"{alias['by']} pinned version {alias['version']} ({alias['why'] or 'no reason given'})."
        return _said(False, "PINNED", f"{why} Promote by hand, or unpin.")
    challenger = live_challenger(alias)
    if challenger and challenger["order"] > run["order"]:
        later = f"Version {challenger['version']}, from a later upload, is challenger already."
        return _said(False, "OLDER_UPLOAD", f"{later} Nothing to do.")
    if alias["order"] > run["order"]:
        return _said(
            False, "OLDER_UPLOAD", f"Version {alias['version']}, from a later upload, already serves. Nothing to do."
        )
    return None


def must_be_better(run: Item) -> bool:
    """Whether a run was started by itself, or by hand from the same data and recipe: noise is no reason to change."""
    return "trigger" in run and not run["trigger"]["changed"]


def may_have_seen(run: Item, champion: Item | None) -> str:
    """Why the champion may have trained on a run's test rows; empty where both split the same columns the same way."""
    if champion is None:
        return ""
    ours, theirs = run["spec"]["split"], champion["spec"]["split"]
    changed = [f"[split] {key}" for key, value in ours.items() if theirs.get(key) != value]
    return f"The champion's rows were divided with another {' and '.join(changed)}" if changed else ""


def _judged(run: Item, version: Item, alias: Item | None, registry: Registry, artifacts: Storage) -> Verdict:
    serving = None if alias is None else registry.run(run["model"], alias["run"])
    work = Path(tempfile.mkdtemp(prefix="tidemill-"))
    try:
        artifacts.read_folder(version["bundle"], work / "challenger")
        champion = None
        if alias is not None:
            champion = work / "champion"
            artifacts.read_folder(alias["bundle"], champion)
        better, seen = must_be_better(run), may_have_seen(run, serving)
        return judge(work / "challenger", champion, better=better, seen=seen)
    except BadBundle as error:
        return Verdict(False, "INCOMPLETE_BUNDLE", f"{error.message} {error.remedy}")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _said(promoted: bool, code: str, message: str, evidence: dict[str, Any] | None = None) -> Item:
    return {"promoted": promoted, "code": code, "message": message, "evidence": evidence or {}, "at": now()}


def _ended_badly(run: Item, detail: dict[str, Any], registry: Registry) -> Item:
    """Give a run whose job failed to another job where that can go on, else its end."""
    ending = ending_of(detail)
    if ending.again and may_retry(run):
        if run["state"] not in JOB_STATES:
            return run  # its job is not written down yet; Train does that, and the sweep asks what became of it
        status = detail.get("statusReason") or ""
        return reopen(registry, run, f"{ending.sentence} {status}".strip()) or registry.run(run["model"], run["run"])
    return _fail(run, ending, detail, registry)


def _fail(run: Item, ending: Ending, detail: dict[str, Any], registry: Registry) -> Item:
    container = detail.get("container") or {}
    status = detail.get("statusReason") or container.get("reason") or ""
    reason = {
        "code": ending.code,
        "message": f"{ending.sentence} {status}".strip(),
        "remedy": f"Read its log: tidemill logs {run['run']}",
        "where": container.get("logStreamName", ""),
        "exit_code": container.get("exitCode"),
    }
    try:
        return registry.advance(run["model"], run["run"], "FAILED", allowed=LIVE, reason=reason)
    except Conflict:
        current = registry.run(run["model"], run["run"])
        if current["state"] in TERMINAL:
            return current
        raise
