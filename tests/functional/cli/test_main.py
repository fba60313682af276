from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from drover import __version__, errors
from drover.cli import main
from drover.cli.options import LazyGroup
from drover.cli.session import Session
from drover.runtime.threads import ThreadRuntime
from tests.functional.cli.conftest import Drover, Flaky
from tests.functional.cli.scripted import Scripted


def _commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        found.append(path)
        if isinstance(command, click.Group):
            ctx = click.Context(command)
            for name in command.list_commands(ctx):
                below = command.get_command(ctx, name)
                assert below is not None
                walk(below, (*path, name))

    walk(main.cli, ())
    return found


@pytest.mark.parametrize("path", _commands(), ids=" ".join)
def test_every_command_has_help_with_the_options_of_all(drover: Drover, path: tuple[str, ...]) -> None:
    result = drover(*path, "--help")
    assert result.status == 0
    for words in ("--config-file", "--format [table|json|yaml]", "--project", "--timeout"):
        assert words in result.out
    assert result.err == ""


def test_the_commands_are_those_promised() -> None:
    paths = {" ".join(path) for path in _commands()}
    promised = """
        host list, host show, host enable, host disable, host adopt, flavor create, flavor list, flavor delete,
        image create, image list, image show, image delete, network create, network list, network delete,
        keypair create, keypair list, keypair delete, instance create, instance list, instance show, instance delete,
        instance start, instance stop, instance reboot, instance console-log, operation list, operation show,
        operation wait, why, trace, service list, alarm list, db upgrade, standalone, lab, version
    """
    assert {name.strip() for name in promised.split(",")} <= paths


def test_the_lines_of_the_help_are_those_of_the_commands() -> None:
    assert isinstance(main.cli, LazyGroup)
    ctx = click.Context(main.cli)
    for name, link in main.cli.links.items():
        command = main.cli.get_command(ctx, name)
        assert command is not None
        assert command.help is not None
        assert link.line == command.help.partition("\n")[0]


def test_help_imports_nothing_heavy() -> None:
    check = (
        "import sys; from drover.cli import main; main.run(['--help']);"
        "heavy = {'rich', 'msgspec', 'oslo_config', 'oslo_messaging', 'sqlalchemy', 'numpy', 'tenacity'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_version(drover: Drover) -> None:
    assert drover("version").out == drover("--version").out == f"drover {__version__}\n"


def test_no_command_prints_the_help(drover: Drover) -> None:
    result = drover()
    assert result.status == 2
    assert "Commands:" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense",), "No such command 'nonsense' (see drover --help)"),
        (("instance", "list", "--nonsense"), "No such option"),
        (("--format", "xml", "host", "list"), "'xml' is not one of"),
        (("--timeout", "0", "host", "list"), "'--timeout'"),
    ],
)
def test_wrong_usage_is_one_line(drover: Drover, arguments: tuple[str, ...], words: str) -> None:
    result = drover(*arguments)
    assert result.status == 2
    assert result.err.startswith("error: BadInput: ")
    assert words in result.err
    assert result.err.count("\n") == 1


def test_the_option_nearest_to_the_end_wins(drover: Drover) -> None:
    assert drover("--format", "json", "host", "--format", "json", "list", "--format", "yaml").out.startswith("- name:")


def test_an_unexpected_error_is_no_traceback(drover: Drover, scripted: Scripted) -> None:
    scripted.hosts = None  # type: ignore[assignment]
    result = drover("host", "list")
    assert result.status == 1
    assert result.err.startswith("error: Internal: ")
    assert result.err.count("\n") == 1


def test_debug_adds_the_traceback(drover: Drover) -> None:
    result = drover("host", "show", "nope", "--debug")
    assert result.status == 3
    assert "Traceback" in result.err
    assert result.err.splitlines()[-1] == "error: HostNotFound: no host 'nope'"


def test_a_person_without_a_configuration_is_told_so(
    bus: Flaky, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DROVER_CONFIG", raising=False)
    words = "no configuration file was found; name one by --config-file or DROVER_CONFIG"
    for watched in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda watched=watched: watched)
        session = Session(runtime=ThreadRuntime())
        session._bus = bus  # as if it had come by the configuration
        bus.unsent += ["host_list"] * 10
        assert main.run(["host", "list", "--timeout", "0.1"], session) == 6
        err = capsys.readouterr().err
        assert "BusUnavailable" in err
        assert (words in err) == (watched and not Path("/etc/drover/drover.conf").exists())


def test_a_second_try_is_told_to_a_person_only(terminal: Drover, drover: Drover, bus: Flaky) -> None:
    bus.unsent.append("host_list")
    assert "trying again" in terminal("host", "list").out
    bus.unsent.append("host_list")
    assert drover("host", "list").err == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[bus]\nnonsense = 1\n", "unknown option nonsense in [bus]"),
        ("[nonsense]\na = 1\n", "unknown section [nonsense]"),
        ("[bus]\nrpc_timeout_s = soon\n", "[bus] rpc_timeout_s"),
        ("[bus]\ntransport_url = carrier-pigeon://\n", "transport_url"),
    ],
)
def test_a_wrong_configuration_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "drover.conf"
    file.write_text(text)
    assert main.run(("host", "list", "--config-file", str(file)), Session()) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: InvalidConfig: ")
    assert words in err


def test_a_configuration_file_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DROVER_CONFIG", "/nowhere/drover.conf")
    assert main.run(("host", "list"), Session()) == 2
    assert "no file /nowhere/drover.conf" in capsys.readouterr().err


def test_db_upgrade(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "drover.conf"
    file.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/drover.sqlite\n")
    for _ in range(2):
        assert main.run(("--config-file", str(file), "db", "upgrade"), Session()) == 0
        assert capsys.readouterr().out.startswith("database is at revision ")


def test_db_restored(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "drover.conf"
    file.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/drover.sqlite\n")

    def drover(*words: str) -> tuple[int, str, str]:
        status = main.run(("--config-file", str(file), "db", *words), Session())
        return (status, *capsys.readouterr())

    status, _, refusal = drover("restored", "--yes")
    assert (status, "SchemaMismatch" in refusal) == (1, True)
    drover("upgrade")
    assert drover("restored", "--dry-run") == (0, "the database would be settled\n", "")
    assert "say --yes or --dry-run" in drover("restored")[2]
    for _ in range(2):
        assert drover("restored", "--yes") == (0, "the database is settled: start the services\n", "")


def test_an_interrupt_is_status_130(bus: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Flaky):
        def call(self, *arguments: object, **named: object) -> object:
            raise KeyboardInterrupt

    session = Session(bus=Interrupted(bus._bus), runtime=ThreadRuntime())
    assert main.run(("host", "list"), session) == 130


def test_a_closed_pipe_is_no_error() -> None:
    check = "import sys; from drover.cli import main; sys.exit(main.run(['version']))"
    with subprocess.Popen([sys.executable, "-c", check], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_exit_codes_in_the_help_are_those_of_the_errors() -> None:
    kinds = {
        2: errors.BadInput,
        3: errors.NotFound,
        4: errors.Conflict,
        5: errors.OperationFailed,
        6: errors.Unavailable,
        7: errors.WaitTimeout,
    }
    for status, kind in kinds.items():
        assert kind.exit_code == status
        assert f"  {status}  " in main.EPILOG
