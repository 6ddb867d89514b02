"""The product's clients, clocks and slow parts, connected to a mill: once for all its runs."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.fire.crashing.mill import Mill, environment

from tidemill.core import clients, clock, manifest


class Reply:
    """The HTTP side of an answer made in memory."""

    def __init__(self, status: int) -> None:
        self.status_code = status


class Wires:
    """What the patched parts of the process talk to: the mill of the run at hand."""

    mill: Mill


@contextmanager
def connected(folder: Path) -> Iterator[Wires]:
    """Point clients and clocks of this process at `wires.mill`; whoever runs a mill puts it there."""
    wires = Wires()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        patch.setenv("TIDEMILL_CACHE_DIR", str(folder / "cache"))
        _clients(wires)
        _light(patch)
        _clocks(wires, patch)
        _once(folder, patch)
        try:
            yield wires
        finally:
            boto3.DEFAULT_SESSION = None
            clients.forget()


def _clients(wires: Wires) -> None:
    clients.forget()
    boto3.setup_default_session()
    emitter = boto3.DEFAULT_SESSION._session.get_component("event_emitter")  # type: ignore[attr-defined]

    def remember(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["tidemill_request"] = dict(params)

    def before(model: Any, params: Any, context: dict[str, Any], **_: Any) -> Any:
        wire = model.service_model.service_name == "dynamodb"
        request = json.loads(params["body"]) if wire else context["tidemill_request"]
        status, answer = wires.mill.call(model.name, request)
        return Reply(status), json.loads(json.dumps(answer)) if wire else dict(answer)  # the client changes it in place

    emitter.register("provide-client-params", remember)
    emitter.register("before-call", before)


def _light(patch: pytest.MonkeyPatch) -> None:
    """A third of a call is spent on where it goes and who says it comes; here nothing goes anywhere."""
    from botocore.client import BaseClient
    from botocore.useragent import UserAgentString

    patch.setattr(UserAgentString, "to_string", lambda self: "mill")
    where = lambda *_, **__: ("http://127.0.0.1:1", {}, {})  # noqa: E731
    patch.setattr(BaseClient, "_resolve_endpoint_ruleset", where)


def _clocks(wires: Wires, patch: pytest.MonkeyPatch) -> None:
    """The mill's time, wherever the product asks for it."""
    import monitor  # noqa: F401 - so that what they import is there to be patched
    import preprocess  # noqa: F401
    import promote  # noqa: F401
    import retrain  # noqa: F401
    import score  # noqa: F401
    import sweep  # noqa: F401
    import train  # noqa: F401
    from tidemill.training import job

    class Clock(datetime):
        """The mill's time."""

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            """What the clock shows."""
            return wires.mill.now()

    def now() -> str:
        return wires.mill.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def seconds() -> int:
        return int(wires.mill.now().timestamp())

    for name, module in list(sys.modules.items()):
        if not name.startswith("tidemill."):
            continue
        for of, mine in (("now", now), ("seconds", seconds)):
            if getattr(module, of, None) is getattr(clock, of) and name != "tidemill.core.clock":
                patch.setattr(module, of, mine)
    for name in ("tidemill.core.sweep", "tidemill.serving.monitoring"):
        patch.setattr(sys.modules[name], "datetime", Clock)
    patch.setattr(job, "HEARTBEAT_S", 1e6)
    patch.setattr(job, "REPORT_EVERY_S", 1e9)  # so that a job makes the same calls each time
    patch.setattr(sys.modules["tidemill.core.registry"].time, "sleep", lambda seconds: None)


def _once(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Reading, training and judging, done once for the same content: crashes happen around them, not in them."""
    from tidemill.core import ingest
    from tidemill.serving import promotion
    from tidemill.training import fit

    patch.setattr(ingest, "prepare", _prepared_once(ingest.prepare, folder))
    patch.setattr(fit, "fit_bundle", _fitted_once(fit.fit_bundle, folder))
    patch.setattr(promotion, "judge", _judged_once(promotion.judge))


def _prepared_once(really: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    kept: dict[str, Any] = {}

    @functools.wraps(really)
    def prepare(source: Path, filename: str, spec: Any, out: Path, *, model: str) -> Any:
        key = hashlib.sha256(source.read_bytes() + filename.encode() + json.dumps(spec.to_json()).encode()).hexdigest()
        if key not in kept:
            place = Path(tempfile.mkdtemp(dir=folder)) / "dataset"
            kept[key] = really(source, filename, spec, place, model=model)
        shutil.copytree(kept[key].folder, out, dirs_exist_ok=True)
        return replace(kept[key], folder=out)

    return prepare


def _fitted_once(really: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """Bundles of one dataset differ in a byte each time: no two trainings end alike to the last bit."""
    kept: dict[str, Path] = {}
    made = iter(range(10**9))

    @functools.wraps(really)
    def fit_bundle(dataset: Path, spec: Any, out: Path, *, run: dict[str, Any], **more: Any) -> None:
        if run["dataset"] not in kept:
            kept[run["dataset"]] = Path(tempfile.mkdtemp(dir=folder)) / "bundle"
            really(dataset, spec, kept[run["dataset"]], run=run, **more)
        shutil.copytree(kept[run["dataset"]], out, dirs_exist_ok=True)
        card = json.loads((out / "card.json").read_text())
        (out / "card.json").write_text(json.dumps({**card, "made": next(made)}))
        (out / manifest.NAME).unlink()
        manifest.write(out, "bundle", **run)

    return fit_bundle


def _judged_once(really: Callable[..., Any]) -> Callable[..., Any]:
    kept: dict[Any, Any] = {}

    @functools.wraps(really)
    def judge(challenger: Path, champion: Path | None, **more: Any) -> Any:
        folders = [challenger, *([champion] if champion else [])]
        key = (*[manifest.sha256_of(folder / "model.onnx") for folder in folders], json.dumps(more, sort_keys=True))
        if key not in kept:
            kept[key] = really(challenger, champion, **more)
        return kept[key]

    return judge
