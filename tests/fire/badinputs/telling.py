"""The public door of an event: the messages of the corpus, with this deployment's names in the place of theirs."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any
from urllib.parse import unquote_plus

from tests.fire.badinputs.uploading import Entrance
from tests.fire.corpus.case import table

FOREIGN = "someone-elses-bucket"
WRITTEN = "d41d8cd98f00b204e9800998ecf8427e"  # the corpus's ETag of what is in the bucket; another one is overwritten


def prepared(entrance: Entrance, name: str, event: dict[str, Any]) -> tuple[str, list[str]]:
    """Put what the event tells of into the bucket, if it is still there; the model and the messages."""
    model = f"e-{uuid.uuid4().hex[:10]}"
    bodies = []
    for message in event["Records"]:
        body = json.loads(message["body"])
        for record in body.get("Records", []):
            s3 = record["s3"]
            if s3["bucket"]["name"] != FOREIGN:
                s3["bucket"]["name"] = entrance.uploads.bucket
            s3["object"]["key"] = s3["object"]["key"].replace("tenant-a/", f"uploads/{model}/")
            key = unquote_plus(s3["object"]["key"])
            if "005_delete" not in name and not key.endswith("/"):
                content = b"" if "009_size_zero" in name else table().encode()
                entrance.uploads.write_bytes(key, content)
                if s3["object"].get("eTag") == WRITTEN:
                    s3["object"]["eTag"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        bodies.append(json.dumps(body))
    return model, bodies
