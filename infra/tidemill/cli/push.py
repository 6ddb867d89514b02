"""tidemill push: a file becomes an upload, and with --wait a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidemill.cli.client import Api
from tidemill.cli.failures import OK, REFUSED, UNEXPECTED, NoFile
from tidemill.cli.session import Session, json_option, pass_session, quietly
from tidemill.cli.watch import follow, show_end, stage_times
from tidemill.core.errors import BadRequest
from tidemill.core.names import check_model
from tidemill.core.progress import Progress
from tidemill.core.spec import Spec, to_toml

Item = dict[str, Any]


@click.command(epilog="Exit code 4: the data was rejected, or the gate kept the version in service.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="The model to make, or to train anew.")
@click.option("--target", help="The column to predict (default: found by its name or place).")
@click.option("--task", type=click.Choice(["auto", "binary", "multiclass", "regression"]), help="What to predict.")
@click.option("--spec", type=click.Path(path_type=Path), help="A tidemill.toml that says what to do with the file.")
@click.option("--wait", is_flag=True, help="Follow the run to its end and show scores, decision and times.")
@click.option("--timeout", default=1800.0, show_default=True, help="Seconds to wait at most.")
@json_option
@pass_session
def push(
    session: Session,
    file: Path,
    model: str,
    target: str | None,
    task: str | None,
    spec: Path | None,
    wait: bool,
    timeout: float,
) -> None:
    """Upload FILE (CSV, JSON lines, Parquet; gzip too) and let a model be trained on it."""
    check_model(model)
    text = spec_text(spec, target, task)
    api = session.api()
    upload = send(session, api, file, model, text)
    if not wait:
        session.screen.say(f"Uploaded as {upload['upload']}. Follow it with `tidemill runs {model}`.")
        session.screen.document(upload)
        return
    code, found = see_through(session, api, model, upload, timeout)
    session.screen.document(found)
    raise click.exceptions.Exit(code)


def send(session: Session, api: Api, file: Path, model: str, text: str | None, purpose: str = "train") -> Item:
    """Upload a file; returns upload, key, model, filename, size_bytes and the seconds it took."""
    size = _size_of(file)
    started = session.clock()
    body: Item = {"model": model, "filename": file.name, "size_bytes": size}
    form = api.post("/uploads", {**body, "purpose": purpose, **({"spec": text} if text else {})})
    with session.screen.progress() as report:
        api.send_file(form, file, lambda done, whole: report(_sent(done, whole)))
    took = session.clock() - started
    return {**body, "upload": form["upload"], "key": form["key"], "upload_s": round(took, 3)}


def see_through(session: Session, api: Api, model: str, upload: Item, timeout_s: float) -> tuple[int, Item]:
    """Follow an upload to its end and show it; the exit code and the JSON document."""
    run = follow(session, api, model, upload["upload"], timeout_s)
    version = None
    if run["state"] == "READY" and run.get("version"):
        version = quietly(lambda: api.get(f"/models/{model}/versions/{run['version']}"))
    times = stage_times(run, upload["upload_s"])
    show_end(session.screen, run, version, times)
    metrics = (version or {}).get("metrics")
    return _code(run), {"upload": upload, "run": run, "metrics": metrics, "times_s": times}


def spec_text(path: Path | None, target: str | None, task: str | None) -> str | None:
    """The specification to send: the file's, with the options put over it; None for the defaults."""
    if path is None and target is None and task is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise NoFile(f"{path} cannot be read: {error}.", remedy="Check the path given to --spec.") from error
    spec = Spec.from_toml(text)
    if target is None and task is None:
        return text
    plain = spec.to_json()
    plain["data"].update({name: value for name, value in (("target", target), ("task", task)) if value is not None})
    return to_toml(Spec.from_json(plain))


def _size_of(file: Path) -> int:
    if not file.is_file():
        raise NoFile(f"{file} is not a file.", remedy="Check the path.")
    size = file.stat().st_size
    if size == 0:
        raise BadRequest(f"{file} is empty.", code="EMPTY_FILE", remedy="Upload a file with a header and rows.")
    return size


def _sent(done: int, size: int) -> Progress:
    return Progress("UPLOADING", done, size, f"{done / 1e6:.1f} of {size / 1e6:.1f} MB")


def _code(run: Item) -> int:
    """Done when the version serves (or waits for a person, or challenges, as asked for); else refused."""
    if run["state"] == "READY":
        decision = run.get("decision") or {}
        return OK if decision.get("promoted") or decision.get("code") in ("MANUAL", "CANARY") else REFUSED
    return UNEXPECTED if run["state"] == "FAILED" else REFUSED
