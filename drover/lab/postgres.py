"""A PostgreSQL server of one's own, under one directory: for labs, tests and benchmarks.

Debian's server programs run as the user ``postgres`` when the caller is root, else as the caller.  All state
is in the directory, so another process may stop what this one started.
"""

from __future__ import annotations

import os
import pwd
import secrets
import select
import shutil
import signal  # noqa: TID251  a lab kills what it has started
import subprocess
from pathlib import Path

from drover import errors
from drover.lab.tls import TlsFiles
from drover.runtime import proc, program

__all__ = ["PrivatePostgres", "programs"]

#: seconds that starting (with recovery), stopping and dying may take on a loaded machine
_PATIENCE_S = 120

_HBA = """\
local all all peer
host all drover samenet scram-sha-256
"""
#: no plain connection, and none without a certificate of our authority
_TLS_HBA = """\
local all all peer
hostssl all drover samenet scram-sha-256 clientcert=verify-ca
"""
_TLS_CONFIGURATION = """\
ssl = on
ssl_ca_file = 'ca.pem'
ssl_cert_file = 'certificate.pem'
ssl_key_file = 'key.pem'
"""

_CONFIGURATION = """\
listen_addresses = '{address}'
port = {port}
unix_socket_directories = '{directory}'
synchronous_commit = {synchronous_commit}
fsync = {fsync}
max_connections = 200
shared_buffers = 64MB
dynamic_shared_memory_type = mmap   # nothing outside the directory survives a kill
wal_level = minimal
max_wal_senders = 0
max_wal_size = 512MB
jit = off
max_parallel_workers_per_gather = 0
# wake seldom when idle
bgwriter_delay = 10s
wal_writer_delay = 10s
autovacuum_naptime = 60s
checkpoint_timeout = 15min
"""

#: psql's \gexec runs what the query before it answers, so each line may be repeated
_DATABASE = r"""
SELECT 'CREATE ROLE drover LOGIN CREATEDB' WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'drover') \gexec
ALTER ROLE drover PASSWORD '{password}';
SELECT 'CREATE DATABASE drover OWNER drover' WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = 'drover') \gexec
"""


class PrivatePostgres:
    """One server, with a database ``drover`` owned by a user ``drover``.

    :param directory: made when absent. A root caller's must be reachable by the user postgres.
    :param address: where it listens, with passwords; the superuser gets in only by the UNIX socket in *directory*.
    :param tls: let in nobody but over TLS, with a certificate and the password.
    :param durable: False trades crash safety for speed; only for tests that never crash the server.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int,
        address: str = "127.0.0.1",
        durable: bool = True,
        tls: TlsFiles | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._data = self._directory / "data"
        self._port = port
        self._address = address
        self._durable = durable
        self._tls = tls
        # The server itself writes its title over its environment.
        self._mark = f"postgresql:{self._directory}"

    @property
    def url(self) -> str:
        """For ``[database] connection``; known after the first start."""
        password = (self._directory / "password").read_text()
        return f"postgresql+psycopg://drover:{password}@{self._address}:{self._port}/drover"

    @property
    def log_file(self) -> Path:
        return self._directory / "postgres.log"

    def start(self) -> None:
        """Start it and wait until it answers; does nothing when it runs. The first time makes the database.

        :raises errors.Unavailable: PostgreSQL is not installed, or did not start; tells the end of its log.
        """
        if self.pid() is not None:
            return
        self._bury()
        if not self._data.exists():
            self._initialise()
        self._configure()
        self._run(
            "pg_ctl",
            "start",
            "-w",
            "-s",
            f"-t{_PATIENCE_S}",
            f"-D{self._data}",
            f"-l{self.log_file}",
            log=self.log_file,
        )
        if not (self._directory / "ready").exists():
            self._make_database()

    def stop(self) -> None:
        """Stop it, by force when asking does not help; does nothing when it does not run."""
        if self.pid() is not None:
            try:
                self._run("pg_ctl", "stop", "-w", "-s", "-mfast", f"-t{_PATIENCE_S}", f"-D{self._data}")
            except errors.Unavailable:
                self.kill9()
        self._bury()

    def kill9(self) -> None:
        """SIGKILL to all its processes, as in a crash; returns when they are gone."""
        pid = self.pid()
        if pid is not None:
            # The postmaster first: it must not see its children die and begin a recovery.
            _kill_and_wait([pid])
        _kill_and_wait(self._processes())

    def pid(self) -> int | None:
        """The postmaster, or None when it does not run."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if pid in self._processes() else None

    def _processes(self) -> list[int]:
        """Everything that works in the data directory: no other process than this server's does; and what prepares it."""
        found = [one.pid for one in program.find(self._mark) if one.mark == self._mark]
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and proc.working_directory(entry) == self._data and not _is_zombie(entry):
                    found.append(int(entry.name))
            except OSError:
                continue  # ended meanwhile, or of another user
        return found

    def _initialise(self) -> None:
        """Make the data directory. It appears whole or not at all."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        owner = _server_user()
        if owner is not None:
            shutil.chown(self._directory, owner)
            self._check_reachable(owner)
        unfinished = self._directory / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._run("initdb", f"-D{unfinished}", "--no-sync", "--no-locale", "-EUTF8", "-Apeer", "--no-instructions")
        self._write("password", secrets.token_hex(16))
        unfinished.rename(self._data)

    def _check_reachable(self, owner: str) -> None:
        probe = subprocess.run([*_as_user(owner), "test", "-w", self._directory], check=False)
        if probe.returncode != 0:
            detail = f"user {owner} cannot reach {self._directory}: a directory above it is closed"
            raise errors.Unavailable(what="PostgreSQL", detail=detail)

    def _configure(self) -> None:
        text = _CONFIGURATION.format(
            address=self._address,
            port=self._port,
            directory=self._directory,
            synchronous_commit="on" if self._durable else "off",
            fsync="on" if self._durable else "off",
        )
        for name, content in (self._tls.contents() if self._tls else {}).items():
            self._write(f"data/{name}", content)
        self._write("data/postgresql.conf", text + (_TLS_CONFIGURATION if self._tls else ""))
        self._write("data/pg_hba.conf", _TLS_HBA if self._tls else _HBA)

    def _make_database(self) -> None:
        """The role and the database; may be repeated after a crash in between."""
        password = (self._directory / "password").read_text()
        script = _DATABASE.format(password=password)
        self._run(
            "psql", "-X", "-q", "-vON_ERROR_STOP=1", f"-h{self._directory}", f"-p{self._port}", "postgres", text=script
        )
        self._write("ready", "")

    def _write(self, name: str, text: str) -> None:
        """A file of mode 0600 that the server's user can read."""
        path = self._directory / name
        beside = path.with_name(path.name + ".new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        owner = _server_user()
        if owner is not None:
            shutil.chown(beside, owner)
        beside.rename(path)

    def _run(self, command: str, *arguments: str, text: str = "", log: Path | None = None) -> None:
        owner = _server_user()
        argv = [*(_as_user(owner) if owner else ()), str(programs() / command), *arguments]
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, check=False, cwd=self._directory, env=self._environment()
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            if log is not None and log.exists():
                said += " | " + " | ".join(log.read_text(errors="replace").splitlines()[-5:])
            raise errors.Unavailable(what="PostgreSQL", detail=f"{command}: {said}")

    def _environment(self) -> dict[str, str]:
        """Ours without PGHOST and its kin, which would lead psql elsewhere."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {**ours, program.VARIABLE: self._mark}

    def _bury(self) -> None:
        """Remove what a killed postmaster left: its backends, its lock files and its System V segment.

        The backends keep the next server from starting until they notice; so do the lock files while nobody
        has waited for the dead process. The segment, a page named in postmaster.pid, would outlive the directory.
        """
        _kill_and_wait(self._processes())
        file = self._data / "postmaster.pid"
        try:
            segment = file.read_text().split("\n")[6].split()[1]
        except (OSError, IndexError):
            segment = ""
        if segment:
            subprocess.run(["ipcrm", "-m", segment], capture_output=True, check=False)
        for stale in (file, *self._directory.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)


def programs() -> Path:
    """The folder of the newest server installed."""
    debian = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if debian:
        return max(debian, key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    if found is None:
        raise errors.Unavailable(what="PostgreSQL", detail="no initdb here; install postgresql")
    return Path(found).parent


def _server_user() -> str | None:
    """``postgres`` for root, since PostgreSQL refuses to run as root; None for others."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise errors.Unavailable(what="PostgreSQL", detail="root needs the user postgres; install postgresql") from None


def _as_user(name: str) -> tuple[str, ...]:
    return ("setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", "--")


def _is_zombie(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _kill_and_wait(pids: list[int]) -> None:
    poll = select.poll()
    handles: dict[int, int] = {}
    try:
        for pid in pids:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            handles[handle] = pid
            poll.register(handle, select.POLLIN)
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        while handles:
            ended = poll.poll(_PATIENCE_S * 1000)
            if not ended:
                raise errors.Unavailable(what="PostgreSQL", detail=f"processes {sorted(handles.values())} do not die")
            for handle, _ in ended:
                poll.unregister(handle)
                os.close(handle)
                del handles[handle]
    finally:
        for handle in handles:
            os.close(handle)
