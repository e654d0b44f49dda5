"""A skill: a folder with SKILL.md (what it is for, how to do it) and the files that go with it.

Rule 1: the name is the folder's name; the description says when to use it, because that is all an agent sees at first.
Rule 2: `allowed-tools` is a wish; it grants nothing.
Rule 3: links, devices and anything outside the folder are refused: a skill is read by processes with other rights.

Source: the Agent Skills specification (agentskills.io). Stricter on one point: names are ASCII, as its text says,
where its reference validator lets any lower-case letter through, so that two names that look alike are never two skills.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

import msgspec

from agentos.userland.documents import source
from agentos.userland.documents.fault import Faults, fail, shown
from agentos.userland.documents.shape import Either, Field, ListOf, MapOf, Nothing, Record, Text, read

RESOURCES_MAX: Final = 256  # files in one skill: an agent is shown the list, and no list longer than that is read
RESOURCE_BYTES_MAX: Final = 8 * 1024 * 1024  # one file: fonts and sample documents fit, models and archives do not
DEPTH_MAX: Final = 8  # folders below the skill; the specification advises one


class Resource(msgspec.Struct, frozen=True):
    """A file that goes with the skill."""

    path: str  # relative to the folder, with '/'
    length_bytes: int


class Skill(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A skill as its author wrote it."""

    name: str
    description: str
    body: str = ""
    license: str = ""
    compatibility: str = ""
    metadata: dict[str, str] = {}
    allowed_tools: tuple[str, ...] = ()
    resources: tuple[Resource, ...] = ()  # sorted by path, SKILL.md left out


SKILL = Record(
    help="Front matter of a SKILL.md.",
    fields=(
        Field(
            "name",
            Text(chars_max=64, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", called="a name of a-z, 0-9 and single '-' inside"),
            "The same as the folder's name.",
            True,
        ),
        Field("description", Text(chars_max=1024, is_block=True), "What it does and when to use it.", True),
        Field("license", Text(chars_max=500, is_block=True), "Name of a licence, or of the file that has it."),
        Field("compatibility", Text(chars_max=500, is_block=True), "What it needs: product, packages, network."),
        Field(
            "metadata",
            MapOf(
                item=Text(chars_max=1024, is_loose=True), key=r"^.{1,64}$", key_called="a name of 1 to 64 characters"
            ),
            "Names and texts for clients.",
        ),
        Field(
            "allowed-tools",
            Either(options=(Text(chars_max=4000, is_block=True, is_blank_ok=True), ListOf(item=Text()), Nothing())),
            "Tools it would like to use without asking.",
        ),
    ),
)


def parse(raw: bytes | str, file: str = "SKILL.md", *, folder: str = "") -> Skill:
    """The skill in the text of a SKILL.md. `folder` is the name of its folder; "" leaves that rule out."""
    faults = Faults(file)
    document = source.markdown(raw, faults)
    got = read(SKILL, document.front, "", faults)
    name = got.get("name", "")
    if folder and name and name != folder:
        line = source.at(document.front, "name").line
        faults.add(line, "name", expected=f"'{shown(folder)}', the name of the folder", found=f"'{name}'")
    faults.close()
    return Skill(
        name=name,
        description=got["description"].strip(),
        body=source.trimmed(document.body),
        license=got.get("license", ""),
        compatibility=got.get("compatibility", ""),
        metadata=got.get("metadata", {}),
        allowed_tools=_tools(got.get("allowed-tools")),
    )


def load(folder: Path) -> Skill:
    """The skill in the folder, its resources listed and none of them read."""
    file = folder / "SKILL.md"
    if not file.is_file() or file.is_symlink():
        near = next((one.name for one in _listed(folder) if one.name.casefold() == "skill.md"), "")
        found = f"'{near}'; rename it" if near and near != "SKILL.md" else "a link" if file.is_symlink() else "nothing"
        raise fail(str(file), 1, expected="a file SKILL.md in the folder", found=found)
    skill = parse(source.read(file), str(file), folder=folder.resolve().name)
    faults = Faults(str(file))
    found_files = _resources(folder, faults)
    faults.close()
    return msgspec.structs.replace(skill, resources=found_files)


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _tools(given: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The tools one by one; a space inside brackets, as in `Bash(git add:*)`, does not part them."""
    if isinstance(given, str):
        return tuple(re.findall(r"(?:[^\s(]|\([^)]*\)?)+", given))
    return given or ()


def _resources(folder: Path, faults: Faults) -> tuple[Resource, ...]:
    found: list[Resource] = []
    pending = [(folder, 0)]
    while pending:
        here, depth = pending.pop()
        for entry in sorted(os.scandir(here), key=lambda one: one.name):
            path = Path(entry.path).relative_to(folder).as_posix()
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) and depth < DEPTH_MAX:
                pending.append((Path(entry.path), depth + 1))
            elif not stat.S_ISREG(mode):
                kind = "a link" if stat.S_ISLNK(mode) else "a folder too deep" if stat.S_ISDIR(mode) else "a device"
                faults.add(1, f"resource {shown(path)}", expected="plain files in the folder", found=kind)
            elif (length := entry.stat(follow_symlinks=False).st_size) > RESOURCE_BYTES_MAX:
                bound = f"at most {RESOURCE_BYTES_MAX} bytes (limit documents.resource_bytes_max)"
                faults.add(1, f"resource {shown(path)}", expected=bound, found=f"{length} bytes")
            elif path != "SKILL.md":
                found.append(Resource(path, length))
            if len(found) > RESOURCES_MAX:
                bound = f"at most {RESOURCES_MAX} files (limit documents.resources_max)"
                faults.add(1, "resources", expected=bound, found="more")
                return ()
    return tuple(sorted(found, key=lambda one: one.path))
