"""The demonstration behind ``make demo``: the real command line, each command shown before it runs.

Run again it uses the lab that is there.  Without root the same story is told by ``drover standalone`` with fake
guests (``--standalone``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from drover import errors
from drover.lab import guest_image
from drover.lab.lab import Lab
from drover.lab.layout import cache_directory, default_directory
from drover.lab.part import tail, wait_until
from drover.runtime import program
from drover.runtime.threads import ThreadRuntime

__all__ = ["main"]

HOSTS = 3
COUNT = 3
#: seconds a guest may take to boot: emulated, on a machine that does other things too
READY_S = 300


class Shell:
    """Runs ``drover`` as a user would, and shows it."""

    def __init__(self) -> None:
        self._drover = str(Path(sys.executable).with_name("drover"))
        self.environment = dict(os.environ)
        self.logs: list[Path] = []

    def show(self, words: str) -> None:
        """The prompt and a command."""
        click.echo()
        click.secho(f"$ {words}", bold=True)

    def export(self, name: str, value: str) -> None:
        """As in a shell, for every command that follows."""
        self.show(f"export {name}={shlex.quote(value)}")
        self.environment[name] = value

    def run(self, *arguments: str) -> str:
        """Run ``drover`` and show what it prints.

        :raises errors.LabFailed: it failed; with its words.
        """
        self.show(shlex.join(["drover", *arguments]))
        return self._call(arguments, show=True)

    def ask(self, *arguments: str) -> Any:
        """What a list or show command says, as JSON, unseen."""
        return json.loads(self._call([*arguments, "--format", "json"], show=False))

    def follow(self, *arguments: str, until: str) -> None:
        """Run a command that never ends, and show the line that begins with *until*."""
        self.show(shlex.join(["drover", *arguments]))
        command = ["timeout", str(READY_S), self._drover, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace", env=self.environment) as it:
            assert it.stdout is not None
            for line in it.stdout:
                if line.startswith(until):
                    it.terminate()
                    click.echo(line.rstrip())
                    return
        raise errors.LabFailed(reason=f"no {until} within {READY_S} s from: drover {shlex.join(arguments)}")

    def fresh(self, kind: str, name: str, *options: str) -> None:
        """``drover KIND create NAME``, unless an earlier run made it."""
        if any(it["name"] == name for it in self.ask(kind, "list", "--name", name)):
            click.secho(f"  ({kind} {name} is there from an earlier run)", dim=True)
        else:
            self.run(kind, "create", name, *options)

    def _call(self, arguments: Sequence[str], *, show: bool) -> str:
        with subprocess.Popen(
            [self._drover, *arguments], stdout=subprocess.PIPE, text=True, errors="replace", env=self.environment
        ) as it:
            assert it.stdout is not None
            lines: list[str] = []
            for line in it.stdout:
                lines.append(line)
                if show:
                    click.echo(line, nl=False)
        if it.returncode != 0:
            raise errors.LabFailed(reason=f"exit status {it.returncode} from: drover {shlex.join(arguments)}")
        return "".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Tell the story; 1 and the reason when it breaks off."""
    parser = argparse.ArgumentParser(prog="demo", description="Running guests on three hosts, step by step.")
    parser.add_argument("--standalone", action="store_true", help="fake hosts in one process; needs no root")
    options = parser.parse_args(argv)
    shell = Shell()
    try:
        _with_fake_hosts(shell) if options.standalone else _with_real_hosts(shell)
    except (errors.DroverError, OSError) as exc:
        _fail(shell, exc)
        return 1
    return 0


def _with_real_hosts(shell: Shell) -> None:
    _title("A guest: kernel, busybox and ssh from Debian packages, 20 MB")
    image = Path(shell.run("lab", "image").strip())
    _title(f"A lab: {HOSTS} hypervisor hosts on this machine, with RabbitMQ, PostgreSQL, a conductor and a scheduler")
    lab = Lab(Path(os.environ.get("DROVER_LAB") or default_directory()), ThreadRuntime())
    shell.logs = [lab.layout.log(name) for name in ("conductor", "scheduler", "host1.agent", "host1.libvirtd")]
    hosts = max(HOSTS, lab.spec().hosts if lab.exists() else 0)  # a lab only grows
    exported = shell.run("lab", "up", "--hosts", str(hosts)).strip()
    shell.export("DROVER_CONFIG", shlex.split(exported)[-1].partition("=")[2])
    shell.run("lab", "status")
    network = ("--kind", "bridge", "--bridge", "br0", "--cidr", "10.88.0.0/24", "--gateway", "10.88.0.254")
    _build(shell, image, (*network, "--first", "10.88.0.10", "--last", "10.88.0.250"))
    _title("A guest's web page, seen from the network between the hosts")
    address = shell.ask("instance", "show", "web-1")["ports"][0]["ip"]
    shell.run("lab", "run", "fabric", "curl", "--silent", "--max-time", "20", f"http://{address}/hostname")
    _delete_one(shell)
    _next(
        shell,
        ("drover instance create db --flavor tiny --image guest --network lab --wait", "one more"),
        ("drover why web-1", "why it is where it is"),
        ("drover lab crash host2; drover host list", "pull the plug of a host"),
        ("drover lab boot host2", "and plug it in again"),
        ("drover lab run host1 virsh list", "Drover's guests are ordinary libvirt domains"),
        ("drover lab down", "take everything away"),
    )


def _with_fake_hosts(shell: Shell) -> None:
    click.echo("Neither root nor sudo here, so the hosts are fake: one process, guests that are only records.")
    directory = Path.home() / ".drover/demo"
    log = directory / "demo.log"
    directory.mkdir(parents=True, exist_ok=True)
    shell.logs = [log, directory / "standalone.log"]
    _title(f"Drover in one process, with {HOSTS} fake hosts")
    mark = f"standalone:{directory}"
    command = ["drover", "standalone", "--directory", str(directory), "--hosts", str(HOSTS)]
    shell.show(shlex.join(command) + " &")
    if not program.find(mark):
        (directory / "socket").unlink(missing_ok=True)
        program.start([str(Path(sys.executable).with_name("drover")), *command[1:]], mark=mark, log=log)
    runtime = ThreadRuntime()
    wait_until(runtime, (directory / "socket").exists, "drover standalone", log)
    shell.export("DROVER_CONFIG", str(directory / "drover.conf"))
    image = cache_directory() / "demo.raw"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(bytes(1024 * 1024))
    _build(shell, image, ("--cidr", "10.88.0.0/24"))
    _delete_one(shell)
    pid = program.find(mark)[0].pid
    _next(
        shell,
        ("drover instance create db --flavor tiny --image guest --network lab --wait", "one more"),
        ("drover why web-1", "why it is where it is"),
        ("drover operation list", "all that was asked"),
        (f"kill {pid}; rm -r {directory}", "take everything away"),
    )


def _build(shell: Shell, image: Path, network: Sequence[str]) -> None:
    _title("What instances are made from")
    shell.run("host", "list")
    _clear(shell, image)
    shell.fresh("flavor", "tiny", "--vcpus", "1", "--memory", "128")
    shell.fresh("image", "guest", "--file", str(image))
    shell.fresh("network", "lab", *network)
    _title(f"{COUNT} instances at once")
    words = ("--flavor", "tiny", "--image", "guest", "--network", "lab", "--count", str(COUNT), "--wait")
    shell.run("instance", "create", "web", *words)
    _title("Their kernels boot: each says on its serial console when it is ready")
    for number in range(1, COUNT + 1):
        shell.follow("instance", "console-log", f"web-{number}", "--follow", until=guest_image.READY_MARKER)
    _title("Where they are, what they use, and where the time of one build went")
    shell.run("instance", "list")
    shell.run("instance", "show", "web-1")
    shell.run("trace", "web-1")


def _delete_one(shell: Shell) -> None:
    _title("One goes; its capacity and its address are free again")
    shell.run("instance", "delete", f"web-{COUNT}", "--wait")
    shell.run("instance", "list")
    shell.run("host", "list")


def _clear(shell: Shell, image: Path) -> None:
    """What an earlier run left in the way."""
    left = [it["name"] for it in shell.ask("instance", "list", "--name", "web-", "--all")]
    if left:
        shell.run("instance", "delete", *left, "--wait")
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    if any(it["name"] == "guest" and it["sha256"] != digest for it in shell.ask("image", "list", "--name", "guest")):
        shell.run("image", "delete", "guest")


def _title(words: str) -> None:
    click.echo()
    click.secho(f"── {words} ".ljust(100, "─"), fg="cyan")


def _next(shell: Shell, *commands: tuple[str, str]) -> None:
    _title("It is all still there. Try next")
    click.echo(f"\n  export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    click.echo(f"  export DROVER_CONFIG={shlex.quote(shell.environment['DROVER_CONFIG'])}\n")
    width = max(len(command) for command, _ in commands)
    for command, words in commands:
        click.echo(f"  {command.ljust(width)}   # {words}")


def _fail(shell: Shell, exc: Exception) -> None:
    click.secho(f"\nThe demonstration broke off: {exc}", fg="red", err=True)
    for log in shell.logs:
        if last := tail(log, 15):
            click.echo("\n".join(["", f"the end of {log}:", *last]), err=True)


if __name__ == "__main__":
    sys.exit(main())
