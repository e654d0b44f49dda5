"""The git forge from outside: real repositories, hostile working copies, real refs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest

from agentos.abi.work import Change, Scope
from agentos.drivers import forge_apply
from agentos.drivers.forge_git import GitForge
from agentos.ports.forge import Conflict, Moved, NotARepository, Stamp, TooLarge

T = TypeVar("T")
STAMP = Stamp("agentos", "agentos@localhost", 1_700_000_000)
TESTS_KEPT = Scope(protected=("tests/",))
FILES = {
    "calc.py": "def add(a, b):\n    return a - b\n",
    "tests/test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
    "run.sh": "#!/bin/sh\necho hello\n",
    ".gitignore": "build/\n*.log\n!keep.log\n",
    "docs/guide.md": "one\ntwo\nthree\nfour\nfive\nsix\nseven\n",
}


def wait(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(bounded())


def git(*words: str, cwd: Path) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_NAME": "ada", f"GIT_{role}_EMAIL": "ada@example.org"}
    return subprocess.run(["git", *words], cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout


def make(root: Path, files: dict[str, str]) -> Path:
    root.mkdir(parents=True)
    git("init", "-q", "-b", "main", cwd=root)
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        if path.endswith(".sh"):
            (root / path).chmod(0o755)
    git("add", "-A", cwd=root)
    git("commit", "-qm", "base", cwd=root)
    return root


class Ground:
    """A repository, a forge and one working copy of HEAD."""

    def __init__(self, root: Path) -> None:
        self.repository = make(root / "repository", FILES)
        self.forge = GitForge(root / "state")
        self.base = wait(self.forge.resolve(self.repository, "HEAD"))
        self.copy = root / "copy"
        wait(self.forge.checkout(self.repository, self.base, self.copy))

    def seal(self, scope: Scope = TESTS_KEPT) -> Change:
        return wait(self.forge.seal(self.copy, base=self.base, scope=scope, message="work", stamp=STAMP))

    def text(self, commit: str, path: str) -> str:
        wait(self.forge.fetch_into(self.repository, self.copy, commit))
        return git("show", f"{commit}:{path}", cwd=self.repository)

    def snapshot(self) -> dict[str, tuple[bytes, int]]:
        """Everything of the checkout, its .git but for objects included."""
        out = {}
        for path in sorted(self.repository.rglob("*")):
            if path.is_file() and "objects" not in path.parts:
                out[str(path.relative_to(self.repository))] = (path.read_bytes(), path.stat().st_mode)
        return out


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_an_untouched_copy_seals_to_its_base(ground: Ground) -> None:
    change = ground.seal()
    assert change == Change(base=ground.base, commit=ground.base, tree=change.tree)
    assert change.tree.lstrip("0") == git("rev-parse", "HEAD^{tree}", cwd=ground.repository).strip().lstrip("0")
    assert not (ground.copy / ".git").exists()


def test_the_same_work_gives_the_same_commit_and_leaves_the_users_repository_alone(ground: Ground) -> None:
    before = ground.snapshot()
    (ground.copy / "calc.py").write_text("def add(a, b):\n    return a + b\n")
    (ground.copy / "new.sh").write_text("echo\n")
    (ground.copy / "new.sh").chmod(0o755)
    (ground.copy / "docs/guide.md").unlink()
    first, second = ground.seal(), ground.seal()
    assert first == second
    assert first.paths == ("calc.py", "docs/guide.md", "new.sh")
    assert (first.lines_added, first.lines_removed) == (2, 8)
    assert ground.snapshot() == before
    assert ground.text(first.commit, "calc.py") == "def add(a, b):\n    return a + b\n"
    tree = git("ls-tree", "-r", first.commit, cwd=ground.repository)
    assert "100755 blob" in next(line for line in tree.splitlines() if line.endswith("new.sh"))
    assert "docs/guide.md" not in tree
    assert git("log", "-1", "--format=%an %ae %at %cn", first.commit, cwd=ground.repository).strip() == (
        "agentos agentos@localhost 1700000000 agentos"
    )


def test_protected_paths_keep_the_bases_version_and_are_told(ground: Ground) -> None:
    (ground.copy / "calc.py").write_text("def add(a, b):\n    return a + b\n")
    (ground.copy / "tests/test_calc.py").write_text("def test_add():\n    pass\n")
    (ground.copy / "conftest.py").write_text("import os\n")
    (ground.copy / "Tests").mkdir()
    (ground.copy / "Tests/test_more.py").write_text("")
    change = ground.seal()
    assert change.protected == ("Tests/test_more.py", "conftest.py", "tests/test_calc.py")
    assert change.paths == ("calc.py",)
    assert ground.text(change.commit, "tests/test_calc.py") == FILES["tests/test_calc.py"]
    assert "conftest.py" not in git("ls-tree", "-r", "--name-only", change.commit, cwd=ground.repository)


def test_forbidden_wins_and_what_is_out_of_scope_is_left_out(ground: Ground) -> None:
    for path in ("calc.py", "docs/guide.md", "run.sh"):
        (ground.copy / path).write_text("changed\n")
    scope = Scope(allowed=("*.py", "docs/"), forbidden=("docs/",))
    change = ground.seal(scope)
    assert change.out_of_scope == ("docs/guide.md", "run.sh")
    assert change.paths == ("calc.py",)
    assert ground.text(change.commit, "run.sh") == FILES["run.sh"]


def test_an_order_that_names_a_hostile_file_may_change_it(ground: Ground) -> None:
    (ground.copy / "conftest.py").write_text("x = 1\n")
    assert ground.seal(Scope()).protected == ("conftest.py",)
    assert ground.seal(Scope(allowed=("conftest.py",))).paths == ("conftest.py",)


def test_links_devices_and_repositories_in_the_copy_are_told_and_left_out(ground: Ground, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    (ground.copy / "calc.py").unlink()
    (ground.copy / "calc.py").symlink_to(secret)
    (ground.copy / "out").symlink_to(tmp_path)
    os.mkfifo(ground.copy / "pipe")
    (ground.copy / "inner/.git").mkdir(parents=True)
    (ground.copy / "inner/.git/config").write_text("[core]\n\tfsmonitor = touch /tmp/owned\n")
    change = ground.seal()
    assert change.links == ("calc.py", "inner/.git", "out", "pipe")
    assert change.commit == ground.base


def test_a_directory_swapped_for_a_link_is_not_followed_and_deletes_nothing(ground: Ground, tmp_path: Path) -> None:
    (ground.copy / "docs/guide.md").unlink()
    (ground.copy / "docs").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/guide.md").write_text("planted\n")
    (ground.copy / "docs").symlink_to(tmp_path / "elsewhere")
    change = ground.seal()
    assert (change.links, change.commit) == (("docs",), ground.base)


def test_a_file_may_become_a_directory_and_back(ground: Ground) -> None:
    (ground.copy / "run.sh").unlink()
    (ground.copy / "run.sh").mkdir()
    (ground.copy / "run.sh/part").write_text("x\n")
    (ground.copy / "docs/guide.md").unlink()
    (ground.copy / "docs").rmdir()
    (ground.copy / "docs").write_text("now a file\n")
    change = ground.seal()
    assert change.paths == ("docs", "docs/guide.md", "run.sh", "run.sh/part")
    assert ground.text(change.commit, "docs") == "now a file\n"
    assert ground.text(change.commit, "run.sh/part") == "x\n"


def test_a_hostile_git_directory_in_the_copy_is_never_read(ground: Ground, tmp_path: Path) -> None:
    flag = tmp_path / "owned"
    git("init", "-q", cwd=ground.copy)
    config = ground.copy / ".git/config"
    config.write_text(
        f'[core]\n\tfsmonitor = touch {flag}\n\thooksPath = .\n[filter "x"]\n\tclean = touch {flag}\n'
        f'\tsmudge = touch {flag}\n[diff "x"]\n\ttextconv = touch {flag}\n\tcommand = touch {flag}\n'
    )
    (ground.copy / ".gitattributes").write_text("* filter=x diff=x\n")
    (ground.copy / "calc.py").write_text("x = 1\n")
    change = ground.seal()
    assert change.paths == ("calc.py",)
    assert change.protected == (".gitattributes",)
    assert "x = 1" in wait(ground.forge.diff(ground.repository, ground.base, change.commit))
    assert not flag.exists()


def test_filters_and_hooks_of_the_users_repository_are_not_run(tmp_path: Path) -> None:
    flag = tmp_path / "ran"
    repository = make(tmp_path / "r", {**FILES, ".gitattributes": "* filter=x diff=x merge=x\n"})
    for key in ("filter.x.clean", "filter.x.smudge", "filter.x.process", "diff.x.textconv", "diff.x.command"):
        git("config", key, f"touch {flag}; cat", cwd=repository)
    git("config", "merge.x.driver", f"touch {flag}", cwd=repository)
    git("config", "core.fsmonitor", f"touch {flag}; false", cwd=repository)
    hook = repository / ".git/hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {flag}\n")
    hook.chmod(0o755)
    forge = GitForge(tmp_path / "state")
    base = wait(forge.resolve(repository, "main"))
    wait(forge.checkout(repository, base, tmp_path / "copy"))
    (tmp_path / "copy/calc.py").write_text("x = 1\n")
    change = wait(forge.seal(tmp_path / "copy", base=base, scope=Scope(), message="m", stamp=STAMP))
    wait(forge.diff(repository, base, change.commit))
    wait(forge.export(repository, change.commit, tmp_path / "out"))
    wait(forge.fetch_into(repository, tmp_path / "copy", change.commit))
    wait(forge.move_ref(repository, "refs/heads/done", old=None, new=change.commit, why="test"))
    wait(forge.undo(repository, wait(forge.apply_to_checkout(repository, change.commit, base)).id))
    assert not flag.exists()
    assert git("rev-parse", "done", cwd=repository).strip() == change.commit


def test_droppings_of_a_test_run_are_no_change(ground: Ground) -> None:
    for path in ("__pycache__/calc.cpython-311.pyc", ".pytest_cache/x", "build/out", "deep/down/error.log"):
        (ground.copy / path).parent.mkdir(parents=True, exist_ok=True)
        (ground.copy / path).write_text("x")
    assert ground.seal().commit == ground.base
    (ground.copy / "keep.log").write_text("x")
    assert ground.seal().paths == ("keep.log",)


def test_the_worker_cannot_hide_work_behind_its_own_ignore_file(ground: Ground) -> None:
    (ground.copy / ".gitignore").write_text("*\n")
    (ground.copy / "tests/test_hidden.py").write_text("")
    change = ground.seal()
    assert change.protected == ("tests/test_hidden.py",)
    assert change.paths == (".gitignore",)


@pytest.mark.parametrize(
    ("content", "is_protected"),
    [
        ('[project]\nname = "x"\nversion = "2"\n', False),
        ('[project]\nname = "x"\n[tool.pytest.ini_options]\naddopts = "-k nothing"\n', True),
        ("[project\n", True),
    ],
)
def test_pyproject_may_change_but_not_what_steers_the_runner(ground: Ground, content: str, is_protected: bool) -> None:
    (ground.copy / "pyproject.toml").write_text(content)
    change = ground.seal()
    assert change.protected == (("pyproject.toml",) if is_protected else ())
    assert change.paths == (() if is_protected else ("pyproject.toml",))


def test_a_file_that_does_not_parse_is_told_with_its_line(ground: Ground) -> None:
    (ground.copy / "calc.py").write_text("def add(a, b):\n    return a +\n")
    (ground.copy / "bomb.py").write_text("x = " + "(" * 100_000 + "\n")
    (ground.copy / "newer.py").write_text("type X = int\n")
    errors = ground.seal().syntax_errors
    assert [e.split(":")[:2] for e in errors if not e.startswith("newer")] == [["bomb.py", "1"], ["calc.py", "2"]]


def test_bounds_are_named_with_their_key(tmp_path: Path) -> None:
    repository = make(tmp_path / "r", FILES)
    forge = GitForge(tmp_path / "state", file_bytes_max=1000, files_max=8)
    base = wait(forge.resolve(repository, "HEAD"))
    wait(forge.checkout(repository, base, tmp_path / "copy"))
    (tmp_path / "copy/big").write_bytes(b"x" * 1001)
    with pytest.raises(TooLarge, match=r"over 1000 bytes; raise forge.file_bytes_max"):
        wait(forge.seal(tmp_path / "copy", base=base, scope=Scope(), message="m", stamp=STAMP))
    (tmp_path / "copy/big").unlink()
    for n in range(9):
        (tmp_path / f"copy/f{n}").touch()
    with pytest.raises(TooLarge, match="forge.files_max"):
        wait(forge.seal(tmp_path / "copy", base=base, scope=Scope(), message="m", stamp=STAMP))


def test_what_is_no_repository_is_refused_with_the_way_out(tmp_path: Path) -> None:
    forge = GitForge(tmp_path / "state")
    (tmp_path / "plain").mkdir()
    with pytest.raises(NotARepository, match="git init"):
        wait(forge.resolve(tmp_path / "plain", "HEAD"))
    git("init", "-q", cwd=tmp_path / "plain")
    with pytest.raises(NotARepository, match="no commit yet; run `git add -A && git commit`"):
        wait(forge.resolve(tmp_path / "plain", "HEAD"))
    with pytest.raises(NotARepository, match="no commit '--all'"):
        wait(forge.resolve(make(tmp_path / "r", FILES), "--all"))


def test_a_bare_repository_and_a_detached_head_serve_as_well(tmp_path: Path) -> None:
    repository = make(tmp_path / "r", FILES)
    git("clone", "-q", "--bare", str(repository), str(tmp_path / "bare"), cwd=tmp_path)
    git("checkout", "-q", "--detach", cwd=repository)
    forge = GitForge(tmp_path / "state")
    for name in ("r", "bare"):
        base = wait(forge.resolve(tmp_path / name, "HEAD"))
        wait(forge.checkout(tmp_path / name, base, tmp_path / f"copy-{name}"))
        (tmp_path / f"copy-{name}/calc.py").write_text("x = 1\n")
        change = wait(forge.seal(tmp_path / f"copy-{name}", base=base, scope=Scope(), message="m", stamp=STAMP))
        wait(forge.fetch_into(tmp_path / name, tmp_path / f"copy-{name}", change.commit))
        wait(forge.move_ref(tmp_path / name, "refs/heads/main", old=base, new=change.commit, why="merge"))
        assert git("rev-parse", "main", cwd=tmp_path / name).strip() == change.commit
    with pytest.raises(NotARepository, match="bare repository"):
        wait(forge.apply_to_checkout(tmp_path / "bare", change.commit, base))


def test_a_ref_moves_only_from_where_the_caller_saw_it(ground: Ground) -> None:
    (ground.copy / "calc.py").write_text("x = 1\n")
    commit = ground.seal().commit
    move, repository = ground.forge.move_ref, ground.repository
    wait(ground.forge.fetch_into(repository, ground.copy, commit))
    wait(move(repository, "refs/heads/w", old=None, new=ground.base, why="start"))
    for old in (None, commit):
        with pytest.raises(Moved, match=ground.base):
            wait(move(repository, "refs/heads/w", old=old, new=commit, why="late"))
    assert git("rev-parse", "w", cwd=repository).strip() == ground.base
    wait(move(repository, "refs/heads/w", old=ground.base, new=commit, why="gate:\npassed"))
    assert "gate: passed" in git("reflog", "w", cwd=repository)
    with pytest.raises(Conflict, match="checked out"):
        wait(move(repository, "refs/heads/main", old=ground.base, new=commit, why="no"))
    wait(move(repository, "refs/heads/w", old=commit, new=None, why="done"))
    assert "refs/heads/w" not in git("show-ref", cwd=repository)


def test_discard_deletes_what_checkout_made_and_nothing_else(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(NotARepository, match="not a working copy"):
        wait(ground.forge.discard(tmp_path / "mine"))
    (ground.copy / "out").symlink_to(tmp_path / "mine")
    wait(ground.forge.discard(ground.copy))
    wait(ground.forge.discard(ground.copy))
    assert not ground.copy.exists()
    assert (tmp_path / "mine").exists()


def test_export_gives_plain_files_and_no_way_out(tmp_path: Path) -> None:
    repository = make(tmp_path / "r", FILES)
    (repository / "alias.py").symlink_to("calc.py")
    (repository / "manual").symlink_to("docs")
    (repository / "loop").symlink_to("loop")
    (repository / "passwd").symlink_to("/etc/passwd")
    (repository / "up").symlink_to("../..")
    git("add", "-A", cwd=repository)
    git("commit", "-qm", "links", cwd=repository)
    forge = GitForge(tmp_path / "state")
    commit = wait(forge.resolve(repository, "HEAD"))
    wait(forge.export(repository, commit, tmp_path / "out"))
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_symlink()]
    assert (tmp_path / "out/alias.py").read_text() == FILES["calc.py"]
    assert (tmp_path / "out/manual/guide.md").read_text() == FILES["docs/guide.md"]
    assert not any((tmp_path / "out" / name).exists() for name in ("loop", "passwd", "up", ".git"))
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    wait(forge.checkout(repository, commit, tmp_path / "copy"))
    change = wait(forge.seal(tmp_path / "copy", base=commit, scope=Scope(), message="m", stamp=STAMP))
    assert (change.commit, change.links) == (commit, ())


def sealed(ground: Ground) -> str:
    """A change of three kinds: edited, added below a new directory, removed."""
    guide = ground.copy / "docs/guide.md"
    guide.write_text(guide.read_text().replace("seven", "SEVEN"))
    (ground.copy / "pkg/deep").mkdir(parents=True)
    (ground.copy / "pkg/deep/new.py").write_text("x = 1\n")
    (ground.copy / "run.sh").unlink()
    return ground.seal(Scope()).commit


def test_apply_then_undo_leaves_the_checkout_as_it_was(ground: Ground) -> None:
    commit, before = sealed(ground), ground.snapshot()
    receipt = wait(ground.forge.apply_to_checkout(ground.repository, commit, ground.base))
    assert receipt.state == "applied"
    assert git("status", "--porcelain", cwd=ground.repository).split("\n")[:3] == [
        " M docs/guide.md",
        " D run.sh",
        "?? pkg/",
    ]
    assert not list(ground.repository.rglob("*.agentos-apply-*"))
    assert wait(ground.forge.undo(ground.repository)).state == "undone"
    after = ground.snapshot()
    assert {p: v for p, v in after.items() if p != ".git/index"} == {
        p: v for p, v in before.items() if p != ".git/index"
    }
    assert not (ground.repository / "pkg").exists()
    with pytest.raises(Conflict, match="nothing to undo"):
        wait(ground.forge.undo(ground.repository))


def test_apply_merges_with_what_the_user_committed_since(ground: Ground) -> None:
    commit = sealed(ground)
    guide = ground.repository / "docs/guide.md"
    guide.write_text(guide.read_text().replace("one", "ONE"))
    git("commit", "-qam", "mine", cwd=ground.repository)
    wait(ground.forge.apply_to_checkout(ground.repository, commit, ground.base))
    assert guide.read_text() == "ONE\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n"
    wait(ground.forge.undo(ground.repository))
    assert git("status", "--porcelain", cwd=ground.repository) == ""


def test_apply_refuses_where_the_user_is_at_work_and_writes_nothing(ground: Ground) -> None:
    commit = sealed(ground)
    guide = ground.repository / "docs/guide.md"
    original = guide.read_text()
    for spoil, pattern in (
        (lambda: guide.write_text("mine\n"), r"docs/guide.md changed .* not committed"),
        (lambda: git("add", "docs/guide.md", cwd=ground.repository), "not committed"),
        (lambda: git("commit", "-qm", "mine", cwd=ground.repository), "changed on both sides"),
    ):
        spoil()
        before = ground.snapshot()
        with pytest.raises(Conflict, match=pattern):
            wait(ground.forge.apply_to_checkout(ground.repository, commit, ground.base))
        assert ground.snapshot() == before
    assert original != guide.read_text()


def test_an_untracked_file_in_the_way_is_not_overwritten(ground: Ground) -> None:
    commit = sealed(ground)
    (ground.repository / "pkg/deep").mkdir(parents=True)
    (ground.repository / "pkg/deep/new.py").write_text("mine\n")
    before = ground.snapshot()
    with pytest.raises(Conflict, match="pkg/deep/new.py"):
        wait(ground.forge.apply_to_checkout(ground.repository, commit, ground.base))
    assert ground.snapshot() == before


def test_apply_does_not_write_through_a_link(ground: Ground, tmp_path: Path) -> None:
    commit = sealed(ground)
    (tmp_path / "outside").mkdir()
    (ground.repository / "pkg").symlink_to(tmp_path / "outside")
    with pytest.raises((Conflict, OSError)):
        wait(ground.forge.apply_to_checkout(ground.repository, commit, ground.base))
    assert not list((tmp_path / "outside").iterdir())
    assert git("status", "--porcelain", "-uno", cwd=ground.repository) == ""


def test_undo_refuses_when_the_user_edited_since(ground: Ground) -> None:
    commit = sealed(ground)
    wait(ground.forge.apply_to_checkout(ground.repository, commit, ground.base))
    (ground.repository / "pkg/deep/new.py").write_text("x = 2\n")
    before = ground.snapshot()
    with pytest.raises(Conflict, match="pkg/deep/new.py changed in the checkout since"):
        wait(ground.forge.undo(ground.repository))
    assert ground.snapshot() == before


def test_an_apply_that_fails_half_way_puts_everything_back(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, before = sealed(ground), ground.snapshot()
    real = forge_apply._put
    calls = []

    def failing(root: int, path: str, image: forge_apply.Image, receipt: forge_apply.Receipt) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise OSError("no space left")
        real(root, path, image, receipt)

    monkeypatch.setattr(forge_apply, "_put", failing)
    with pytest.raises(OSError, match="no space left"):
        wait(ground.forge.apply_to_checkout(ground.repository, commit, ground.base))
    assert len(calls) > 3
    assert ground.snapshot() == before


def test_an_apply_cut_off_by_a_crash_can_be_undone(ground: Ground) -> None:
    commit, before = sealed(ground), ground.snapshot()
    script = f"""
import asyncio, os, sys
from pathlib import Path
from agentos.drivers import forge_apply
from agentos.drivers.forge_git import GitForge
real, calls = forge_apply._put, []
def dying(*arguments):
    calls.append(1)
    if len(calls) == 3:
        os._exit(9)
    real(*arguments)
forge_apply._put = dying
asyncio.run(GitForge(Path({str(ground.forge.state)!r})).apply_to_checkout(
    Path({str(ground.repository)!r}), {commit!r}, {ground.base!r}))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 9
    assert ground.snapshot() != before
    with pytest.raises(Conflict, match="was cut off; undo it first"):
        wait(ground.forge.apply_to_checkout(ground.repository, commit, ground.base))
    wait(ground.forge.undo(ground.repository))
    after = ground.snapshot()
    assert {p: v[0] for p, v in after.items()} == {p: v[0] for p, v in before.items()}
