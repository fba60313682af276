"""A whole story at debug level: what is secret in it is in no log, row, error or process list, and in no open file."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from drover import errors
from drover.conf import load
from drover.conf.bus import BusSettings
from drover.lab.spec import Driver
from drover.objects.catalog import Image, ImageFormat
from drover.objects.instance import CreateRequest
from drover.states import Action, OperationState
from tests.fleet import FLAVOR, IMAGE, NETWORK, QUICK, Fleet, fleet

USER_DATA = "canary-of-user-data"
SIGNATURE = "canary-of-a-signed-url"
#: a depot token: expiry and HMAC
TOKEN = re.compile(r"\b\d{10}\.[0-9a-f]{64}\b")
#: their rows are what is secret
SECRET_TABLES = ("instance_secret", "deployment")


@pytest.fixture(scope="module")
def talkative() -> Iterator[Fleet]:
    with fleet(Driver.FAKE, hosts=2, settings={**QUICK, "log": {"level": "DEBUG"}}) as made:
        yield made


@pytest.fixture(scope="module")
def story(talkative: Fleet) -> list[str]:
    """Every secret of it; the end of :func:`watching` tells where one was seen among the processes."""
    secrets = _secrets(talkative)
    with _watching(secrets) as seen, _http() as server:
        _live(talkative, server)
    assert seen == set()
    return secrets


def _secrets(made: Fleet) -> list[str]:
    broker = urlsplit(load([str(made.lab.config_file)]).get(BusSettings).transport_url).password
    database = urlsplit(made.database_url).password
    [(depot_key,)] = made.rows("SELECT depot_key FROM deployment")
    assert broker
    assert database
    return [USER_DATA, SIGNATURE, broker, database, depot_key]


def _live(made: Fleet, server: str) -> None:
    """Create, snapshot, rebuild, fail, delete."""
    ctx, api = made.context(), made.api
    api.keypair_create(
        ctx, "ann", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q ann"
    )
    built = api.instance_create(ctx, _request("secretive"))
    [uuid] = built.instance_uuids
    assert {op.state for op in made.wait(built.operation_ids)} == {OperationState.SUCCEEDED}
    for action, params in ((Action.SNAPSHOT, {"name": "shot"}), (Action.REBUILD, {}), (Action.DELETE, {})):
        made.wait([made.act(uuid, action, **params).id])
    signed = Image(
        id="", name="signed", format=ImageFormat.RAW, url=f"{server}/disk.raw?signature={SIGNATURE}", size_bytes=512
    )
    api.image_create(ctx, signed)
    lost = api.instance_create(ctx, _request("unlucky", image="signed"))
    made.wait(lost.operation_ids)
    made.delete(lost.instance_uuids)
    for arguments in (("instance", "list"), ("image", "list"), ("alarm", "list"), ("why", lost.operation_ids[0])):
        made.drover("--debug", *arguments)


def _request(name: str, image: str = IMAGE) -> CreateRequest:
    return CreateRequest(
        name=name,
        flavor=FLAVOR,
        image=image,
        networks=(NETWORK,),
        key_name="ann",
        user_data=f"#!/bin/sh\n# {USER_DATA}\n",
    )


@contextmanager
def _http() -> Iterator[str]:
    """A server that has nothing."""

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def _watching(secrets: list[str]) -> Iterator[set[str]]:
    """Look at every process's arguments as often as the machine allows; those with a secret in them."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            for entry in Path("/proc").glob("[0-9]*"):
                try:
                    line = (entry / "cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if TOKEN.search(line) or any(secret in line for secret in secrets):
                    seen.add(line)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _leaks(text: str, secrets: list[str]) -> list[str]:
    """Lines with a secret in them."""
    return [line for line in text.splitlines() if TOKEN.search(line) or any(secret in line for secret in secrets)]


def test_no_log_tells(talkative: Fleet, story: list[str]) -> None:
    layout = talkative.lab.layout
    logs = [*layout.logs.rglob("*"), *(layout.rabbitmq / "log").rglob("*"), layout.postgresql / "postgres.log"]
    logs += [
        layout.rabbitmq / "output.log",
        *layout.directory.glob("dead-letter/*"),
        *layout.directory.rglob("journal*"),
    ]
    read = {path: path.read_text(errors="replace") for path in logs if path.is_file()}
    assert any(" DEBUG " in text for text in read.values())
    assert any(path.name.startswith("journal") and text for path, text in read.items())
    assert {path.name: found for path, text in read.items() if (found := _leaks(text, story))} == {}


def test_no_row_tells(talkative: Fleet, story: list[str]) -> None:
    tables = [name for (name,) in talkative.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert {"operation", "operation_log", "decision", "idempotency", "alarm", "instance"} <= set(tables)
    found = {}
    for table in sorted(set(tables) - set(SECRET_TABLES)):
        rows = "\n".join(text for (text,) in talkative.rows(f'SELECT row_to_json(t)::text FROM "{table}" t'))
        if leaks := _leaks(rows, [secret for secret in story if (table, secret) != ("image", SIGNATURE)]):
            found[table] = leaks
    assert found == {}


def test_what_is_secret_goes_with_its_instance(talkative: Fleet, story: list[str]) -> None:
    assert talkative.count("instance_secret") == 0


def test_no_error_tells(talkative: Fleet, story: list[str]) -> None:
    ctx, api = talkative.context(), talkative.api
    good = CreateRequest(
        name="x", flavor=FLAVOR, image=IMAGE, networks=(NETWORK,), user_data=USER_DATA, idempotency_key="one"
    )
    plain = {"name": "x", "flavor": FLAVOR, "image": IMAGE, "networks": [NETWORK]}
    wrong: list[dict[str, object]] = [
        {**plain, "user_data": USER_DATA * 10_000},
        {**plain, "user_data": USER_DATA * 1_000_000},
        {**plain, "user_data": USER_DATA + "\0"},
        {**plain, "user_data": USER_DATA + "\ud800"},
        {**plain, "user_data": [USER_DATA]},
        {**plain, "user_data": {USER_DATA: USER_DATA}},
        {**plain, "user_data": USER_DATA, "name": "No Such Name"},
        {**plain, "user_data": USER_DATA, "flavor": "none"},
    ]
    told: list[str] = []
    for request in wrong:
        with pytest.raises(errors.DroverError) as caught:
            _raw(talkative, request)
        told.append(f"{caught.value} {caught.value.kwargs}")
    built = api.instance_create(ctx, good)
    with pytest.raises(errors.IdempotencyMismatch) as mismatch:
        _raw(talkative, {**plain, "user_data": USER_DATA + "2", "idempotency_key": "one"})
    told.append(f"{mismatch.value} {mismatch.value.kwargs}")
    talkative.wait(built.operation_ids)
    talkative.delete(list(built.instance_uuids))
    assert _leaks("\n".join(told), story) == []
    test_no_log_tells(talkative, story)


def _raw(made: Fleet, request: dict[str, object]) -> None:
    from drover.rpc.bus import Address, Message

    message = Message(method="instance_create", args={"request": request}, context={"request_id": "req-1"})
    made.bus.call(Address("conductor"), message, 60.0)


def test_what_holds_secrets_is_for_its_owner_alone(talkative: Fleet, story: list[str]) -> None:
    """Configuration files, state directories and all that lies in them."""
    layout = talkative.lab.layout
    files = [
        layout.client_config,
        *layout.configs.iterdir(),
        layout.postgresql / "password",
        layout.rabbitmq / "broker.json",
    ]
    for host in ("host1", "host2"):
        state = layout.host(host) / "agent"
        assert state.stat().st_mode & 0o777 == 0o700
        files += [path for path in state.rglob("*") if path.is_file()]
    assert {str(path): oct(path.stat().st_mode & 0o777) for path in files if path.stat().st_mode & 0o077} == {}
