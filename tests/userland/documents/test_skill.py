"""Skills: what the Agent Skills specification allows, case by case, and the folder around it."""

import os
from pathlib import Path

import pytest

from agentos.userland.documents.fault import Malformed
from agentos.userland.documents.skill import RESOURCES_MAX, Resource, Skill, load, parse


def skill(name: str = "pdf-tools", description: str = "Does x. Use for y.", more: str = "") -> str:
    return f"---\nname: {name}\ndescription: {description}\n{more}---\n# How\n"


GOOD = [
    skill(),
    skill("a"),
    skill("a1-b2-c3"),
    skill("x" * 64),
    skill("0-9"),
    skill(description="x" * 1024),
    skill(description="|\n  Two\n  lines."),
    skill(more="license: Apache-2.0\n"),
    skill(more="compatibility: " + "x" * 500 + "\n"),
    skill(more='metadata:\n  author: ada\n  version: "1.0"\n'),
    skill(more="metadata:\n  version: 1.0\n  open: true\n"),
    skill(more="metadata: {}\n"),
    skill(more="allowed-tools: Read Bash(git:*)\n"),
    skill(more="allowed-tools: [Read, 'Bash(git:*)']\n"),
    skill(more='allowed-tools: ""\n'),
]

BAD = {
    skill("PDF"): "SKILL.md:2: field 'name': expected a name of a-z, 0-9 and single '-' inside, found the text 'PDF'",
    skill("-pdf"): "SKILL.md:2: field 'name': expected a name of a-z, 0-9 and single '-' inside, found the text '-pdf'",
    skill("pdf-"): "SKILL.md:2: field 'name': expected a name of a-z, 0-9 and single '-' inside, found the text 'pdf-'",
    skill("a--b"): "SKILL.md:2: field 'name': expected a name of a-z, 0-9 and single '-' inside, found the text 'a--b'",
    skill("a_b"): "SKILL.md:2: field 'name': expected a name of a-z, 0-9 and single '-' inside, found the text 'a_b'",
    skill(
        "größe"
    ): "SKILL.md:2: field 'name': expected a name of a-z, 0-9 and single '-' inside, found the text 'größe'",
    skill("x" * 65): "SKILL.md:2: field 'name': expected at most 64 characters, found 65 characters",
    skill("12"): "SKILL.md:2: field 'name': expected a name of a-z, 0-9 and single '-' inside, found the number 12; "
    "put it in quotes",
    skill('""'): "SKILL.md:2: field 'name': expected a name of a-z, 0-9 and single '-' inside, found an empty text",
    skill(
        description="x" * 1025
    ): "SKILL.md:3: field 'description': expected at most 1024 characters, found 1025 characters",
    skill(description=""): "SKILL.md:3: field 'description': expected text, found nothing",
    skill(description='"  "'): "SKILL.md:3: field 'description': expected text, found the text '  '",
    skill(description="[a]"): "SKILL.md:3: field 'description': expected text, found a list",
    skill(
        description="Use when: asked"
    ): "SKILL.md:3: expected YAML, found a second ': ' in the line; put the text in quotes",
    skill(
        more="compatibility: " + "x" * 501 + "\n"
    ): "SKILL.md:4: field 'compatibility': expected at most 500 characters, found 501 characters",
    skill(more="metadata: {a: [1]}\n"): "SKILL.md:4: field 'metadata.a': expected text, found a list",
    skill(
        more="metadata: x\n"
    ): "SKILL.md:4: field 'metadata': expected a mapping of names to values, found the text 'x'",
    skill(more="allowed-tools: [1]\n"): "SKILL.md:4: field 'allowed-tools[1]': expected text, found the number 1; "
    "put it in quotes",
    skill(
        more="allowed_tools: Read\n"
    ): "SKILL.md:4: field 'allowed_tools': no such field; did you mean 'allowed-tools'?",
    skill(more="version: 1\n"): "SKILL.md:4: field 'version': no such field",
    "---\ndescription: x\n---\n": "SKILL.md:1: field 'name': expected a name of a-z, 0-9 and single '-' inside, found nothing",
    "---\nname: a\n---\n": "SKILL.md:1: field 'description': expected text, found nothing",
    "# no front matter\n": "SKILL.md:1: expected '---', which opens the front matter, found '# no front matter'",
}


@pytest.mark.parametrize("text", GOOD)
def test_what_the_specification_allows_is_read(text: str) -> None:
    assert parse(text).body == "# How"


@pytest.mark.parametrize("text", BAD)
def test_what_the_specification_forbids_is_refused(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(text)
    assert str(caught.value) == BAD[text]


def test_tools_are_parted_at_spaces_outside_brackets() -> None:
    text = skill(more="allowed-tools: Read Bash(git add:*) mcp__x__y Bash(jq:*)\n")
    assert parse(text).allowed_tools == ("Read", "Bash(git add:*)", "mcp__x__y", "Bash(jq:*)")
    assert parse(skill(more="allowed-tools: [Read, 'Bash(git add:*)']\n")).allowed_tools == ("Read", "Bash(git add:*)")


def folder(at: Path, name: str = "pdf-tools") -> Path:
    made = at / name
    (made / "scripts").mkdir(parents=True)
    (made / "SKILL.md").write_text(skill(), encoding="utf-8")
    (made / "scripts" / "run.py").write_bytes(b"print(1)\n")
    (made / "a.txt").write_bytes(b"")
    return made


def test_a_folder_is_loaded_with_its_files_listed(tmp_path: Path) -> None:
    assert load(folder(tmp_path)) == Skill(
        name="pdf-tools",
        description="Does x. Use for y.",
        body="# How",
        resources=(Resource("a.txt", 0), Resource("scripts/run.py", 9)),
    )


def test_the_name_must_be_the_folders(tmp_path: Path) -> None:
    made = folder(tmp_path, "other")
    with pytest.raises(
        Malformed, match=r"SKILL.md:2: field 'name': expected 'other', the name of the folder, found 'pdf-tools'"
    ):
        load(made)


def test_a_link_in_the_folder_is_refused(tmp_path: Path) -> None:
    made = folder(tmp_path)
    os.symlink("/etc/passwd", made / "scripts" / "notes.txt")
    os.mkfifo(made / "pipe")
    with pytest.raises(Malformed) as caught:
        load(made)
    assert [(fault.field, fault.found) for fault in caught.value.faults] == [
        ("resource pipe", "a device"),
        ("resource scripts/notes.txt", "a link"),
    ]


def test_a_skill_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    made = folder(tmp_path)
    (tmp_path / "elsewhere.md").write_text(skill(), encoding="utf-8")
    (made / "SKILL.md").unlink()
    os.symlink(tmp_path / "elsewhere.md", made / "SKILL.md")
    with pytest.raises(Malformed, match="expected a file SKILL.md in the folder, found a link"):
        load(made)


def test_a_skill_file_in_lower_case_is_named(tmp_path: Path) -> None:
    made = folder(tmp_path)
    (made / "SKILL.md").rename(made / "skill.md")
    with pytest.raises(Malformed, match="found 'skill.md'; rename it"):
        load(made)
    with pytest.raises(Malformed, match="found nothing"):
        load(tmp_path / "absent")


def test_more_files_than_anyone_reads_are_refused(tmp_path: Path) -> None:
    made = folder(tmp_path)
    for n in range(RESOURCES_MAX):
        (made / f"f{n}").touch()
    with pytest.raises(Malformed, match=r"limit documents.resources_max"):
        load(made)
