"""The documentation's promises: links lead somewhere, commands exist, tables are complete, made pages are fresh.

Rule 1: what a page names is there; what must be on a page is found by the code, not by a list kept here.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PARTS = ("src/", "docs/", "tests/", "scripts/", "requirements/", ".ci/")

every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def broken_links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(path):
            yield f"{target}: no such heading"


def anchors(page: Path) -> set[str]:
    """Headings as the forges spell them in links."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_paths(page: Path) -> Iterator[str]:
    """Paths in code quotes that are not there; a name in capitals stands for one that the reader chooses. A page made
    from the sources quotes docstrings, which may speak of somebody else's tree."""
    if page.parent.name == "reference":
        return
    for word in re.findall(r"`([^`\s]+)`", prose(page.read_text())):
        if word.startswith(PARTS) and not re.search(r"[A-Z*{<]", word) and not (ROOT / word).exists():
            yield word


def unknown_targets(page: Path) -> Iterator[str]:
    text = page.read_text()
    quoted = re.findall(r"`make ([a-z-]+)", text) + re.findall(r"^(?:\$ )?make ([a-z-]+)", text, re.MULTILINE)
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert "test" in targets
    yield from (f"make {name}" for name in quoted if name not in targets)


CHECKS = [broken_links, missing_paths, unknown_targets]


@every_page
@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
def test_a_page_names_only_what_is_there(page: Path, check) -> None:
    assert list(check(page)) == []


def test_each_check_objects_to_a_planted_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](nowhere.md) [b](#no-heading) `tests/nothing.py` `make nothing`\n\n```sh\nmake nonsense\n```\n")
    assert list(broken_links(page)) == ["nowhere.md: no such file", "#no-heading: no such heading"]
    assert list(missing_paths(page)) == ["tests/nothing.py"]
    assert list(unknown_targets(page)) == ["make nothing", "make nonsense"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, front = {ROOT / "README.md"}, [ROOT / "README.md"]
    while front:
        page = front.pop()
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text()):
            path = (page.parent / target).resolve()
            if path.suffix == ".md" and path.exists() and path not in seen:
                seen.add(path)
                front.append(path)
    assert [name for name, page in zip(NAMES, PAGES, strict=True) if page not in seen] == []


def rows(heading: str) -> set[str]:
    """First cells of the table under a heading of ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = re.split(r"^#+ ", text.split(f"# {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    return {cell.strip("` ") for cell in re.findall(r"^\|([^|]+)\|", section, re.MULTILINE)}


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    declared = {Requirement(text).name for text in project["dependencies"] + extras}
    assert declared == rows("Dependencies") - {"package", "---"}


def test_every_package_is_in_the_layout() -> None:
    packages = {path.parent.name for path in (ROOT / "src/agentos").glob("*/__init__.py")}
    assert packages == rows("Layout") - {"package", "---"}


def fresh(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/docs", "--check"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)


def test_the_reference_is_fresh() -> None:
    result = fresh(ROOT)
    assert result.returncode == 0, result.stdout


def test_a_stale_reference_is_noticed(tmp_path: Path) -> None:
    for name in ("src", "scripts", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    ids = tmp_path / "src/agentos/abi/ids.py"
    ids.write_text(ids.read_text().replace("Rule 1: ", "Rule 1: xyzzy "))
    result = fresh(tmp_path)
    assert result.returncode == 1
    assert "docs/reference/laws.md is out of date; run 'make docs'" in result.stdout
    assert "xyzzy" not in (tmp_path / "docs/reference/laws.md").read_text()
