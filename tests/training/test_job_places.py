"""Where a job lays its bundle: a holder that lost the run must not write where its successor's bundle serves."""

from __future__ import annotations

from typing import Any

from tests.doubles.plane import MemoryS3

from tidemill.core.storage import Storage
from tidemill.training import job


def run(epoch: int) -> dict[str, Any]:
    return {"model": "m", "run": "r", "epoch": epoch}


def test_no_two_holders_of_a_run_write_into_one_folder() -> None:
    assert len({job._prefix(run(1), epoch) for epoch in range(1, 12)}) == 11


def test_a_complete_bundle_of_an_earlier_holder_is_taken_and_a_half_one_is_not() -> None:
    artifacts = Storage("artifacts", MemoryS3())
    artifacts.write_bytes("bundles/m/r/model.onnx", b"half")
    assert job._complete(run(3), artifacts) == ""
    artifacts.write_json("bundles/m/r/2/MANIFEST.json", {"files": []})
    assert job._complete(run(3), artifacts) == "bundles/m/r/2/"
    assert job._complete(run(2), artifacts) == "", "its own folder is its own to write"
