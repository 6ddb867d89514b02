"""The rule for names that become keys, paths and URLs."""

from __future__ import annotations

import re

from tidemill.core.errors import BadRequest

_MODEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def check_model(name: str) -> str:
    """The name itself, if it may name a model; raises BadRequest (BAD_MODEL_NAME) otherwise."""
    if not _MODEL.fullmatch(name):
        raise BadRequest(
            f"{name[:80]!r} cannot name a model.",
            code="BAD_MODEL_NAME",
            remedy="Use 1 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit.",
        )
    return name
