"""What the serving benchmarks measure with: a model of 1 MB on the adult columns, and the two AWS calls on a port."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from tests.serving import bundle_factory
from tests.serving.fake_aws import BUCKET, KEY, TABLE, running

from tidemill.core import manifest
from tidemill.core.features import fit
from tidemill.core.spec import Spec

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
HIDDEN = (512, 384)  # with 99 features some 250,000 weights, 1 MB


def adult() -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """The columns, the schema and the rows (without target) of the adult sample."""
    with (ROOT / "tests/data/adult-3000.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    names = list(records[0])
    described = [
        {
            "name": name,
            "kind": "number" if name in NUMBERS else "category",
            "role": "target" if name == names[-1] else "feature",
            "log1p": name.startswith("capital"),
        }
        for name in names
    ]
    columns = {
        name: np.array(
            [float(r[name]) if name in NUMBERS else r[name] for r in records], None if name in NUMBERS else object
        )
        for name in names[:-1]
    }
    rows = [{n: int(r[n]) if n in NUMBERS else r[n] for n in names[:-1]} for r in records]
    return columns, {"columns": described}, rows


def make_bundle(folder: Path) -> list[dict[str, Any]]:
    """Write a bundle with a network of the usual size; returns rows it can answer."""
    columns, schema, rows = adult()
    program = fit(columns, schema, Spec())
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(json.dumps(program.to_json()))
    (folder / "labels.json").write_text(json.dumps({"task": "binary", "target": "income", "labels": ["<=50K", ">50K"]}))
    graph, weights = _network((program.width, *HIDDEN, 2))
    (folder / "weights.bin").write_bytes(weights)
    bundle_factory._save(folder / "model.onnx", graph)
    manifest.write(folder, "bundle", model="adult", run="r-1")
    return rows


def _network(sizes: tuple[int, ...]) -> tuple[onnx.GraphProto, bytes]:
    random = np.random.default_rng(0)
    nodes, tensors, weights, value = [], [], b"", "x"
    for layer, (wide, next_wide) in enumerate(itertools.pairwise(sizes)):
        for name, shape in ((f"w{layer}", (wide, next_wide)), (f"b{layer}", (next_wide,))):
            data = random.normal(0, 0.05, shape).astype(np.float32)
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, held in (("location", "weights.bin"), ("offset", len(weights)), ("length", data.nbytes)):
                tensor.external_data.add(key=key, value=str(held))
            tensors.append(tensor)
            weights += data.tobytes()
        last = layer == len(sizes) - 2
        output = "probabilities" if last else f"h{layer}"
        nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [f"s{layer}"]))
        nodes.append(helper.make_node("Softmax" if last else "Relu", [f"s{layer}"], [output]))
        value = output
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", sizes[0]])
    y = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", sizes[-1]])
    return helper.make_graph(nodes, "model", [x], [y], tensors), weights


def event(rows: list[dict[str, Any]], verb: str = "predict") -> dict[str, Any]:
    """A request as API Gateway sends it, with the headers a client usually has."""
    return {
        "version": "2.0",
        "routeKey": f"POST /models/{{model}}/{verb}",
        "rawPath": f"/models/adult/{verb}",
        "rawQueryString": "",
        "headers": {
            "accept": "*/*",
            "accept-encoding": "gzip, deflate",
            "content-type": "application/json",
            "host": "abcdefghij.execute-api.eu-central-1.amazonaws.com",
            "user-agent": "python-httpx/0.28.1",
            "x-amzn-trace-id": "Root=1-6650c0de-0123456789abcdef01234567",
            "x-api-key": KEY,
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "pathParameters": {"model": "adult"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.execute-api.eu-central-1.amazonaws.com",
            "http": {
                "method": "POST",
                "path": f"/models/adult/{verb}",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "python-httpx/0.28.1",
            },
            "requestId": "YkXa1jQTFiAEJ9w=",
            "routeKey": f"POST /models/{{model}}/{verb}",
            "stage": "$default",
            "timeEpoch": 1717163100000,
        },
        "body": json.dumps({"rows": rows}),
        "isBase64Encoded": False,
    }


@contextmanager
def endpoint(bundle: Path) -> Iterator[dict[str, str]]:
    """The two AWS calls in a process of their own; gives the environment of a function that uses them."""
    command = [sys.executable, "-m", "tests.benchmarks.served", str(bundle)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        url = process.stdout.readline().strip()
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            "TIDEMILL_TABLE": TABLE,
            "TIDEMILL_ARTIFACTS_BUCKET": BUCKET,
            "OPENBLAS_NUM_THREADS": "1",
        }
        process.stdin.close()


if __name__ == "__main__":
    with running() as server:
        server.put_bundle(Path(sys.argv[1]), "adult", "r-1", 1)
        print(server.url, flush=True)
        sys.stdin.read()
