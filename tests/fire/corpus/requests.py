"""What is no data: models, requests to the API, events of S3 and Batch."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from tests.fire.corpus.case import GOOD, PARTLY, REFUSED, Made

# A pickle that would print when it is loaded. Nobody loads it.
PICKLE = b"\x80\x04\x8c\x08builtins\x94\x8c\x05print\x94\x93\x94\x8c\x1cthis pickle was loaded: FAIL\x94\x85\x94R\x94."
ROW = {"age": 30, "income": 1000, "city": "Paris"}
BUCKET = "uploads-of-somebody"


def cases() -> Iterator[Made]:
    """The files of these kinds."""
    yield from _models()
    for name, expected, reason, value in [*_predictions(), *_routes(), *_events(), *_jobs()]:
        yield Made(name + ".json", expected, reason, json.dumps(value, indent=1).encode())


def _models() -> Iterator[Made]:
    torch = io.BytesIO()
    with zipfile.ZipFile(torch, "w") as packed:
        packed.writestr(zipfile.ZipInfo("archive/data.pkl"), PICKLE)
    yield Made("model/002_joblib_named.csv", REFUSED, "TYPE_MISMATCH", PICKLE)
    for name, content in (
        ("001_pickle.pkl", PICKLE),
        ("004_torch.pt", torch.getvalue()),
        ("005_external_traversal.onnx", b"\x08\n:\x10location\x12\x0b../../etc/passwd"),
        ("006_alloc_bomb.onnx", b"\x08\n:\x10ConstantOfShape"),
        ("008_custom_domain.onnx", b"\x08\n:\x04Evil:\tevil.test"),
        ("009_garbage.onnx", bytes(range(256)) * 16),
        ("010_safetensors_header_bomb.safetensors", (2**60).to_bytes(8, "little") + b"{}"),
        ("900_joblib.joblib", PICKLE),
        ("901_pickle_without_name", PICKLE),
    ):
        yield Made(f"model/{name}", REFUSED, "MODEL_UPLOAD_FORBIDDEN", content)


Row = tuple[str, str, str, Any]


def _asked(body: str | bytes, verb: str = "predict", kind: str = "application/json", model: str = "churn") -> Any:
    sent = {"body": body} if isinstance(body, str) else {"body_base64": base64.b64encode(body).decode()}
    return {"method": "POST", "path": f"/v1/models/{model}/{verb}", "headers": {"content-type": kind}, **sent}


def _rows(**row: Any) -> Any:
    return _asked(json.dumps({"rows": [row]}))


def _raw(cells: str) -> Any:
    return _asked('{"rows":[{' + cells + "}]}")


def _predictions() -> Iterator[Row]:
    yield "api/001_good", GOOD, "200", _rows(**ROW)
    yield "api/002_missing_feature", REFUSED, "422 FEATURE_MISSING", _rows(age=30)
    yield "api/003_extra_feature", REFUSED, "422 FEATURE_UNKNOWN", _rows(**ROW, x=1)
    yield "api/005_null_value", GOOD, "200", _rows(**{**ROW, "age": None})
    yield "api/006_unseen_category", GOOD, "200 + warning", _rows(**{**ROW, "city": "Atlantis"})
    yield "api/007_string_number", REFUSED, "422 FEATURE_TYPE", _rows(**{**ROW, "age": "30"})
    yield "api/009_nan_literal", REFUSED, "400 JSON_INVALID", _raw('"age":NaN,"income":1,"city":"Paris"')
    yield "api/010_1e999", REFUSED, "422 VALUE_NOT_FINITE", _raw('"age":1e999,"income":1,"city":"Paris"')
    yield "api/011_f32_overflow", REFUSED, "422 VALUE_OUT_OF_RANGE", _raw('"age":1e300,"income":1,"city":"Paris"')
    yield "api/013_deep_json", REFUSED, "400 JSON_TOO_DEEP", _asked("[" * 20_000 + "]" * 20_000)
    yield "api/014_duplicate_keys", REFUSED, "400 JSON_DUPLICATE_KEY", _raw('"age":1,"age":9,"income":1,"city":"Paris"')
    yield "api/015_empty_rows", REFUSED, "422 NO_ROWS", _asked('{"rows":[]}')
    yield "api/017_empty_body", REFUSED, "400 JSON_INVALID", _asked("")
    yield "api/018_wrong_content_type", REFUSED, "415", _asked("<x/>", kind="text/xml")
    yield "api/019_invalid_utf8", REFUSED, "400 JSON_INVALID", _asked(b'{"rows":[{"city":"\xff"}]}')
    yield "api/029_image_bad_base64", REFUSED, "422 IMAGE_DECODE", _asked('{"image_base64":"!!!!"}', model="pets")
    inside = '{"image_url":"http://169.254.169.254/latest/meta-data/"}'
    yield "api/030_image_url_ssrf", REFUSED, "422 URL_NOT_ALLOWED", _asked(inside, model="pets")
    csv = "id,age,income,city\n=1+1,30,1000,Paris\n"
    yield "api/033_formula_in_batch_answer", GOOD, "200", _asked(csv, "predict.csv", "text/csv")


def _route(method: str, path: str, body: str = "", **headers: str) -> Any:
    return {
        "method": method,
        "path": path,
        "headers": {k.replace("_", "-"): v for k, v in headers.items()},
        "body": body,
    }


def _routes() -> Iterator[Row]:
    status = '{"name":"a","tenant":"other","status":"READY"}'
    sent = {"content_type": "application/json"}
    get = lambda path, **headers: _route("GET", path, **headers)  # noqa: E731
    yield "api/021_path_traversal_id", REFUSED, "404", _route("POST", "/v1/models/..%2f..%2fother/predict", "{}")
    yield "api/022_nul_in_id", REFUSED, "404", get("/v1/models/chu%00rn")
    yield "api/023_other_tenant", REFUSED, "404", get("/v1/models/{other}", authorization="Bearer {token}")
    yield "api/025_jwt_expired", REFUSED, "401", get("/v1/models", authorization="Bearer {expired}")
    yield "api/026_no_auth", REFUSED, "401", get("/v1/models")
    yield "api/027_big_header", REFUSED, "431", get("/v1/models", x_a="A" * 12_288)
    yield "api/031_mass_assignment", REFUSED, "422", _route("POST", "/v1/datasets", status, **sent)
    trained = _route("POST", "/v1/trainings", '{"dataset":"a"}', idempotency_key="k1", **sent)
    yield "api/034_idempotency_key_reuse", REFUSED, "409 or 422", trained
    yield "api/035_method", REFUSED, "405", _route("DELETE", "/v1/models/churn/predict")
    yield "api/037_crlf_header", REFUSED, "400", get("/v1/datasets?next=%0d%0aset-cookie:%20a=b")
    yield "api/038_cursor_tampered", REFUSED, "400 CURSOR", get("/v1/datasets?cursor=eyJwayI6Im90aGVyIn0")


def record(
    key: str = "tenant-a/ds/data.csv", name: str = "ObjectCreated:Put", bucket: str = BUCKET, **more: Any
) -> Any:
    """What S3 says of one object."""
    known = {"key": key, "size": 10, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "0055AED6DCD90281E5"}
    about = {"bucket": {"name": bucket}, "object": {n: v for n, v in (known | more).items() if v is not None}}
    return {"eventSource": "aws:s3", "eventName": name, "eventTime": "2024-01-01T00:00:00.000Z", "s3": about}


def _sent(*bodies: Any) -> Any:
    made = [{"messageId": f"m{n}", "receiptHandle": "h", "body": json.dumps(b)} for n, b in enumerate(bodies, 1)]
    return {"Records": made}


def _message(*records: Any) -> Any:
    return {"Records": list(records)}


def _events() -> Iterator[Row]:
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}
    short, long = record(sequencer="0055AED6DCD90281E5"), record(sequencer="0055AED6DCD90281E5F0")
    deleted = record(name="ObjectRemoved:Delete", sequencer="0055AED6DCD90281E9")
    bare = record("tenant-a/x.csv", size=None, eTag=None, sequencer=None)
    twice = _sent(_message(record()), _message(record()))
    yield "event/001_s3_test_event", GOOD, "IGNORED", _sent(test)
    yield "event/002_duplicate", GOOD, "OK", twice
    yield "event/004_sequencer_lengths", GOOD, "OK", _sent(_message(short), _message(long))
    yield "event/005_delete_after_create", REFUSED, "SOURCE_DELETED", _sent(_message(deleted), _message(record()))
    coded = record("tenant-a/my+data%20%28v2%29+%C3%A9.csv")
    yield "event/006_url_encoded_key", GOOD, "OK", _sent(_message(coded))
    yield "event/008_folder_marker", GOOD, "IGNORED", _sent(_message(record("tenant-a/ds/", size=0)))
    yield "event/009_size_zero", REFUSED, "EMPTY_FILE", _sent(_message(record(size=0)))
    foreign = record(bucket="someone-elses-bucket")
    yield "event/010_wrong_bucket", REFUSED, "SOURCE_FORBIDDEN", _sent(_message(foreign))
    yield "event/012_no_records", PARTLY, "POISON", _sent({})
    yield "event/013_unknown_event", GOOD, "IGNORED", _sent(_message(record(name="LifecycleExpiration:Delete")))
    yield "event/014_etag_changed", GOOD, "SUPERSEDED", _sent(_message(record(eTag="f" * 32)))
    yield "event/016_missing_sequencer", GOOD, "OK", _sent(_message(bare))


def _job(status: str, time: int = 1, **detail: Any) -> Any:
    told = {"jobId": "j1", "jobName": "train", "status": status, "attempts": [], **detail}
    said = {"source": "aws.batch", "detail-type": "Batch Job State Change", "detail": told}
    return {"version": "0", "id": f"e{time}", "time": f"2024-01-01T00:00:0{time}Z", **said}


def _jobs() -> Iterator[Row]:
    killed = {"exitCode": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"}
    taken, late = "Host EC2 (instance i-0) terminated.", "Job attempt duration exceeded timeout"
    yield "event/017_batch_failed_then_running", GOOD, "OK", [_job("FAILED", 9), _job("RUNNING", 5)]
    yield "event/018_batch_duplicate_success", GOOD, "OK", [_job("SUCCEEDED"), _job("SUCCEEDED")]
    yield "event/020_batch_spot", GOOD, "RETRIED", [_job("FAILED", statusReason=taken)]
    yield "event/021_batch_oom", REFUSED, "OUT_OF_MEMORY", [_job("FAILED", container=killed)]
    yield "event/022_batch_timeout", REFUSED, "TIME_LIMIT", [_job("FAILED", statusReason=late)]
    yield "event/024_batch_unknown_fields", GOOD, "OK", [_job("SUCCEEDED", newField={"x": 1})]
