"""The usual way to write the predict function: FastAPI behind Mangum, boto3 clients made when the module loads."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import boto3
from fastapi import FastAPI, Header, HTTPException
from mangum import Mangum
from pydantic import BaseModel

from tidemill.serving.predictor import Predictor

TABLE = boto3.resource("dynamodb").Table(os.environ["TIDEMILL_TABLE"])
S3 = boto3.client("s3")
BUCKET = os.environ["TIDEMILL_ARTIFACTS_BUCKET"]
OPEN: dict[str, Predictor] = {}

app = FastAPI()


class Body(BaseModel):
    """The rows."""

    rows: list[dict[str, Any]]


@app.post("/models/{model}/predict")
async def predict(model: str, body: Body, x_api_key: Annotated[str, Header()]) -> dict[str, Any]:
    """Answer the rows with the champion."""
    digest = hashlib.sha256(x_api_key.encode()).hexdigest()
    if "Item" not in TABLE.get_item(Key={"pk": f"KEY#{digest}", "sk": "META"}):
        raise HTTPException(401)
    alias: Any = TABLE.get_item(Key={"pk": f"MODEL#{model}", "sk": "ALIAS#champion"})["Item"]
    bundle = str(alias["bundle"])
    if bundle not in OPEN:
        OPEN[bundle] = _load(bundle)
    return {"model": model, "version": int(alias["version"]), "predictions": OPEN[bundle].predict(body.rows)}


def _load(bundle: str) -> Predictor:
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("TIDEMILL_CACHE_DIR")))
    for entry in json.loads(S3.get_object(Bucket=BUCKET, Key=bundle + "MANIFEST.json")["Body"].read())["files"]:
        (folder / entry["name"]).write_bytes(S3.get_object(Bucket=BUCKET, Key=bundle + entry["name"])["Body"].read())
    return Predictor.load(folder)


handler = Mangum(app, lifespan="off")
