"""Feedback: what was true of rows that were predicted, by request id and row, kept under labels/ in the artifacts.

An object `labels/{model}/{hash of what was sent}.jsonl` has a label a line: request, row, label, at, by. The name is
the content's, and an object is written once: sending the same labels again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tidemill.core.clock import now
from tidemill.core.errors import BadBody, TooLarge
from tidemill.core.limits import limit
from tidemill.core.storage import Storage

PREFIX = "labels/"
_REQUEST = re.compile(r"[A-Za-z0-9=_+/.:-]{1,128}")

Label = dict[str, Any]


def checked(labels: Sequence[Mapping[str, Any]], answers: Mapping[str, Any]) -> list[Label]:
    """The labels as the model knows them; raises BadBody naming the first that cannot be one.

    `answers` is the labels.json of the version in service.
    """
    if len(labels) > limit("feedback_labels"):
        raise TooLarge(
            f"{len(labels)} labels were sent; {limit('feedback_labels')} are taken at once.",
            remedy="Send them in several requests.",
            limit_labels=limit("feedback_labels"),
        )
    if not labels:
        raise BadBody("There are no labels.", code="NO_LABELS", remedy='Send {"labels": [{"request": ..., ...}]}.')
    known = {str(label): str(label) for label in answers["labels"]}
    found: dict[tuple[str, int], Label] = {}
    for at, item in enumerate(labels):
        request, row = str(item["request"]), int(item["row"])
        if not _REQUEST.fullmatch(request) or not 0 <= row < limit("request_rows"):
            raise BadBody(
                f"Label {at} names the request {request[:80]!r} and the row {row}.",
                code="BAD_REQUEST_ID",
                remedy="The header x-request-id of a prediction names it; rows count from 0.",
                label=at,
            )
        label = _number(item["label"], at) if answers["task"] == "regression" else _class(item["label"], known, at)
        if found.setdefault((request, row), {"request": request, "row": row, "label": label})["label"] != label:
            raise BadBody(
                f"Row {row} of request {request!r} has two labels.", code="TWO_LABELS", remedy="Send one.", label=at
            )
    return list(found.values())


def _class(label: Any, known: Mapping[str, str], at: int) -> str:
    """One of the model's labels; numbers may come as numbers."""
    said = str(label).lower() if isinstance(label, bool) else str(label)
    ways = [str(label), said, *([str(int(label))] if isinstance(label, float) and label.is_integer() else [])]
    for way in ways:
        if way in known:
            return known[way]
    raise BadBody(
        f"Label {at} is {str(label)[:80]!r}, which the model does not know.",
        code="UNKNOWN_LABEL",
        remedy=f"It answers {', '.join(map(repr, list(known)[:10]))}{' ...' if len(known) > 10 else ''}.",
        label=at,
    )


def _number(label: Any, at: int) -> float:
    try:
        value = math.nan if isinstance(label, bool) else float(label)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise BadBody(
            f"Label {at} is {str(label)[:80]!r}.", code="UNKNOWN_LABEL", remedy="Give a finite number.", label=at
        )
    return value


def write(artifacts: Storage, model: str, labels: Sequence[Label], by: str) -> str:
    """Keep checked labels; the key, the same for the same labels."""
    digest = hashlib.sha256(json.dumps(list(labels), sort_keys=True).encode()).hexdigest()[:32]
    key, at = f"{PREFIX}{model}/{digest}.jsonl", now()
    lines = [json.dumps({**label, "at": at, "by": by}) for label in labels]
    artifacts.write_new(key, ("\n".join(lines) + "\n").encode(), "application/x-ndjson")
    return key


def read(artifacts: Storage, model: str, since: str = "", until: str = "") -> Iterator[Label]:
    """The labels that came after `since` and not after `until`, in the order they came."""
    found = []
    for entry in artifacts.keys(f"{PREFIX}{model}/"):
        # an object is as old as its labels; a day of grace for clocks that differ
        changed = entry.get("LastModified")
        if since and changed is not None and changed.isoformat()[:10] < since[:10]:
            continue
        found += [json.loads(line) for line in artifacts.read_bytes(entry["Key"]).splitlines()]
    for label in sorted(found, key=lambda label: str(label["at"])):
        if label["at"] > since and (not until or label["at"] <= until):
            yield label
