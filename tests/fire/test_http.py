"""HTTP as nobody means it: paths, methods, headers, lengths, encodings and bodies that try to be something else."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.doubles.plane import Plane, with_income
from tests.fire.callers import cases
from tests.fire.callers.events import Handler, event, plane_handler, refused, sound
from tests.serving import bundle_factory
from tests.serving.fake_aws import KEY, running

pytestmark = [pytest.mark.fire, pytest.mark.timeout(600)]
AREA = "http"
SLOWEST_S = 10
METHODS = (
    "GET",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PUT",
    "PATCH",
    "DELETE",
    "POST",
    "get",
    "Post",
    "",
    "GET /health",
)
PATHS = (
    "/models", "/models/", "//models", "/models//", "/MODELS", "/./models", "/models/.", "/health/../models",
    "/models/../health", "/health/%2e%2e/models", "/%2e%2e/models", "/models%2f", "/%6dodels", "/health/",
    "/health//", "//health", "/Health", "/health%00", "/health\x00", "/health;/models", "/health#/models",
    "/health?x", "/health\\..\\models", "\\models", "", "*", "health", "http://plane/health", "/health/models",
    "/docs", "/docs/", "/openapi.json", "/openapi.json/", "/redoc", "/models/income/card",
    "/models/income/../../health", "/models/..%2fhealth", "/..;/health", "/health%0d%0ax: y", "/health\r\nx: y",
    "/健康", "/" + "a" * 9000,
)  # fmt: skip
PROMOTES = (
    "/models/income/promote", "/models/income/promote/", "/models/income//promote", "/models/./income/promote",
    "//models/income/promote", "/models/x/../income/promote", "/models/income/predict/../promote",
    "/models/income%2fpromote", "/models/income/promote%20", "/models/income/PROMOTE",
    "/models/income/promote;predict", "/models/income/promote?/predict", "/models/income/promote#/predict",
    "/models/income/rollback", "/models/income/challenger", "/models/income/retrain",
)  # fmt: skip


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    """The event loop that Mangum would make by itself and never close."""
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield
    asyncio.set_event_loop(None)
    made.close()


@pytest.fixture
def plane() -> Plane:
    logging.getLogger("api").setLevel(logging.CRITICAL)
    return with_income(Plane())


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handler]:
    """Predict's door with a model in service."""
    folder = tmp_path_factory.mktemp("door")
    with running() as aws:
        aws.put_bundle(bundle_factory.make(folder / "made"), "income", "r-1", 3)
        made = cases.door_over(aws, folder / "cache")
        yield made.handle
        made.pointers.client.close()


def test_no_path_and_no_method_opens_what_a_key_opens(plane: Plane, fire: Any) -> None:
    ask = plane_handler(plane.app)
    with fire(AREA, "paths and methods without a key", count=len(PATHS) * len(METHODS)):
        for path in PATHS:
            for method in METHODS:
                refused(ask(event(path, method)), 401)
    with fire(AREA, "methods of the open route", count=len(METHODS) - 1):
        for method in METHODS[1:]:
            refused(ask(event("/health", method)), 405)
        assert sound(ask(event("/health")))["statusCode"] == 200


def test_no_path_makes_a_viewer_promote(plane: Plane, fire: Any) -> None:
    ask, before = plane_handler(plane.app), plane.registry.moves("income")
    headers = {"x-api-key": plane.keys["predict"]}
    with fire(AREA, "paths of a viewer", count=len(PROMOTES) * 4):
        for path in PROMOTES:
            for more in ({}, {"x-http-method-override": "GET"}, {"x-original-url": path}, {"x-forwarded-prefix": "/x"}):
                wanted = event(path, "POST", {"version": 1}, headers={**headers, **more})
                refused(ask(wanted), 401, 403, 404, 405)
    assert plane.registry.moves("income") == before and not plane.woken


def test_other_headers_rewrite_nothing(plane: Plane, fire: Any) -> None:
    ask = plane_handler(plane.app)
    names = (
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-uri",
        "x-forwarded-path",
        "x-http-method-override",
        "forwarded",
    )
    with fire(AREA, "headers that rewrite", count=len(names) * 2):
        for name in names:
            for value in ("/health", "GET"):
                refused(ask(event("/models", "GET", headers={name: value})), 401)


def test_foreign_pages_are_never_invited(plane: Plane, door: Handler, fire: Any) -> None:
    ask = plane_handler(plane.app)
    pages = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    with fire(AREA, "CORS", count=5):
        refused(ask(event("/models", "OPTIONS", headers=pages)), 401)
        for role in ("predict", "operate"):
            given = {**pages, "x-api-key": plane.keys[role]}
            assert sound(ask(event("/models", headers=given)))["statusCode"] == 200
        refused(door(event("/models/income/predict", "OPTIONS", headers={**pages, "x-api-key": KEY})), 405)
        cookie = event("/models", cookies=[f"x-api-key={plane.keys['operate']}"])
        refused(ask(cookie), 401)


LENGTHS = ("0", "1", "-1", "5, 6", "1e9", " 7 ", "0x10", "+3", "9" * 500, "٣", "262145", "", "NaN")
LIES = (
    {"transfer-encoding": "chunked"}, {"transfer-encoding": "chunked", "content-length": "4"},
    {"content-encoding": "gzip"}, {"expect": "100-continue"}, {"connection": "upgrade", "upgrade": "h2c"},
    {"content-type": "application/json; charset=utf-16"}, {"content-type": "application/json, text/plain"},
    {"content-type": "text/plain, application/json"}, {"content-type": "multipart/form-data; boundary=" + "x" * 9000},
    {"content-type": "application/json\r\nx: y"}, {"x-tidemill-key": "a\r\nset-cookie: b=c"}, {"host": "a\r\nb"},
    {"x-forwarded-proto": "javascript"}, {"x-forwarded-port": "x"}, {"host": "evil:99999999"}, {"accept": "\x00"},
)  # fmt: skip


def test_what_headers_say_of_a_body_does_not_decide_what_is_read(plane: Plane, door: Handler, fire: Any) -> None:
    ask, body = plane_handler(plane.app), {"version": 1}
    key = {"x-api-key": plane.keys["predict"]}
    with fire(AREA, "lengths and lies in headers", count=2 * (len(LENGTHS) + len(LIES))):
        for more in (*({"content-length": length} for length in LENGTHS), *LIES):
            refused(ask(event("/models/income/promote", "POST", body, headers={**key, **more})), 400, 403, 413, 415)
            hot = event("/models/income/predict", "POST", {"rows": [{}]}, headers={"x-api-key": KEY, **more})
            sound(door(hot))


def test_two_keys_are_none_and_a_lying_flag_is_a_bad_request(plane: Plane, door: Handler, fire: Any) -> None:
    ask, good = plane_handler(plane.app), plane.keys["operate"]
    with fire(AREA, "repeated keys and flags that lie", count=11):
        for value in (f"{good},bad", f"bad, {good}", f"{good}, {good}", f"{good}\r\nx", f"Bearer {good}"):
            refused(ask(event("/models", headers={"x-api-key": value})), 401)
        for body in ("@@@", "a", "é", "\ud800"):
            lie = event("/models/income/promote", "POST", body, headers={"x-api-key": good}, isBase64Encoded=True)
            assert refused(ask(lie), 400, 422)
            lie = event("/models/income/predict", "POST", body, headers={"x-api-key": KEY}, isBase64Encoded=True)
            assert refused(door(lie), 400)
        packed = base64.b64encode(b'{"version": 1}').decode()
        plain = event("/models/income/promote", "POST", packed, headers={"x-api-key": good})
        refused(ask(plain), 400, 422)
        assert plane.registry.alias("income")["version"] == 2  # type: ignore[index]
        true = {**plain, "isBase64Encoded": True}
        assert sound(ask(true))["statusCode"] == 200


def bodies(most: int) -> dict[str, str]:
    """Bodies that are JSON only in name, or far too much of it; `most` bytes are read."""
    columns = ",".join(f'"c{place}":1' for place in range(1_000_000))
    return {
        "one byte too long": " " * (most + 1),
        "long, and JSON at its end": " " * most + '{"version": 1}',
        "nested lists": "[" * 100_000,
        "nested objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
        "nested in a row": '{"rows": [{"age": ' + "[" * 3_000 + "]" * 3_000 + "}]}",
        "a million columns": '{"rows": [{' + columns + "}]}",
        "a long number": '{"version": ' + "9" * 100_000 + "}",
        "NaN": '{"version": NaN, "rows": [{"age": NaN}]}',
        "infinity": '{"version": Infinity, "rows": [{"age": -Infinity}]}',
        "past every float": '{"version": 1e999, "rows": [{"age": 1e999}]}',
        "the same name twice": '{"version": 1, "version": 2, "rows": [], "rows": [{}]}',
        "half a character": '{"version": "\\ud800", "rows": [{"work": "\\ud800"}], "interval": "\\udfff"}',
        "a zero": '{"version": "\\u0000"}\x00',
        "a mark before": '\ufeff{"version": 1',
        "two documents": '{"version": 1}{"version": 2}',
        "nothing": "",
        "null": "null",
        "a text": '"version"',
        "true": "true",
        "comments": '{"version": 1 /* 2 */}',
        "more than is asked": '{"version": 1, "role": "operate", "pin": false, "rows": [], "key": "x"}',
        "a prototype": '{"__proto__": {"role": "operate"}, "constructor": {"prototype": {}}}',
    }


GOOD = '"hours": 2, "work": null, "hired": null'
# What else would be a good request, so that nothing but the point in question can have it refused.
ROWS = {
    "nested in a row": '{"rows": [{"age": ' + "[" * 3_000 + "]" * 3_000 + ", " + GOOD + "}]}",
    "a long number": '{"rows": [{"age": ' + "9" * 100_000 + ", " + GOOD + "}]}",
    "NaN": '{"rows": [{"age": NaN, ' + GOOD + "}]}",
    "infinity": '{"rows": [{"age": -Infinity, ' + GOOD + "}]}",
    "past every float": '{"rows": [{"age": 1e999, ' + GOOD + "}]}",
    "the same name twice": '{"rows": [{"age": 1, "age": 2, ' + GOOD + "}]}",
    "more than is asked": '{"rows": [{"age": 1, ' + GOOD + '}], "key": "x"}',
    "two documents": '{"rows": [{"age": 1, ' + GOOD + "}]} {}",
    "a mark before": '\ufeff{"rows": [{"age": 1, ' + GOOD + "}]}",
}
CODES = {"NaN": "JSON_INVALID", "infinity": "JSON_INVALID", "the same name twice": "JSON_DUPLICATE_KEY"}
PLANE_BODIES, DOOR_BODIES = bodies(256 * 1024), {**bodies(5 << 20), **ROWS}


@pytest.mark.parametrize("kind", PLANE_BODIES)
def test_a_hostile_body_is_refused_in_time(kind: str, plane: Plane, door: Handler, fire: Any) -> None:
    ask, key = plane_handler(plane.app), {"x-api-key": plane.keys["operate"]}
    before = plane.registry.moves("income")
    with fire(AREA, f"body: {kind}", count=3):
        began = time.monotonic()
        for path in ("/uploads", "/models/income/promote"):
            refused(ask(event(path, "POST", PLANE_BODIES[kind], headers=key)))
        told = refused(door(event("/models/income/predict", "POST", DOOR_BODIES[kind], headers={"x-api-key": KEY})))
        assert told["code"] == CODES.get(kind, told["code"])
        assert time.monotonic() - began < SLOWEST_S * 3
    assert plane.registry.moves("income") == before


def test_a_body_at_the_limit_is_read_and_one_past_it_is_not(plane: Plane, door: Handler, fire: Any) -> None:
    ask, key = plane_handler(plane.app), {"x-api-key": plane.keys["operate"]}
    with fire(AREA, "limits of bodies", count=4):
        for most, status in ((256 * 1024, 200), (256 * 1024 + 1, 413)):
            answer = ask(event("/models/income/promote", "POST", '{"version": 1}'.ljust(most), headers=key))
            assert sound(answer)["statusCode"] == status
        row = {"age": 1, "hours": 2, "work": None, "hired": None}
        for most, status in ((5 << 20, 200), ((5 << 20) + 1, 413)):
            text = json.dumps({"rows": [row]}).ljust(most)
            answer = door(event("/models/income/predict", "POST", text, headers={"x-api-key": KEY}))
            assert sound(answer)["statusCode"] == status, answer["body"][:300]


def test_no_route_takes_a_field_that_it_does_not_know(plane: Plane, fire: Any) -> None:
    ask, key = plane_handler(plane.app), {"x-api-key": plane.keys["operate"]}
    document = plane.app.openapi()
    routes = [
        (path, about["requestBody"]["content"]["application/json"]["schema"])
        for path, methods in document["paths"].items()
        for about in methods.values()
        if "requestBody" in about and not path.endswith(("/predict", "/explain"))
    ]
    assert len(routes) >= 6
    for path, shape in routes:
        with fire(AREA, f"mass assignment {path}"):
            found = document["components"]["schemas"][shape["$ref"].rpartition("/")[2]] if "$ref" in shape else shape
            assert found.get("additionalProperties") is False, (path, found)
            filled = path.replace("{model}", "income").replace("{run}", "r-one").replace("{number}", "1")
            told = refused(ask(event(filled, "POST", {"is_admin": True, "role": "operate"}, headers=key)), 400, 422)
            assert "is_admin" in json.dumps(told), told


def test_no_address_that_a_caller_names_is_fetched(
    plane: Plane, door: Handler, fire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API7 of OWASP 2023: whatever is put into whatever field, no name is looked up and no stranger connected to."""
    asked: list[Any] = []
    connect = socket.socket.connect

    def recorded(self: socket.socket, address: Any) -> Any:
        if not str(address[0]).startswith("127."):
            asked.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", recorded)
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or (_ for _ in ()).throw(OSError())
    )
    ask, key = plane_handler(plane.app), {"x-api-key": plane.keys["operate"]}
    addresses = ("http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "s3://other/key", "//evil.example/x")
    with fire(AREA, "addresses in fields", count=len(addresses) * 4):
        for url in addresses:
            spec = f'[train]\nbackbone = "{url}"'
            ask(event("/uploads", "POST", {"model": url, "filename": url, "spec": spec}, headers=key))
            ask(event("/uploads", "POST", {"model": "income", "filename": "a.csv", "spec": spec}, headers=key))
            row = {"age": url, "hours": url, "work": url, "hired": url, "key": url}
            for rows in ([row], [{"key": url}]):
                door(event("/models/income/predict", "POST", {"rows": rows}, headers={"x-api-key": KEY, "host": url}))
    assert asked == []
