"""The process: bad configuration, waiting, and leaving in good order."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.state_dir import FileStateDir

PATIENCE_S = 60


def config(tmp_path: Path, text: str) -> str:
    file = tmp_path / "drover.conf"
    file.write_text(text)
    return str(file)


def run_agent(file: str) -> subprocess.CompletedProcess[str]:
    """Until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "agent", "--config-file", file],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[agent]\ndriver = xen\n", "no virt driver 'xen'"),
        ("[agent]\nbuild_pool = 0\n", "build_pool"),
        ("[agent]\ncolour = red\n", "unknown option colour"),
        ("[agent]\ndriver = fake\n[fake]\nfail_rates = define\n", "fail_rates"),
        ("[bus]\ntransport_url = nonsense\n", "transport_url"),
    ],
)
def test_bad_configuration(tmp_path: Path, text: str, words: str) -> None:
    state = f"state_dir = {tmp_path / 'state'}\n"
    ended = run_agent(config(tmp_path, text.replace("[agent]\n", f"[agent]\n{state}")))
    assert ended.returncode == 2
    last_line = ended.stderr.splitlines()[-1]
    assert last_line.startswith("error: InvalidConfig: ")
    assert words in last_line


def test_waits_for_a_broker_and_leaves_when_asked(tmp_path: Path) -> None:
    file = config(
        tmp_path,
        f"[agent]\nhost = h1\ndriver = fake\nstate_dir = {tmp_path / 'state'}\n"
        "[bus]\ntransport_url = rabbit://nobody:nothing@127.0.0.1:1/none\nsend_retries = 0\n[times]\nrpc_timeout_s = 0.5\n",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "--config-file", file], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "waiting what=conductor" in line:
                break
        else:
            pytest.fail(f"ended with {process.wait()} before it waited")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert (tmp_path / "state" / "host_uuid").is_file()


def test_second_agent_of_a_state_directory_says_so(tmp_path: Path) -> None:
    holder = FileStateDir(tmp_path / "state")
    holder.lock()
    file = config(
        tmp_path,
        f"[agent]\nhost = h1\ndriver = fake\nstate_dir = {tmp_path / 'state'}\n"
        "[bus]\ntransport_url = rabbit://nobody:nothing@127.0.0.1:1/none\n",
    )
    ended = run_agent(file)
    assert ended.returncode == 4
    assert "StateDirLocked" in ended.stderr
    holder.unlock()
