"""Files with two natures: which parts of pyproject.toml, setup.cfg, tox.ini and package.json steer a test runner.

A version or a dependency may change; what tells the runner which tests to run, and how, may not. A file that cannot be
read counts as changed, since nobody can tell.
"""

import configparser
import json
import tomllib

from agentos.abi import paths


def is_steering_changed(path: str, old: bytes | None, new: bytes | None) -> bool:
    """Whether the steering parts differ; an absent file has none."""
    sections = paths.steering_of(path)
    try:
        return _steering(path, old, sections) != _steering(path, new, sections)
    except (ValueError, configparser.Error, RecursionError):
        return True


def _steering(path: str, content: bytes | None, sections: tuple[str, ...]) -> dict[str, object]:
    if content is None:
        return {}
    text = content.decode()
    if path.lower().endswith((".cfg", ".ini")):
        return _ini(text, sections)
    tree: object = tomllib.loads(text) if path.lower().endswith(".toml") else json.loads(text)
    found = {section: _reach(tree, section) for section in sections}
    return {section: value for section, value in found.items() if value is not None}


def _reach(tree: object, dotted: str) -> object:
    for key in dotted.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _ini(text: str, sections: tuple[str, ...]) -> dict[str, object]:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(text)
    chosen = [name for name in parser.sections() if name.split(":")[0] in sections or name in sections]
    return {name: dict(parser.items(name)) for name in chosen}
