"""A private RabbitMQ under one directory, on loopback, from the distribution's package.

Everything is found again from the directory, whoever started it: the ports and the password in ``broker.json``,
the processes by their mark.  :meth:`PrivateRabbit.stop` leaves no process behind, epmd included.
"""

from __future__ import annotations

import json
import os
import pwd
import resource
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

from drover import errors, log
from drover.lab.tls import TlsFiles
from drover.rpc import broker
from drover.runtime import Runtime, program
from drover.runtime.port import is_listening

__all__ = ["PrivateRabbit"]

LOG = log.get(__name__)

_BIN = Path("/usr/lib/rabbitmq/bin")
_LIB = Path("/usr/lib/rabbitmq/lib")
_USER = "drover"
_VHOST = "drover"
#: As packaged, the soft limit of 1024 files holds about 830 connections.
_OPEN_FILES = 65536
#: seconds within which the port of a node that was killed is free again
_DYING_S = 15.0

_CONFIG = """\
listeners.{kind}.1 = {address}:{port}
load_definitions = {directory}/definitions.json
max_message_size = 16777216
disk_free_limit.absolute = 64MB
vm_memory_high_watermark.absolute = 1GB
log.file.level = info
log.connection.level = warning
"""
#: no plain listener beside it, and nobody without a certificate
_TLS = """\
listeners.tcp = none
ssl_options.cacertfile = {directory}/ca.pem
ssl_options.certfile = {directory}/certificate.pem
ssl_options.keyfile = {directory}/key.pem
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
"""


def _definitions(password: str) -> dict[str, Any]:
    """One user, who may do anything."""
    hashed = broker.password_hash(password, secrets.token_bytes(4))
    return broker.definitions(_VHOST, [(_USER, hashed, broker.control_plane())])


class PrivateRabbit:
    """One broker node.

    :param directory: data, logs and configuration; made when missing. As root the broker runs as user ``rabbitmq``,
        which must be able to reach it.
    :param port: AMQP. :param dist_port: Erlang distribution. :param epmd_port: the node's own epmd; 0: the port above.
    :param tls: speak nothing but TLS, with clients that have a certificate.
    """

    def __init__(
        self,
        directory: str | Path,
        runtime: Runtime,
        *,
        port: int,
        dist_port: int,
        epmd_port: int = 0,
        tls: TlsFiles | None = None,
    ) -> None:
        self.directory = Path(directory).resolve()
        self.port = port
        self.address = "127.0.0.1"
        self._tls = tls
        self._dist_port = dist_port
        self._epmd_port = epmd_port or dist_port + 1
        self._runtime = runtime
        # Not known by their names: each is a start program's first.
        self._mark_node = f"rabbitmq:{self.directory}"
        self._mark_epmd = f"epmd:{self.directory}"

    @property
    def url(self) -> str:
        """The transport URL, with the password. Known once :meth:`start` was called for this directory."""
        password = json.loads((self.directory / "broker.json").read_text())["password"]
        return f"rabbit://{_USER}:{password}@{self.address}:{self.port}/{_VHOST}"

    def start(self, timeout_s: float = 120.0) -> None:
        """Running and ready afterwards; data of an earlier run is kept. Already running is fine.

        :raises errors.Unavailable: not installed, or not ready within *timeout_s*; the words say where to look.
        """
        if not (_BIN / "rabbitmq-server").exists():
            raise errors.Unavailable(what="RabbitMQ", detail="package rabbitmq-server is not installed")
        self._prepare()
        if not _running(self._mark_epmd):
            self._run(["epmd", "-address", self.address, "-port", str(self._epmd_port)], self._mark_epmd)
        if not self._node():
            self._await_port()
            self._run([str(_BIN / "rabbitmq-server")], self._mark_node)
        self._wait_ready(timeout_s)

    def is_running(self) -> bool:
        return bool(self._node())

    def pid(self) -> int | None:
        """The node's Erlang machine, or None when it does not run."""
        return next((one.pid for one in self._node() if one.name == "beam.smp"), None)

    def stop(self, timeout_s: float = 20.0) -> None:
        """Ask it to end, and end it when it does not; no process is left."""
        program.end((one for one in self._node() if one.name == "beam.smp"), grace_s=timeout_s)
        program.end_all(lambda: [*_running(self._mark_node), *_running(self._mark_epmd)])

    def kill9(self) -> None:
        """As a crash of the broker; epmd lives on."""
        program.end_all(self._node)

    def control(self, *arguments: str, text: str = "", timeout_s: float = 60.0) -> str:
        """``rabbitmqctl`` with *text* on its standard input; what it prints.

        :raises errors.Unavailable: it failed; tells what it said.
        """
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(_BIN / "rabbitmqctl"), *arguments],
            input=text,
            env=self._environment(),
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            **_identity(),
        )
        if done.returncode != 0:
            raise errors.Unavailable(what="RabbitMQ", detail=f"rabbitmqctl {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def _node(self) -> list[program.Program]:
        """The node and its helpers, or the start script it is about to come from."""
        # Erlang starts an epmd when there is none yet.
        return [one for one in _running(self._mark_node) if one.name != "epmd"]

    def _prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = self.directory / "broker.json"
        if not state.exists():
            password = secrets.token_hex(16)
            self._write("definitions.json", json.dumps(_definitions(password), indent=2))
            self._write("broker.json", json.dumps({"password": password}))
        for name, text in (self._tls.contents() if self._tls else {}).items():
            self._write(name, text)
        self._write("enabled_plugins", "[].\n")
        self._write("rabbitmq.conf", self._configuration())
        self._link_applications()
        if os.geteuid() == 0:
            for path in (self.directory, *self.directory.rglob("*")):
                if not path.is_symlink():
                    shutil.chown(path, "rabbitmq", "rabbitmq")

    def _configuration(self) -> str:
        kind = "ssl" if self._tls else "tcp"
        text = _CONFIG.format(kind=kind, address=self.address, port=self.port, directory=self.directory)
        return text + (_TLS.format(directory=self.directory) if self._tls else "")

    def _link_applications(self) -> None:
        """The broker's own applications without the plugins: looking through those takes half of the start."""
        folder = self.directory / "plugins"
        folder.mkdir(exist_ok=True)
        for source in _LIB.glob("rabbitmq_server-*/plugins/*"):
            link = folder / source.name
            plugin = source.name.startswith("rabbitmq_") and not source.name.startswith("rabbitmq_prelaunch")
            if not plugin and not link.is_symlink():
                link.symlink_to(source)

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all, and readable by its owner only."""
        partial = self.directory / f".{name}"
        partial.touch(mode=0o600)
        partial.write_text(text)
        partial.replace(self.directory / name)

    def _run(self, command: list[str], mark: str) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        with (self.directory / "output.log").open("ab") as output:
            subprocess.Popen(
                ["prlimit", f"--nofile={files}", *command],
                env={**self._environment(), program.VARIABLE: mark},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **_identity(),
            )

    def _environment(self) -> dict[str, str]:
        interface = self.address.replace(".", ",")
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.directory),  # the Erlang cookie
            "ERL_EPMD_ADDRESS": self.address,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": "drover@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": self.address,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_PLUGINS_DIR": str(self.directory / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            # With input allowed the start script becomes the node instead of standing over it.
            "RABBITMQ_ALLOW_INPUT": "1",
            # Idle schedulers sleep at once instead of spinning; one is enough for a lab.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput +S 1:1 +A 16 +sbwt none +sbwtdcpu none +sbwtdio none "
                f"-kernel inet_dist_use_interface {{{interface}}}"
            ),
        }

    def _await_port(self) -> None:
        """A node that was killed is known by nothing any more a moment before the kernel closes its sockets."""
        gives_up_s = self._runtime.clock.monotonic() + _DYING_S
        while is_listening(self.address, self.port):
            if self._runtime.clock.monotonic() > gives_up_s:
                raise errors.Unavailable(what="RabbitMQ", detail=f"port {self.port} is taken by another process")
            self._runtime.sleep(0.1)

    def _wait_ready(self, timeout_s: float) -> None:
        began = self._runtime.clock.monotonic()
        while not is_listening(self.address, self.port):
            waited_s = self._runtime.clock.monotonic() - began
            if waited_s > timeout_s or (waited_s > 2.0 and not self._node()):
                detail = (
                    f"not ready after {waited_s:.0f} s; see {self.directory}/log and output.log: {self._last_words()}"
                )
                raise errors.Unavailable(what="RabbitMQ", detail=detail)
            self._runtime.sleep(0.2)
        LOG.info("broker ready", port=self.port, after_s=round(self._runtime.clock.monotonic() - began, 2))

    def _last_words(self) -> str:
        """The end of what the node printed, in one line."""
        output = self.directory / "output.log"
        words = output.read_text(errors="replace").split() if output.exists() else []
        return " ".join(words)[-500:]


def _identity() -> dict[str, Any]:
    """Whom the broker's programs run as."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("rabbitmq")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _running(mark: str) -> list[program.Program]:
    return [one for one in program.find(mark) if one.mark == mark]
