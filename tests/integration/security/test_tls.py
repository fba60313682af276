"""TLS with an authority of one's own: to the broker, to PostgreSQL, to the depot."""

from __future__ import annotations

import http.client
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from agent.image.fetcher import HttpFetcher
from conductor.depot import Depot
from drover import errors
from drover.conf.bus import BusSettings
from drover.conf.database import DatabaseSettings
from drover.conf.depot import DepotSettings
from drover.conf.event import EventSettings
from drover.db import migration
from drover.db.engine import Database
from drover.depot import TokenPurpose, make_token
from drover.lab.postgres import PrivatePostgres
from drover.lab.rabbitmq import PrivateRabbit
from drover.lab.tls import TlsFiles
from drover.objects.event import host_event
from drover.objects.guest import ImageSource
from drover.rpc.bus import Address, Message
from drover.rpc.contract import Endpoint
from drover.rpc.event import Interest
from drover.rpc.rabbit_event import RabbitEvents, RabbitReader
from drover.rpc.transport import RabbitBus
from drover.runtime.port import free_ports
from drover.runtime.threads import ThreadRuntime
from tests.broker import started_broker
from tests.contract.bus.probe import CONTRACT, Probe
from tests.integration.security.authority import Authority
from tests.needs import require

IMAGE = "6b1f9a52-0c52-4d0f-9a45-5f4f3d6f9a01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    server: TlsFiles
    client: TlsFiles
    stranger: TlsFiles  # of an authority that the servers do not know, and which knows none of them


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    require("openssl")
    ours = Authority.made(tmp_path_factory.mktemp("tls") / "ours")
    theirs = Authority.made(tmp_path_factory.mktemp("tls") / "theirs")
    return Papers(
        server=ours.certified("server"), client=ours.certified("client"), stranger=theirs.certified("stranger")
    )


def _by_another_name(url: str) -> str:
    """Linux leads there too; no certificate names it."""
    return url.replace("127.0.0.1", "0.0.0.0")


# the broker


@pytest.fixture(scope="module")
def broker(papers: Papers, runtime: ThreadRuntime) -> Iterator[PrivateRabbit]:
    with started_broker(runtime, tls=papers.server) as started:
        yield started


def _bus(papers: TlsFiles, broker: PrivateRabbit) -> BusSettings:
    return BusSettings(
        transport_url=broker.url,
        send_retries=0,
        ssl=True,
        ssl_ca_file=str(papers.ca),
        ssl_cert_file=str(papers.certificate),
        ssl_key_file=str(papers.key),
    )


def test_the_bus_works_with_certificates_on_both_sides(
    papers: Papers, broker: PrivateRabbit, runtime: ThreadRuntime
) -> None:
    with closing(RabbitBus(runtime, _bus(papers.client, broker), name="secure")) as bus:
        bus.serve(Address("probe", "secure"), Endpoint(CONTRACT, Probe(runtime)), 2)
        message = Message(method="echo", args={"value": {"x": 1}}, context={"request_id": "r"})
        assert bus.call(Address("probe", "secure"), message, 60.0)["value"] == {"x": 1}


def test_events_work_with_certificates_on_both_sides(
    papers: Papers, broker: PrivateRabbit, runtime: ThreadRuntime
) -> None:
    settings = _bus(papers.client, broker)
    with (
        closing(RabbitReader(runtime, settings, Interest())) as reader,
        closing(RabbitEvents(runtime, settings, EventSettings(), "secure")) as sink,
    ):
        reader.read(0.2)  # bound
        sink.publish([host_event("h1", "up")])
        assert [event.subject for event in reader.read(60.0)] == ["h1"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("another authority", "CERTIFICATE_VERIFY_FAILED"),
        ("no certificate", "."),
        ("a stranger's certificate", "."),
        ("no TLS", "."),
        ("another name", "CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_the_broker_is_reached_in_no_other_way(
    papers: Papers, broker: PrivateRabbit, runtime: ThreadRuntime, change: str, words: str
) -> None:
    settings = _bus(papers.client, broker)
    match change:
        case "another authority":
            settings = replace(settings, ssl_ca_file=str(papers.stranger.ca))
        case "no certificate":
            settings = replace(settings, ssl_cert_file="", ssl_key_file="")
        case "a stranger's certificate":
            theirs = papers.stranger
            settings = replace(settings, ssl_cert_file=str(theirs.certificate), ssl_key_file=str(theirs.key))
        case "no TLS":
            settings = replace(settings, ssl=False)
        case "another name":
            settings = replace(settings, transport_url=_by_another_name(broker.url))
    with (
        closing(RabbitBus(runtime, settings, name="stranger")) as bus,
        pytest.raises(errors.BusUnavailable, match=words),
    ):
        bus.reach()


# PostgreSQL


@pytest.fixture(scope="module")
def server(papers: Papers) -> Iterator[PrivatePostgres]:
    require("postgresql")
    directory = Path(tempfile.mkdtemp(prefix="drover-postgres-"))
    directory.chmod(0o755)
    (port,) = free_ports(1)
    private = PrivatePostgres(directory, port=port, durable=False, tls=papers.server)
    try:
        private.start()
        yield private
    finally:
        private.stop()
        shutil.rmtree(directory)


def _options(papers: TlsFiles) -> dict[str, str]:
    return {
        "sslmode": "verify-full",
        "sslrootcert": str(papers.ca),
        "sslcert": str(papers.certificate),
        "sslkey": str(papers.key),
    }


def _database(server: PrivatePostgres, options: dict[str, str], runtime: ThreadRuntime) -> Database:
    url = f"{server.url}?{urlencode(options)}"
    return Database(url, DatabaseSettings(connection=url), runtime)


def test_the_database_works_with_certificates_on_both_sides(
    papers: Papers, server: PrivatePostgres, runtime: ThreadRuntime
) -> None:
    with closing(_database(server, _options(papers.client), runtime)) as database:
        migration.upgrade(database)
        with database.read() as conn:
            [(encrypted,)] = conn.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert encrypted
        assert "ssl" not in database.label


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sslrootcert": "theirs"}, "certificate verify failed"),
        ({"sslcert": "", "sslkey": ""}, "certificate"),
        ({"sslcert": "theirs", "sslkey": "theirs"}, "certificate|unknown ca|unexpectedly"),
        ({"sslmode": "disable"}, "no pg_hba.conf entry|no encryption"),
        ({"host": "0.0.0.0"}, "does not match"),
    ],
    ids=["another authority", "no certificate", "a stranger's certificate", "no TLS", "another name"],
)
def test_the_database_is_reached_in_no_other_way(
    papers: Papers, server: PrivatePostgres, runtime: ThreadRuntime, change: dict[str, str], words: str
) -> None:
    theirs = _options(papers.stranger)
    wrong = {name: theirs[name] if value == "theirs" else value for name, value in change.items()}
    # Without a name libpq would look for one in the home directory.
    wrong = {name: value or "/nowhere" for name, value in wrong.items()}
    options = {**_options(papers.client), **wrong}
    with (
        closing(_database(server, options, runtime)) as database,
        pytest.raises((errors.StoreUnavailable, errors.StatementRefused), match=words),
        database.read() as conn,
    ):
        conn.exec_driver_sql("SELECT 1")


# the depot


@pytest.fixture
def depot(papers: Papers, tmp_path: Path, runtime: ThreadRuntime) -> Iterator[Depot]:
    url = f"sqlite:///{tmp_path}/drover.sqlite"
    settings = DepotSettings(
        directory=str(tmp_path / "depot"),
        listen_address="127.0.0.1",
        listen_port=0,
        tls_cert_file=str(papers.server.certificate),
        tls_key_file=str(papers.server.key),
    )
    with closing(Database(url, DatabaseSettings(connection=url), runtime)) as database:
        migration.upgrade(database)
        made = Depot(runtime, database, settings, "key")
        made.start()
        made.store.path(IMAGE).write_bytes(b"bytes of an image" * 100_000)
        yield made
        made.stop()


def _source(depot: Depot, runtime: ThreadRuntime, scheme: str = "https") -> ImageSource:
    expires = runtime.clock.now().replace(year=2099)
    return ImageSource(
        id=IMAGE,
        format="raw",
        sha256="",
        size_bytes=0,
        virtual_size_bytes=0,
        url=f"{scheme}://127.0.0.1:{depot.port}/v1/images/{IMAGE}",
        token=make_token("key", TokenPurpose.READ, IMAGE, expires),
    )


def test_an_agent_fetches_over_tls_from_a_depot_it_trusts(
    depot: Depot, papers: Papers, runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authority is one of the system's, or named by OpenSSL's own variable."""
    monkeypatch.setenv("SSL_CERT_FILE", str(papers.server.ca))
    with HttpFetcher().open(_source(depot, runtime)) as stream:
        read = b"".join(iter(lambda: stream.read(65536), b""))
    assert read == b"bytes of an image" * 100_000


def test_an_agent_refuses_a_depot_it_does_not_trust(
    depot: Depot, papers: Papers, runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(papers.stranger.ca))
    with (
        pytest.raises(errors.Unavailable, match="CERTIFICATE_VERIFY_FAILED"),
        HttpFetcher().open(_source(depot, runtime)),
    ):
        pass


def test_an_agent_refuses_a_depot_of_another_name(
    depot: Depot, papers: Papers, runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(papers.server.ca))
    source = _source(depot, runtime)
    elsewhere = replace(source, url=_by_another_name(source.url))
    with pytest.raises(errors.Unavailable, match="CERTIFICATE_VERIFY_FAILED"), HttpFetcher().open(elsewhere):
        pass


def test_the_depot_speaks_nothing_but_tls(depot: Depot, runtime: ThreadRuntime) -> None:
    with pytest.raises(errors.Unavailable), HttpFetcher().open(_source(depot, runtime, "http")):
        pass


def test_a_silent_client_holds_no_other_up(
    depot: Depot, papers: Papers, runtime: ThreadRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake is a worker's, not the listener's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(papers.server.ca))
    silent = http.client.HTTPConnection("127.0.0.1", depot.port, timeout=60)
    silent.connect()
    with HttpFetcher().open(_source(depot, runtime)) as stream:
        assert stream.read(5)
    silent.close()


def test_a_certificate_that_is_none_is_told_at_the_start(
    papers: Papers, tmp_path: Path, runtime: ThreadRuntime
) -> None:
    url = f"sqlite:///{tmp_path}/drover.sqlite"
    settings = DepotSettings(
        directory=str(tmp_path / "depot"), listen_port=0, tls_cert_file=str(papers.server.certificate)
    )
    with closing(Database(url, DatabaseSettings(connection=url), runtime)) as database:
        for wrong in (
            settings,  # no key in it
            replace(settings, tls_key_file=str(papers.client.key)),
            replace(settings, tls_cert_file="/nowhere.pem"),
        ):
            with pytest.raises(errors.InvalidConfig, match="tls_cert_file"):
                Depot(runtime, database, wrong, "key").start()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_protocol_is_a_current_one(depot: Depot, papers: Papers) -> None:
    context = ssl.create_default_context(cafile=str(papers.server.ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"SSL|TLS"):
        http.client.HTTPSConnection("127.0.0.1", depot.port, timeout=60, context=context).connect()
