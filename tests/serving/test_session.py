"""Sessions take the threads of the function and skip the packing of large weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.serving import bundle_factory as factory

from tidemill.serving import session


@pytest.mark.parametrize(
    ("memory", "wanted"), [("", 1), ("128", 1), ("1769", 1), ("3538", 2), ("10240", 5), ("much", 1)]
)
def test_threads_follow_the_memory_of_the_function(memory: str, wanted: int) -> None:
    assert session.threads({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory}) == wanted


def test_threads_are_one_outside_lambda() -> None:
    assert session.threads({}) == 1


def test_threads_do_not_spin_and_only_large_weights_stay_unpacked() -> None:
    small, large = session.options(1 << 20), session.options(100 << 20)
    assert small.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert large.get_session_config_entry("session.disable_prepacking") == "1"
    with pytest.raises(RuntimeError):
        small.get_session_config_entry("session.disable_prepacking")


def test_weights_beside_the_model_count(tmp_path: Path) -> None:
    folder = factory.make(tmp_path / "bundle")
    sizes = [(folder / name).stat().st_size for name in ("model.onnx", "weights.bin")]
    assert session._weight_bytes(folder / "model.onnx") == sum(sizes)
    assert session.open_session(folder / "model.onnx").get_providers() == ["CPUExecutionProvider"]
