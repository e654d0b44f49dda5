"""scripts/bootstrap says what is wrong and leaves nothing behind; what it installs is shown by every test that runs.

The interpreters here are small shell scripts that answer as a broken machine's python3 would.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def bootstrap(tree: Path, *words: str, python: str | Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "AGENTOS_PYTHON": str(python), "AGENTOS_SYSTEM_PACKAGES": "never"}
    command = [sys.executable, "scripts/bootstrap", *words]
    return subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=60, check=False)


def fake(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def test_an_old_python_is_refused_with_a_way_to_get_a_new_one(tree: Path) -> None:
    result = bootstrap(tree, python=fake(tree / "python", "echo 3.10.13"))
    assert result.returncode == 1
    assert "no Python 3.11 or newer was found" in result.stderr
    assert "apt-get install python3" in result.stderr
    assert "brew install python" in result.stderr
    assert not (tree / ".venv").exists()


def test_a_python_that_does_not_run_is_no_python(tree: Path) -> None:
    result = bootstrap(tree, python=tree / "nothing-here")
    assert result.returncode == 1
    assert "no Python 3.11 or newer" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_python_without_venv_is_refused_with_the_package_that_brings_it(tree: Path) -> None:
    result = bootstrap(tree, python=fake(tree / "python", "echo 3.12.1", "exit 1"))
    assert result.returncode == 1
    assert "python3.12-venv" in result.stderr
    assert not (tree / ".venv").exists()


def test_a_lock_whose_hash_is_wrong_installs_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tree / "planted-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("planted-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
        wheel.writestr("planted-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("planted-1.0.dist-info/RECORD", "")
    (tree / "requirements/dev.txt").write_text(f"planted==1.0 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tree))
    result = bootstrap(tree, "dev", python=sys.executable)
    assert result.returncode == 1
    assert "DO NOT MATCH THE HASHES" in result.stderr
    assert "pip failed" in result.stderr
    assert not (tree / ".venv/.stamp-dev").exists()
    assert not (tree / ".venv/bin/agentos").exists()


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="runs from the environment that 'make dev' makes")
def test_a_current_environment_is_left_alone() -> None:
    before = (ROOT / ".venv/.stamp-dev").stat().st_mtime_ns
    result = bootstrap(ROOT, "dev", python="/nothing-here")
    assert result.returncode == 0, result.stderr
    assert "installing" not in result.stdout
    assert (ROOT / ".venv/.stamp-dev").stat().st_mtime_ns == before


def test_an_unknown_level_is_refused(tree: Path) -> None:
    result = bootstrap(tree, "everything", python=sys.executable)
    assert result.returncode == 1
    assert "usage: scripts/bootstrap [runtime|dev|local]" in result.stderr
