"""The first page: what it says, how fast it is, what it loads."""

import importlib
import re
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agentos.ui.cli import table
from agentos.ui.cli.shell import cli
from tests.ui.seat import Hold, Seat, front, run, typed

ROOT = Path(__file__).parents[2]
HEAVY = ("click", "rich", "msgspec", "yaml", "aiohttp", "asyncio", "apsw", "subprocess")
CPU_RATIO_MAX = 3  # of a help page against Python that does nothing
PAGES = {
    "help": ("--help",),
    "help-all": ("help", "--all"),
    "help-exit-codes": ("help", "exit-codes"),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_help_page_reads_as_it_is_kept(name: str, transcript: Hold) -> None:
    transcript(f"cli/{name}", typed(PAGES[name], front(*PAGES[name])))


@pytest.mark.parametrize("name", [row.name for row in table.ROWS])
def test_a_command_page_reads_as_it_is_kept(name: str, tmp_path: Path, transcript: Hold) -> None:
    ran = run(Seat(None, folder=tmp_path), name, "--help")
    transcript(f"cli/help-{name}", typed((name, "--help"), ran))
    assert ran.status == 0


def test_every_row_leads_to_a_command_of_its_name() -> None:
    for row in table.ROWS:
        module, _, name = row.target.partition(":")
        command = getattr(importlib.import_module(f"agentos.ui.cli.commands.{module}"), name)
        assert isinstance(command, click.Command)
        assert command.name == row.name


def test_every_example_can_be_parsed() -> None:
    """An example that does not even parse teaches the wrong thing."""
    import shlex

    for row in table.ROWS:
        words = shlex.split(row.example.removeprefix("source <(").rstrip(")"))
        assert words[0] == "agentos"
        name, command, rest = cli.resolve_command(click.Context(cli), words[1:])
        assert name == row.name
        assert command is not None
        command.make_context(row.name, rest, parent=click.Context(cli))


def test_every_command_takes_json() -> None:
    for row in table.ROWS:
        command = cli.get_command(click.Context(cli), row.name)
        assert command is not None
        for one in command.commands.values() if isinstance(command, click.Group) else [command]:
            assert "--json" in [option for param in one.params for option in param.opts], one.name


def test_the_first_page_fits_a_small_terminal() -> None:
    lines = table.front().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert max(map(len, table.everything().splitlines())) <= 80


@pytest.mark.parametrize("words", [[], ["--help"], ["help"], ["help", "--all"], ["help", "exit-codes"], ["--version"]])
def test_a_page_loads_nothing_that_costs_time(words: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "agentos", *words]
    ran = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, timeout=60, check=True)
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in ran.stderr.splitlines() if "|" in line}
    assert "agentos" in loaded
    assert not loaded & set(HEAVY)


def cpu_ms(*words: str) -> float:
    """Least CPU time of some runs: noise only adds."""
    best = float("inf")
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], cwd=ROOT / "src", stdout=subprocess.DEVNULL, timeout=60, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best * 1_000


def test_a_page_costs_at_most_three_times_what_python_costs() -> None:
    assert cpu_ms("-m", "agentos", "--help") <= CPU_RATIO_MAX * cpu_ms("-c", "pass")


def test_an_unknown_command_is_refused_with_what_was_probably_meant(tmp_path: Path) -> None:
    ran = run(Seat(None, folder=tmp_path), "shwo", "WO-1")
    assert ran.status == table.USAGE
    assert "did you mean 'show'?" in ran.err
    assert not ran.out


def test_names_are_completed_from_the_table() -> None:
    names = [item.value for item in cli.shell_complete(click.Context(cli), "st")]
    assert names == ["status", "stop"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_says_where_to_source_it(shell: str, tmp_path: Path) -> None:
    ran = run(Seat(None, folder=tmp_path), "completion", shell)
    assert ran.status == 0
    assert f"agentos completion {shell}" in ran.out.splitlines()[0]
    assert "_AGENTOS_COMPLETE" in ran.out


def test_completion_works_through_the_front_door() -> None:
    env = {
        "_AGENTOS_COMPLETE": "bash_complete",
        "COMP_WORDS": "agentos doc",
        "COMP_CWORD": "1",
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "agentos"]
    ran = subprocess.run(command, cwd=ROOT / "src", env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "plain,doctor\n"


def test_exit_statuses_are_documented_where_they_are_printed() -> None:
    page = front("help", "exit-codes").out
    assert [int(number) for number in re.findall(r"^ +(\d+)  ", page, re.MULTILINE)] == list(table.EXITS)
