"""The rule for names that become keys, paths and URLs."""

from __future__ import annotations

import re

from tidemill.core.errors import BadRequest, NotFound

RULE = "Use 1 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit."
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def may_name(name: str) -> bool:
    """Whether a name may become part of a key, a path and a URL."""
    return _NAME.fullmatch(name) is not None


def check_model(name: str) -> str:
    """The name itself, if it may name a model; raises BadRequest (BAD_MODEL_NAME) otherwise."""
    if not may_name(name):
        raise BadRequest(f"{name[:80]!r} cannot name a model.", code="BAD_MODEL_NAME", remedy=RULE)
    return name


def addressed(name: str) -> str:
    """The model that a path names; raises NotFound (BAD_MODEL_NAME) where no model can have that name."""
    if not may_name(name):
        raise NotFound(f"{name[:80]!r} cannot name a model.", code="BAD_MODEL_NAME", remedy=RULE)
    return name


def check_backbone(name: str) -> str:
    """The name itself, if it may name a backbone; raises BadRequest (BAD_BACKBONE_NAME) otherwise."""
    if not may_name(name):
        raise BadRequest(f"{name[:80]!r} cannot name a backbone.", code="BAD_BACKBONE_NAME", remedy=RULE)
    return name
