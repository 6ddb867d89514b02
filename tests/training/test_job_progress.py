"""The log of a job tells each stage, and in long ones now and then how far it is."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from tidemill.core.progress import Progress
from tidemill.training import job


def test_a_long_stage_is_logged_now_and_then(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    registry = SimpleNamespace(report=lambda *_: True)
    heart = job.Heart(registry, {"model": "m", "run": "r", "epoch": 1})  # type: ignore[arg-type]
    with caplog.at_level("INFO", job.log.name):
        for epoch in range(100):  # of a second each
            now[0] += 1.0
            heart.report(Progress("training", epoch, 100, f"epoch {epoch}"))
        heart.report(Progress("blending"))
    told = [record.getMessage().strip() for record in caplog.records]
    assert told[0] == "training epoch 0"
    assert told[-1] == "blending"
    assert len(told) == 1 + 99 // (int(job.LOG_EVERY_S) + 1) + 1
