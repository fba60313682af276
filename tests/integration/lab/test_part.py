"""What a lab waits for, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from drover import errors
from drover.lab.layout import Layout
from drover.lab.part import Parts
from drover.runtime.threads import ThreadRuntime


@pytest.mark.timeout(60)
def test_nobody_waits_for_a_part_that_has_ended(tmp_path: Path, runtime: ThreadRuntime) -> None:
    layout = Layout(tmp_path)
    layout.log("host1").parent.mkdir(parents=True)
    parts = Parts(layout, runtime)
    parts.start("host1", ["bash", "-c", "echo no such kernel feature; exit 1"])
    with pytest.raises(errors.LabFailed, match=r"host1 ended while .* host1 to boot: no such kernel feature"):
        parts.await_ready("host1", lambda: False, "host1 to boot")


@pytest.mark.timeout(60)
def test_a_part_that_became_ready_and_ended_was_ready(tmp_path: Path, runtime: ThreadRuntime) -> None:
    layout = Layout(tmp_path)
    layout.log("host1").parent.mkdir(parents=True)
    parts = Parts(layout, runtime)
    ready = tmp_path / "ready"
    parts.start("host1", ["touch", str(ready)])
    parts.await_ready("host1", ready.exists, "host1 to boot")
