"""Every tool keeps the port's rules; each one's own promises follow."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from agentos.drivers import tool_files, tool_text
from agentos.drivers.sandbox_native import NativeSandbox, toolchain_binds
from agentos.drivers.tool_files import file_tools
from agentos.drivers.tool_shell import Shell
from agentos.ports.tool import Result, Tool

BINDS = toolchain_binds()
NAMES = ("read_file", "write_file", "edit_file", "list_files", "search_files", "shell")
# What may be added around a bounded text: the notes that say what was left out.
NOTES_CHARS_MAX = 1_000


@pytest.fixture
def tools(sandbox: NativeSandbox) -> dict[str, Tool]:
    made = (*file_tools(sandbox, binds=BINDS), Shell(sandbox, binds=BINDS))
    return {tool.manifest.name: tool for tool in made}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    (folder / "src").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("[core]\n")
    (folder / "src" / "main.py").write_text("def main():\n    return 1\n")
    (tmp_path / "key").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "key")
    return folder


def call(tool: Tool, root: Path, **arguments: object) -> Result:
    async def bounded() -> Result:
        async with asyncio.timeout(60):
            return await tool.run(arguments, root=root, key="k")

    return asyncio.run(bounded())


def everything(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink()}


# The port's rules.


def test_the_tools_are_these(tools: dict[str, Tool]) -> None:
    assert tuple(tools) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_says_all_a_caller_must_know(tools: dict[str, Tool], name: str) -> None:
    manifest = tools[name].manifest
    jsonschema.Draft202012Validator.check_schema(manifest.schema)
    assert manifest.schema["additionalProperties"] is False
    assert manifest.repeat in {"pure", "idempotent", "queryable", "costly", "once"}
    assert manifest.right in {"fs.read", "fs.write", "shell"}
    assert 40 < len(manifest.description) < 600


RIGHT: dict[str, dict[str, object]] = {
    "read_file": {"path": "src/main.py"},
    "write_file": {"path": "src/main.py", "content": "x"},
    "edit_file": {"path": "src/main.py", "old": "main", "new": "x"},
    "list_files": {"path": "src"},
    "search_files": {"pattern": "main"},
    "shell": {"command": "echo changed > src/main.py"},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [None, 3, "", [], "a\0b", "\ud800"])
def test_arguments_that_are_wrong_are_an_answer_and_change_nothing(
    tools: dict[str, Tool], root: Path, name: str, wrong: object
) -> None:
    first = next(iter(RIGHT[name]))
    before = everything(root)
    result = call(tools[name], root, **RIGHT[name] | {first: wrong})
    is_root = name == "list_files" and wrong == ""  # which may be listed
    assert is_root or (result.is_error and first in result.content)
    assert everything(root) == before
    assert not call(tools[name], root, **RIGHT[name]).is_error


@pytest.mark.parametrize("path", ["../key", "/etc/passwd", "link", ".git/config", "src/../../key", "/copy/../key"])
@pytest.mark.parametrize("name", NAMES[:-1])
def test_no_file_tool_leaves_the_root(tools: dict[str, Tool], root: Path, name: str, path: str) -> None:
    before = everything(root.parent)
    more = {
        "write_file": {"content": "x"},
        "edit_file": {"old": "s", "new": "x"},
        "search_files": {"pattern": "secret"},
    }
    result = call(tools[name], root, path=path, **more.get(name, {}))
    assert everything(root.parent) == before
    assert "secret" not in result.content.replace("'secret'", "")
    # To search in a link finds nothing, for links are passed over; all else is refused by name.
    assert result.is_error or (name == "search_files" and path == "link")


# Reading.


def test_a_file_is_read_as_it_is(tools: dict[str, Tool], root: Path) -> None:
    for path in ("src/main.py", "./src//main.py", "/copy/src/main.py"):
        assert call(tools["read_file"], root, path=path) == Result("def main():\n    return 1")


def test_a_long_file_comes_in_pages_that_join_to_the_whole(tools: dict[str, Tool], root: Path) -> None:
    lines = [f"line {n} " + "x" * (n % 90) for n in range(1, 4001)]
    (root / "long.txt").write_text("\n".join(lines) + "\n")
    read: list[str] = []
    while True:
        result = call(tools["read_file"], root, path="long.txt", first_line=len(read) + 1)
        assert len(result.content) <= tool_text.RESULT_CHARS_MAX + NOTES_CHARS_MAX
        *page, last = result.content.split("\n")
        read += page
        if not result.is_cut:
            read.append(last)
            break
        assert (
            last
            == f"[lines {len(read) - len(page) + 1} to {len(read)} of 4000; read on with first_line {len(read) + 1}]"
        )
    assert read == lines


def test_ten_megabytes_and_one_endless_line_are_bounded(tools: dict[str, Tool], root: Path) -> None:
    (root / "big").write_bytes(b"0123456789abcde\n" * (10 << 16))
    (root / "line").write_bytes(b"z" * (10 << 20))
    for path in ("big", "line"):
        result = call(tools["read_file"], root, path=path)
        assert result.is_cut and len(result.content) <= tool_text.RESULT_CHARS_MAX + NOTES_CHARS_MAX
    assert "left out" in result.content


def test_bytes_that_are_no_text_are_shown_as_escapes_and_it_is_said(tools: dict[str, Tool], root: Path) -> None:
    (root / "latin").write_bytes(b"caf\xe9\n\x1b]0;title\x07\xe2\x80\xae\n")
    result = call(tools["read_file"], root, path="latin")
    assert result.content.startswith("caf\\xe9\n\\x1b]0;title\\x07\\u202e\n[what is not UTF-8")
    (root / "image").write_bytes(b"\x89PNG\0\0" + bytes(1000))
    result = call(tools["read_file"], root, path="image")
    assert result.content.startswith("image is not text: 1006 bytes, SHA-256 ") and "\0" not in result.content


# Writing.


def test_what_is_written_is_there_and_twice_is_once(tools: dict[str, Tool], root: Path) -> None:
    for _ in range(2):
        assert not call(tools["write_file"], root, path="new/dir/a.txt", content="á\n").is_error
        assert (root / "new/dir/a.txt").read_bytes() == "á\n".encode()
    assert [path.name for path in (root / "new/dir").iterdir()] == ["a.txt"]


def test_too_much_is_refused_whole(tools: dict[str, Tool], root: Path) -> None:
    result = call(tools["write_file"], root, path="a", content="x" * (tool_files.WRITE_BYTES_MAX + 1))
    assert result.is_error and str(tool_files.WRITE_BYTES_MAX) in result.content
    assert not (root / "a").exists()


def test_an_edit_needs_its_place_to_be_there_once(tools: dict[str, Tool], root: Path) -> None:
    edit = tools["edit_file"]
    (root / "a").write_text("one\ntwo\none\n")
    for old, why in (("one", "2 times"), ("three", "not in a"), ("", "empty"), ("two\r\n", "not in a")):
        result = call(edit, root, path="a", old=old, new="x")
        assert result.is_error and why in result.content
    assert (root / "a").read_text() == "one\ntwo\none\n"
    assert call(edit, root, path="a", old="two\none", new="2\n1").content == "edited a at line 2"
    assert (root / "a").read_text() == "one\n2\n1\n"


@pytest.mark.parametrize(
    ("old", "new"), [("return 1", "return 2"), ("return", "return not"), ("main", ""), ("    r", "r")]
)
def test_an_edit_made_again_changes_nothing(tools: dict[str, Tool], root: Path, old: str, new: str) -> None:
    call(tools["edit_file"], root, path="src/main.py", old=old, new=new)
    once = everything(root)
    result = call(tools["edit_file"], root, path="src/main.py", old=old, new=new)
    assert everything(root) == once
    assert "already" in result.content or "not in" in result.content


def test_an_edit_leaves_all_other_bytes_alone(tools: dict[str, Tool], root: Path) -> None:
    (root / "mixed").write_bytes(b"\xff\xfe\r\nkey = 1\r\n\0tail")
    assert not call(tools["edit_file"], root, path="mixed", old="key = 1", new="key = 2").is_error
    assert (root / "mixed").read_bytes() == b"\xff\xfe\r\nkey = 2\r\n\0tail"
    result = call(tools["edit_file"], root, path="mixed", old="key = 2\n", new="x")
    assert result.is_error and "CRLF" in result.content


# Looking around.


def test_a_listing_names_what_is_there(tools: dict[str, Tool], root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "odd\x1bname").touch()
    assert call(tools["list_files"], root).content.split("\n") == [
        "link (symbolic link)", "odd\\x1bname", "pipe (not a file)", "src/", "src/main.py",
    ]  # fmt: skip
    assert call(tools["list_files"], root, path="src").content == "src/main.py"


def test_a_listing_of_very_much_is_bounded_and_shows_the_top_first(tools: dict[str, Tool], root: Path) -> None:
    for n in range(1500):
        (root / "src" / f"f{n}").touch()
    (root / "zebra").touch()
    result = call(tools["list_files"], root)
    assert result.is_cut and "zebra" in result.content and "more than 1000 entries" in result.content
    assert len(result.content.split("\n")) == tool_files.LISTED_MAX + 1


def test_a_search_finds_lines_by_regular_expression(tools: dict[str, Tool], root: Path) -> None:
    (root / "binary").write_bytes(b"\0return")
    os.mkfifo(root / "pipe")
    search = tools["search_files"]
    assert call(search, root, pattern=r"return \d").content == "src/main.py:2:     return 1"
    assert call(search, root, pattern="DEF", ignore_case=True, path="src").content == "src/main.py:1: def main():"
    assert (
        call(search, root, pattern="main()", is_literal=True, path="src/main.py").content
        == "src/main.py:1: def main():"
    )
    assert call(search, root, pattern="core|secret").content == "[no line matches 'core|secret']"
    broken = call(search, root, pattern="(")
    assert broken.is_error and "not a regular expression" in broken.content


def test_a_search_with_very_many_or_very_long_hits_is_bounded(tools: dict[str, Tool], root: Path) -> None:
    (root / "many").write_text("hit\n" * 5000)
    result = call(tools["search_files"], root, pattern="hit", path="many")
    assert result.is_cut and f"more than {tool_files.HITS_MAX} hits" in result.content
    assert result.content.count("many:") == tool_files.HITS_MAX
    (root / "min.js").write_text("y" * 1_000_000 + "needle" + "y" * 1_000_000)
    result = call(tools["search_files"], root, pattern="needle", path="min.js")
    assert "needle" in result.content and len(result.content) < 400


def test_a_pattern_without_end_is_ended(sandbox: NativeSandbox, root: Path) -> None:
    (root / "bait").write_text("a" * 60 + "!\n")
    limits = tool_files.SEARCH_LIMITS._replace(wall_ns=1_000_000_000)
    search = tool_files.SearchFiles(sandbox, binds=BINDS, limits=limits)
    began = time.monotonic()
    result = call(search, root, pattern="^(a+)+$")
    assert time.monotonic() - began < 10
    assert result.is_error and "simplify the pattern" in result.content


# The shell.


def test_a_command_line_works_on_the_copy_and_its_files_are_ours(tools: dict[str, Tool], root: Path) -> None:
    result = call(tools["shell"], root, command="pwd; echo changed > src/new.txt; echo oops >&2; exit 3")
    assert result.content.startswith("[exit status 3, ") and not result.is_error
    assert result.content.endswith(" s]\n/copy\n[stderr]\noops")
    assert (root / "src/new.txt").read_text() == "changed\n"
    assert (root / "src/new.txt").stat().st_uid == os.geteuid()


def test_a_command_line_cannot_write_git_nor_reach_what_a_link_points_to(tools: dict[str, Tool], root: Path) -> None:
    result = call(tools["shell"], root, command="echo evil > .git/config; mkdir .git/hooks; cat link; rm -rf .git")
    assert result.content.count("Read-only file system") >= 2 and "No such file" in result.content
    assert "secret" not in result.content
    assert (root / ".git" / "config").read_text() == "[core]\n"


def test_a_git_that_is_a_planted_link_is_not_followed(tools: dict[str, Tool], root: Path) -> None:
    (root / ".git" / "config").unlink()
    (root / ".git").rmdir()
    (root / ".git").symlink_to(root.parent)
    result = call(tools["shell"], root, command="cat .git/key; echo done")
    assert "secret" not in result.content and "done" in result.content


def test_git_status_works_on_a_read_only_git(tools: dict[str, Tool], root: Path) -> None:
    result = call(tools["shell"], root, command="command -v git")
    if "exit status 0" not in result.content:
        pytest.skip("no git inside the sandbox")
    (root / ".git" / "config").unlink()
    (root / ".git").rmdir()
    subprocess.run(["git", "-C", str(root), "init", "-q"], check=True)
    result = call(tools["shell"], root, command="git status --porcelain; git add . || echo refused")
    assert "?? src/" in result.content and "refused" in result.content


def test_ten_megabytes_of_output_keep_their_beginning_and_end(tools: dict[str, Tool], root: Path) -> None:
    result = call(tools["shell"], root, command="echo FIRST; head -c 10000000 /dev/zero | tr '\\0' x; echo; echo LAST")
    assert result.is_cut and "FIRST" in result.content and "LAST" in result.content
    assert "left out" in result.content and len(result.content) <= tool_text.RESULT_CHARS_MAX + NOTES_CHARS_MAX


def test_binary_output_is_escaped_and_bounded(tools: dict[str, Tool], root: Path) -> None:
    result = call(tools["shell"], root, command="head -c 100000 /dev/urandom; printf '\\033[2J\\377'")
    assert result.content.isprintable() or all(
        c.isprintable() or c in "\n\t\r" for c in result.content if ord(c) < 0xA0
    )
    assert "\\x1b[2J\\xff" in result.content and "shown as \\xNN" in result.content
    assert len(result.content) <= tool_text.RESULT_CHARS_MAX + NOTES_CHARS_MAX


def test_a_command_line_that_hangs_is_killed_and_it_is_said(tools: dict[str, Tool], root: Path) -> None:
    began = time.monotonic()
    result = call(tools["shell"], root, command="echo before; sleep 600", timeout_s=1)
    assert time.monotonic() - began < 10
    assert result.is_error and "killed after 1 s" in result.content and "before" in result.content
    for wrong in (0, True, 601, "5"):
        assert "timeout_s" in call(tools["shell"], root, command="true", timeout_s=wrong).content


def test_without_a_sandbox_nothing_is_run(root: Path, tmp_path: Path) -> None:
    lacking = NativeSandbox(bwrap=tmp_path / "none")
    before = everything(root)
    running: tuple[Tool, ...] = (Shell(lacking), tool_files.SearchFiles(lacking))
    for tool in running:
        result = call(tool, root, **RIGHT[tool.manifest.name])
        assert result.is_error and ("bubblewrap" in result.content or sys.platform != "linux")
    assert everything(root) == before
    # What only touches files goes on without one.
    read, write, _, listing, _ = file_tools(lacking)
    for tool in (read, write, listing):
        assert not call(tool, root, **RIGHT[tool.manifest.name]).is_error
