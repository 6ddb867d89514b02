"""ONNX Runtime sessions with the options that suit a function: few threads, no spinning, quick to open."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

MEMORY_PER_CPU_MIB = 1769  # AWS Lambda gives one vCPU for every 1,769 MB
PREPACK_UP_TO_BYTES = 8 << 20  # packing weights for wide batches costs 2.4 ms per MB when the session opens
ERRORS_ONLY = 3


def threads(environment: Mapping[str, str] = os.environ) -> int:
    """The whole vCPUs of the function, one elsewhere: a second thread on a busy core costs more than it brings."""
    memory = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    return max(1, int(memory) // MEMORY_PER_CPU_MIB) if memory.isdecimal() else 1


def open_session(path: Path) -> ort.InferenceSession:
    """Open a model; weights in another file of the folder are mapped, not read, when they are large."""
    return ort.InferenceSession(str(path), options(_weight_bytes(path)), providers=["CPUExecutionProvider"])


def options(weight_bytes: int) -> ort.SessionOptions:
    """The options for a model of this size."""
    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = threads()
    chosen.inter_op_num_threads = 1
    chosen.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    chosen.log_severity_level = ERRORS_ONLY
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if weight_bytes > PREPACK_UP_TO_BYTES:
        chosen.add_session_config_entry("session.disable_prepacking", "1")
    return chosen


def _weight_bytes(path: Path) -> int:
    weights = path.with_name("weights.bin")
    return path.stat().st_size + (weights.stat().st_size if weights.is_file() else 0)
