"""The command in this process: an app in memory, a pipeline that takes a step at every poll, no clock to wait for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from tests.doubles.plane import ARTIFACTS, DATA, METRICS, InProcess, Item, Plane, with_income

from tidemill.cli import pipeline
from tidemill.cli import stack as stack_commands
from tidemill.cli.main import main
from tidemill.cli.places import Places
from tidemill.cli.session import Session
from tidemill.core.clock import now


class Pipeline:
    """Plays S3, the functions and the job: what is sent becomes a run, and each `step` brings it on."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.sent: list[bytes] = []
        self.ending = "promoted"
        self.status = 204
        self.steps: Iterator[None] | None = None

    def take(self, request: httpx.Request) -> httpx.Response:
        """The bucket: keeps the form and starts the run."""
        body = request.read()
        self.sent.append(body)
        if self.status != 204:
            return httpx.Response(self.status, text="<Error><Code>EntityTooLarge</Code></Error>")
        key = body.split(b'name="key"\r\n\r\n')[1].split(b"\r\n")[0].decode()
        self.steps = self._play(key)
        return httpx.Response(204)

    def step(self, _: float = 0.0) -> None:
        """One poll later."""
        if self.steps is not None:
            next(self.steps, None)

    def _play(self, key: str) -> Iterator[None]:
        model = key.split("/")[1]
        yield
        row = self.plane.registry.add(model, task="binary", target="income")
        run: Item = {"run": "r-0123456789ab", "model": model, "state": "RECEIVED", "order": "9"}
        run |= {"upload": {"bucket": DATA, "key": key, "size_bytes": 1, "time": now()}, "times": {"received": now()}}
        row["runs"].insert(0, run)
        yield
        if self.ending == "rejected":
            where = f"s3://{ARTIFACTS}/rejections/{model}/{run['run']}.json"
            run["reason"] = {"code": "NO_ROWS", "message": "No row is usable.", "remedy": "Add rows.", "where": where}
            run["state"], run["times"]["ended"] = "REJECTED", now()
            return
        run |= {"state": "PREPARED", "dataset": "d-1", "rows": {"read": 3000, "used": 2990, "quarantined": 10}}
        run["times"]["prepared"] = now()
        yield
        run["state"] = "SUBMITTED"
        yield
        run["state"], run["times"]["running"] = "RUNNING", now()
        for epoch in range(3):
            run["progress"] = {"stage": "train", "step": epoch + 1, "steps": 3, "message": "loss 0.4", "at": now()}
            yield
        if self.ending == "failed":
            run["reason"] = {"code": "OUT_OF_MEMORY", "message": "The job was killed.", "remedy": "Smaller batches."}
            run["state"], run["times"]["ended"] = "FAILED", now()
            return
        number = len(row["versions"]) + 1
        bundle = f"bundles/{model}/{run['run']}/"
        row["versions"].append(
            {"version": number, "model": model, "run": run["run"], "dataset": "d-1", "bundle": bundle}
        )
        self.plane.artefact(f"{bundle}metrics.json", METRICS)
        self.plane.artefact(f"{bundle}card.html", "<!doctype html><title>a card</title>")
        run |= {"state": "READY", "version": number}
        run["times"]["ended"] = now()
        yield
        if self.ending == "undecided":
            return
        promoted = self.ending == "promoted"
        if promoted:
            self.plane.registry.promote(model, number, by="gate", why="first", pin=False)
        code = "PROMOTED" if promoted else "CANARY" if self.ending == "challenger" else "NOT_BETTER"
        run["decision"] = {"promoted": promoted, "code": code, "message": "By 0.20 log loss.", "at": now()}


class Command:
    """Runs `tidemill ...` in this process."""

    def __init__(self, plane: Plane, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plane, self.root = plane, root
        self.pipeline = Pipeline(plane)
        self.environment = {"TIDEMILL_URL": "http://plane", "TIDEMILL_KEY": plane.keys["operate"]}
        self.opened: list[str] = []
        self.transport: httpx.BaseTransport = InProcess(plane.app, outside=self.pipeline.take)
        self.local = SimpleNamespace(up=self._up, down=lambda state, report: True, status=lambda state: None)
        self.recover = SimpleNamespace(recover=lambda stack, report: {"run": 2, "resumed": 1})
        self.clean = True
        self.elapsed = 0.0
        monkeypatch.setattr(stack_commands, "module", self._module)
        monkeypatch.setattr(pipeline, "module", self._module)
        monkeypatch.setattr(stack_commands, "registry_of", lambda stack: plane.registry)

    def _module(self, name: str) -> Any:
        return self.recover if name.endswith("recover") else self.local

    def _up(self, root: Path, state: Path, *, port: int, report: Any) -> Any:
        state.mkdir(exist_ok=True)
        record = {"endpoint": "http://plane", "outputs": {"ApiUrl": "http://abc123.execute-api.localhost:4566"}}
        (state / "stack.json").write_text(json.dumps(record))
        url = "http://plane/_aws/execute-api/abc123"
        return SimpleNamespace(api_url=url, console_url=url, endpoint="http://plane", clean=self.clean)

    def __call__(self, *words: str, stdin: str | bytes | None = None) -> Result:
        session = Session(
            Places(self.root, self.environment),
            transport=self.transport,
            sleep=self._sleep,
            clock=lambda: self.elapsed,
            browse=self._browse,
            registry=self.plane.registry,  # type: ignore[arg-type]
        )
        return CliRunner().invoke(main, words, obj=session, input=stdin, catch_exceptions=False)

    def _browse(self, url: str) -> bool:
        self.opened.append(url)
        return True

    def _sleep(self, duration: float) -> None:
        self.elapsed += duration
        self.pipeline.step()

    def json(self, *words: str, code: int = 0, stdin: str | None = None) -> Any:
        """The document of `tidemill ... --json`: all of stdout, and nothing else there."""
        result = self(*words, "--json", stdin=stdin)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command against a plane with the model `income`."""
    return Command(with_income(Plane()), tmp_path, monkeypatch)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A small file to push."""
    path = tmp_path / "people.csv"
    path.write_text("age,income\n39,<=50K\n")
    return path


Run = Callable[..., Result]
