"""The example packages of the documentation, installed as pip would and tested by their own tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs" / "examples").iterdir())


def install(example: Path, site: Path) -> None:
    """What ``pip install --no-deps --target`` leaves of a package of single modules; needs no network and no builder."""
    project = tomllib.loads((example / "pyproject.toml").read_text())
    name, version = project["project"]["name"], project["project"]["version"]
    for module in project["tool"]["setuptools"]["py-modules"]:
        shutil.copy(example / f"{module}.py", site)
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{key} = {target}\n" for key, target in entries.items())
        for group, entries in project["project"]["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_it_is_found_by_its_entry_point_and_passes_its_own_tests(example: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install(example, site)
    for test in example.glob("test_*.py"):
        shutil.copy(test, tmp_path)
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_there_are_examples() -> None:
    assert [example.name for example in EXAMPLES] == ["drover-guest-size-filter"]
