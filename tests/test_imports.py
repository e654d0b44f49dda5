"""The layer contracts in pyproject.toml hold, and each one catches the violation it is there for.

Rule 1: a contract without a plant is a contract nobody has seen fail.
Rule 2: plants go into a copy of the real tree, under names that are nobody's, so they keep working as modules land.
Rule 3: a driver is a module that an entry point names. Drivers know nothing of each other, on any way round; what two of
        them share is a part, which no entry point names.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = Path(sys.executable).with_name("lint-imports")

# (contract, what is wrong, {file under src/agentos: text})
PLANTS = [
    ("layers", "the abi imports upward", {"abi/planted.py": "import agentos.machine\n"}),
    ("layers", "a port imports a driver", {"ports/planted.py": "import agentos.drivers\n"}),
    ("layers", "packages of one layer know each other", {"views/planted.py": "import agentos.sdk\n"}),
    ("layers", "a package has no place", {"planted/__init__.py": '"""A stray."""\n'}),
    ("layers", "a violation in two steps", {"sdk/planted.py": "from agentos.ui import cli\n"}),
    ("pure", "the kernel reads a clock", {"kernel/planted.py": "import time\n"}),
    ("pure", "the kernel is asynchronous", {"kernel/work/planted.py": "from asyncio import Queue\n"}),
    ("pure", "the abi rolls dice", {"abi/planted.py": "def roll():\n    import random\n    return random.random()\n"}),
    ("userland", "a program reaches for a port", {"userland/planted.py": "from agentos.ports import clock\n"}),
    ("userland", "the sdk reaches for the kernel", {"sdk/planted.py": "import agentos.kernel\n"}),
    ("kernel", "a page reads the kernel's tables", {"ui/planted.py": "import agentos.kernel\n"}),
    ("kernel", "boot goes around the machine", {"boot/planted.py": "from agentos.kernel import work\n"}),
    ("composition", "a command names a driver", {"ui/cli/planted.py": "from agentos import drivers\n"}),
    (
        "gates",
        "a gate leans on another",
        {"gates/planted_a.py": "", "gates/planted_b.py": "import agentos.gates.planted_a\n"},
    ),
    (
        "acyclic",
        "two siblings import each other",
        {"machine/planted_a.py": "from . import planted_b\n", "machine/planted_b.py": "from . import planted_a\n"},
    ),
    (
        "acyclic",
        "two packages of one parent import each other",
        {"ui/planted/__init__.py": "import agentos.ui.cli\n", "ui/cli/planted.py": "import agentos.ui.planted\n"},
    ),
]


def declared() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [contract["id"] for contract in settings["tool"]["importlinter"]["contracts"]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources that may be spoiled."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path, contract: str = "") -> subprocess.CompletedProcess[str]:
    chosen = ["--contract", contract] if contract else []
    return subprocess.run(
        [LINT, "--no-logo", "--no-cache", *chosen],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_tree_keeps_every_contract(tree: Path) -> None:
    result = lint(tree)
    assert result.returncode == 0, result.stdout
    assert f"{len(declared())} kept, 0 broken" in result.stdout


@pytest.mark.parametrize(("contract", "wrong", "files"), PLANTS, ids=[plant[1].replace(" ", "-") for plant in PLANTS])
def test_a_planted_violation_is_caught(tree: Path, contract: str, wrong: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = tree / "src/agentos" / name
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    result = lint(tree, contract)
    assert result.returncode == 1, f"{wrong}: not caught by {contract}\n{result.stdout}"
    assert "0 kept, 1 broken" in result.stdout
    assert "planted" in result.stdout


def test_every_contract_has_been_seen_to_fail() -> None:
    assert {contract for contract, _, _ in PLANTS} == set(declared())


# --- drivers ----------------------------------------------------------------------------------------------------------

CHAINS = """
import sys, grimp
graph = grimp.build_graph("agentos", cache_dir=None)
drivers = sys.argv[1:]
for one in drivers:
    for other in drivers:
        if one != other and graph.chain_exists(importer=one, imported=other, as_packages=True):
            print(one, "knows", other)
"""


def drivers(tree: Path) -> list[str]:
    """Modules of ours that entry points name."""
    groups = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["entry-points"]
    named = {target.split(":")[0] for group in groups.values() for target in group.values()}
    return sorted(name for name in named if name.startswith("agentos.drivers."))


def acquaintances(tree: Path) -> list[str]:
    """Each driver that imports another, directly or through parts."""
    shown = subprocess.run(
        [sys.executable, "-c", CHAINS, *drivers(tree)],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return shown.stdout.splitlines()


def plant_drivers(tree: Path, files: dict[str, str]) -> None:
    """Two drivers, `planted_a` and `planted_b`, with their entry points, and what else the files say."""
    for name, text in {"planted_a": "", "planted_b": "", **files}.items():
        (tree / f"src/agentos/drivers/{name}.py").write_text(text)
    group = '[project.entry-points."agentos.sandbox"]\n'
    settings = (tree / "pyproject.toml").read_text()
    assert group in settings
    entries = "".join(f'{name} = "agentos.drivers.{name}:Sample"\n' for name in ("planted_a", "planted_b"))
    (tree / "pyproject.toml").write_text(settings.replace(group, group + entries))


def test_no_driver_knows_another() -> None:
    assert acquaintances(ROOT) == []


def test_an_entry_point_names_a_module_that_is_there() -> None:
    paths = {name: ROOT / "src" / name.replace(".", "/") for name in drivers(ROOT)}
    assert [name for name, path in paths.items() if not path.with_suffix(".py").exists() and not path.is_dir()] == []


@pytest.mark.parametrize(
    "files",
    [
        {"planted_b": "from agentos.drivers import planted_a\n"},
        {"planted_b": "def a():\n    import agentos.drivers.planted_a\n"},
        {"planted_b": "from . import planted_part\n", "planted_part": "from . import planted_a\n"},
    ],
    ids=["directly", "lazily", "through-a-part"],
)
def test_a_driver_that_leans_on_another_is_caught(tree: Path, files: dict[str, str]) -> None:
    plant_drivers(tree, files)
    assert acquaintances(tree) == ["agentos.drivers.planted_b knows agentos.drivers.planted_a"]


def test_drivers_may_share_a_part(tree: Path) -> None:
    lean = "from agentos.drivers import planted_part\n"
    plant_drivers(tree, {"planted_a": lean, "planted_b": lean, "planted_part": ""})
    assert acquaintances(tree) == []
