"""CannotExport: what the exporter says instead of guessing."""

from __future__ import annotations

from typing import Any

from tidemill.core.errors import TidemillError


class CannotExport(TidemillError):
    """A function that cannot be written as an ONNX graph without changing what it computes."""

    code, status, title = "CANNOT_EXPORT", 500, "The function cannot be exported"

    def __init__(self, message: str, *, remedy: str = "", **details: Any) -> None:
        super().__init__(message, remedy=remedy or "Write the function with supported primitives.", **details)
