"""Messages that are none, late, or of an upload that is gone or replaced; and a table that is lost while it serves."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from tests.fire.proxy import Proxy
from tests.fire.test_rebuild import contents, create
from tests.fire.wires.mill import Mill, told

from tidemill.core.keys import new_key
from tidemill.core.rebuild import rebuild
from tidemill.core.registry import Registry

pytestmark = [pytest.mark.fire, pytest.mark.stack, pytest.mark.timeout(1200)]
ROW = {"age": 40, "hours": 30, "job": "cook"}


def test_a_test_event_of_s3_is_taken_and_wakes_nobody(fire: Any, mill: Mill, proxy: Proxy) -> None:
    with fire("fault classes", "S3 test event"):
        models, failures = mill.registry.models(), mill.failures
        mill.send("preprocess", json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}))
        mill.run_until(lambda: not mill.waiting())
        assert (mill.registry.models(), mill.failures, mill.dead_letters()) == (models, failures, [])


def test_a_message_that_is_no_notification_ends_among_the_dead_letters(fire: Any, mill: Mill, proxy: Proxy) -> None:
    with fire("fault classes", "no notification"):
        models = mill.registry.models()
        mill.send("preprocess", "no JSON at all")
        mill.run_until(lambda: not mill.waiting())
        assert (mill.registry.models(), mill.dead_letters()) == (models, ["no JSON at all"])


def test_an_upload_deleted_before_it_is_read_is_rejected_and_says_so(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any
) -> None:
    with fire("fault classes", "deleted before it is read"):
        model = new_model()
        mill.upload(model)
        mill.uploads.client.delete_object(Bucket=mill.uploads.bucket, Key=f"uploads/{model}/u0/table.csv")
        mill.run_until(mill.is_done(model))
        (run,) = mill.registry.runs(model)
        assert (run["state"], run["reason"]["code"]) == ("REJECTED", "SOURCE_DELETED")


def test_an_upload_overwritten_before_it_is_read_is_superseded_by_the_later_bytes(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any
) -> None:
    with fire("fault classes", "overwritten before it is read"):
        model = new_model()
        mill.uploads.write_bytes(f"uploads/{model}/u0/table.csv", b"age,hours\n1,2\n")
        mill.upload(model)
        mill.run_until(lambda: len(mill.registry.runs(model)) == 2 and mill.is_done(model)())
        later, earlier = mill.registry.runs(model)
        alias = mill.registry.alias(model)
        assert alias is not None and later["decision"]["promoted"] and alias["order"] == later["order"]
        assert (earlier["state"], earlier["reason"]["code"]) == ("SUPERSEDED", "SUPERSEDED")
        assert "dataset" not in earlier and len(mill.registry.versions(model)) == 1


def test_an_event_that_comes_after_a_later_upload_was_served_moves_nothing_back(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any
) -> None:
    with fire("fault classes", "S3 event delayed past a later upload"):
        model = new_model()
        mill.upload(model, number=1)
        late = mill.hold_back(model, "u1")
        time.sleep(0.01)  # S3's times have milliseconds
        mill.upload(model, number=2)
        mill.run_until(lambda: len(mill.registry.runs(model)) == 1 and mill.is_done(model)())
        before = mill.registry.alias(model)
        mill.send("preprocess", late)
        mill.run_until(lambda: len(mill.registry.runs(model)) == 2 and mill.is_done(model)())
        after, earlier = mill.registry.alias(model), mill.registry.runs(model)[1]
        assert before == after and earlier["decision"]["code"] == "OLDER_UPLOAD"


def test_a_warm_door_answers_every_request_while_the_table_is_lost_and_rebuilt(
    fire: Any, mill: Mill, proxy: Proxy, new_model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from tidemill.serving.door import Door

    monkeypatch.setenv("TIDEMILL_CACHE_DIR", str(tmp_path))
    with fire("fault classes", "table lost and rebuilt while it serves") as case:
        model, key = new_model(), new_key("predict", "the one that asks")
        told(mill, proxy, model, lambda request: "")
        mill.registry.put_key(key.digest, key.item)
        door, answers, over = Door.from_environment(), [], threading.Event()
        event = {"rawPath": f"/models/{model}/predict", "requestContext": {"http": {"method": "POST"}}}
        event |= {"headers": {"x-api-key": key.secret, "content-type": "application/json"}}
        event |= {"body": json.dumps({"rows": [ROW]})}
        assert door.handle(event)["statusCode"] == 200, door.handle(event)

        def ask() -> None:
            while not over.is_set():
                answers.append(door.handle(event)["statusCode"])
                time.sleep(0.02)

        before, client = contents(mill.registry), mill.registry.table.table.meta.client
        asking = threading.Thread(target=ask)
        asking.start()
        try:
            client.delete_table(TableName="wires-registry")
            time.sleep(16)  # longer than the door remembers a key or an alias without asking
            create(client, "wires-registry")
            time.sleep(4)
            rebuild(Registry("wires-registry", None, mill.stack.resource("dynamodb")), mill.artifacts)
            time.sleep(4)
        finally:
            over.set()
            asking.join()
            door.pointers.client.close()
        case.notes = {"answers": len(answers)}
        assert len(answers) > 100 and set(answers) == {200}, {status: answers.count(status) for status in set(answers)}
        assert contents(mill.registry) == before
