"""Text with positions: what is read, what is refused, and at which line."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentos.userland.documents import source
from agentos.userland.documents.fault import Fault, Faults, Malformed, nearest, shown

SRC = Path(__file__).resolve().parents[3] / "src"


def yaml(text: str | bytes) -> source.Node:
    faults = Faults("f.yaml")
    node = source.plain(text, faults)
    faults.close()
    return node


def refused(text: str | bytes) -> list[str]:
    with pytest.raises(Malformed) as caught:
        yaml(text)
    return str(caught.value).split("\n")


def test_every_node_knows_its_line_and_column() -> None:
    node = yaml("a: 1\nb:\n  - x\n  - {c: y}\n")
    assert (source.at(node, "a").line, source.at(node, "a").column) == (1, 4)
    assert source.at(node, "b", 0).line == 3
    assert (source.at(node, "b", 1, "c").line, source.at(node, "b", 1, "c").column) == (4, 9)
    assert source.at(node, "b", 7, "c") == source.at(node, "b"), "the deepest that exists"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("no", "text", "no"),
        ("on", "text", "on"),
        ("2024-01-01", "text", "2024-01-01"),
        ("1:30", "text", "1:30"),
        ("010", "text", "010"),
        ("1_000", "text", "1_000"),
        ("1e999999999", "text", "1e999999999"),
        ("9" * 30, "text", "9" * 30),
        (".nan", "text", ".nan"),
        ("true", "flag", True),
        ("FALSE", "flag", False),
        ("~", "nothing", None),
        ("-3", "whole", -3),
        ("2.50", "number", 2.5),
        ('"2"', "text", "2"),
        ('"\\ud83d\\ude00"', "text", "😀"),
        ("|\n  two\n  lines\n", "text", "two\nlines\n"),
    ],
)
def test_plain_words_mean_what_they_mean_in_json(text: str, kind: str, value: object) -> None:
    node = source.at(yaml(f"k: {text}"), "k")
    assert (node.kind, node.value) == (kind, value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\na: 2\n", "f.yaml:2: 'a' a second time; the first is on line 1"),
        (
            "a: !!python/object:os.system x",
            "f.yaml:1: the tag 'tag:yaml.org,2002:python/object:os.system'; plain values only",
        ),
        ("a: &x 1\n", "f.yaml:1: the anchor '&x'; write the value out where it is used"),
        ("a:\n  - *x\n", "f.yaml:2: the alias '*x'; write the value out"),
        ("a:\n\tb: 1\n", "f.yaml:2: expected YAML, found a tab; indent with spaces"),
        ("a: b: c\n", "f.yaml:1: expected YAML, found a second ': ' in the line; put the text in quotes"),
        ('x: 1\na: "b\nc: 1\n', "f.yaml:2: expected YAML, found a quote that is never closed"),
        ("x: 1\na: [1, 2\nb: 3\n", "f.yaml:2: expected YAML, found a '[' that is never closed, or a missing ','"),
        ("a: {b: 1\n", "f.yaml:1: expected YAML, found a '{' that is never closed, or a missing ','"),
        ("a: 1\nb\n", "f.yaml:2: expected YAML, found a line that is neither 'name: value' nor '- item'"),
        ("a: 1\n   b: 2\n", "f.yaml:2: expected YAML, found a second ': ' in the line; put the text in quotes"),
        ("a: @x\n", "f.yaml:1: expected YAML, found a character that cannot start a value; put the text in quotes"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: a second YAML document; one file holds one"),
        ("%YAML 1.1\n---\na: 1\n", "f.yaml:1: a YAML directive; leave it out"),
        ("? [a]\n: 1\n", "f.yaml:1: expected a name before ':', found a list"),
        ('"": 1\n', "f.yaml:1: expected a name before ':', found nothing"),
        ('a: "x\\0"\n', "f.yaml:1: an escape for the invisible character U+0000"),
        ('a: "x\\u202e"\n', "f.yaml:1: an escape for the invisible character U+202E"),
        ("a: 1\nb: \x00\n", "f.yaml:2: expected visible text, found the invisible character U+0000"),
        ("a: 1\n\nb: \u202eevil\n", "f.yaml:3: expected visible text, found the invisible character U+202E"),
        ("a: \x1b[2J\n", "f.yaml:1: expected visible text, found the invisible character U+001B"),
        (b"a: 1\nb: \xff\n", "f.yaml:2: expected text in UTF-8, found the byte 0xff"),
        ("a: 1".encode("utf-16"), "f.yaml:1: expected text in UTF-8, found UTF-16; save it as UTF-8"),
        ("a: " + "[" * 40, "f.yaml:1: expected at most 16 levels (limit documents.depth_max), found a deeper one"),
        (
            "a: " + "x" * source.YAML_BYTES_MAX,
            "f.yaml:1: expected at most 131072 bytes (limit documents.yaml_bytes_max), found 131075 bytes",
        ),
        (
            b"a: " + b"x" * (1 << 20),
            "f.yaml:1: expected at most 524288 bytes (limit documents.file_bytes_max), found 1048579 bytes",
        ),
    ],
)
def test_what_is_refused_is_refused_at_its_line(text: str | bytes, fault: str) -> None:
    assert refused(text) == [fault]


def test_an_alias_bomb_is_refused_without_being_expanded() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
    lines = refused(f"l0: &l0 boom\n{levels}\n")
    assert lines[0] == "f.yaml:1: the anchor '&l0'; write the value out where it is used"
    assert len(lines) < 60


def test_deep_nesting_is_refused_at_the_bound_and_not_after_reading_it_all() -> None:
    start = time.process_time()
    refused("[" * 60_000)
    assert time.process_time() - start < 5, "the bound is generous: the pure parser scans ahead"


def test_line_ends_and_byte_order_mark_do_not_move_lines() -> None:
    node = yaml(b"\xef\xbb\xbfa: 1\r\nb: two\r\n")
    assert source.value(node) == {"a": 1, "b": "two"}
    assert source.at(node, "b").line == 2
    faults = Faults("f.md")
    document = source.markdown(b"\xef\xbb\xbf---\r\ntitle: x\r\n---\r\none\r\ntwo", faults)
    assert (document.body, document.body_line, source.at(document.front, "title").line) == ("one\ntwo", 4, 2)


def test_json_indented_with_tabs_is_read() -> None:
    assert source.value(yaml('{\n\t"a":\t[1, "x\\ty"],\n\t"b": null\n}\n')) == {"a": [1, "x\ty"], "b": None}
    assert refused('{\n\t"a": 1,\n\t"a": 2\n}')[0].startswith("f.yaml:3: 'a' a second time")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "f.md:1: expected '---', which opens the front matter, found an empty line"),
        ("# Goal\n", "f.md:1: expected '---', which opens the front matter, found '# Goal'"),
        ("---\ntitle: x\n", "f.md:1: front matter that no second '---' closes"),
        (
            "---\na: 1\n" + "# filler\n" * 8000 + "---\n",
            "f.md:1: expected at most 65536 bytes (limit documents.front_bytes_max), found 72005 bytes",
        ),
    ],
)
def test_front_matter_has_a_start_and_an_end(text: str, fault: str) -> None:
    with pytest.raises(Malformed) as caught:
        source.markdown(text, Faults("f.md"))
    assert str(caught.value) == fault


def test_headings_inside_code_and_deeper_headings_stay_in_their_section() -> None:
    body = "before\n# Goal\nx\n```sh\n# Constraints\n```\n## Detail\ny\n#### Deep\n## constraints:\nz\n#tag\n"
    cut = source.sections(body, 10, frozenset({"goal", "constraints"}), faults := Faults("f.md"))
    assert [(one.title, one.level, one.line) for one in cut] == [("", 0, 10), ("Goal", 1, 11), ("constraints:", 2, 19)]
    assert cut[1].text == "x\n```sh\n# Constraints\n```\n## Detail\ny\n#### Deep"
    assert cut[2].text == "z\n#tag"
    assert not faults.items


def test_a_heading_made_to_be_slow_is_not() -> None:
    start = time.process_time()
    source.sections(
        "\n".join(["# a" + " " * 200_000 + "b", "# " + "# " * 100_000, "#" * 200_000]), 1, frozenset(), Faults("f")
    )
    assert time.process_time() - start < 1, "linear: some milliseconds"


def test_a_closing_run_of_signs_is_no_part_of_a_title() -> None:
    titles = [line.title for line in source.scan("# C#\n## a ##\n# b # c #\n# #\n#x")[0]]
    assert titles == ["C#", "a", "b # c", "", ""]


def test_a_long_file_is_refused_before_it_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "big.md"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse: reading it whole would take the memory of ten machines
    with pytest.raises(Malformed, match=r"expected at most 524288 bytes .* found 1099511627776 bytes"):
        source.read(path)


def test_what_is_shown_cannot_drive_a_terminal() -> None:
    assert shown("\x1b[31mred\n\u202e") == "\\x1b[31mred\\n\\u202e"
    assert len(shown("x" * 1000)) == 60
    fault = Fault(file="a\x1b.md", line=1, field="b\x1b[2J", found="no such field")
    assert "\x1b" not in str(fault)


def test_more_faults_than_a_person_mends_at_once_are_counted() -> None:
    lines = refused("\n".join(["a: 1"] * 200))
    assert len(lines) == 51
    assert lines[-1] == "... and 149 more"


def test_the_nearest_word_is_given_only_when_it_is_near() -> None:
    assert nearest("Budgt", ["budget", "scope"]) == "budget"
    assert nearest("zzz", ["budget", "scope"]) == ""


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_any_input_is_read_or_refused_with_faults(raw: bytes | str) -> None:
    for parse in (source.plain, source.markdown):
        faults = Faults("f")
        try:
            parse(raw, faults)
        except Malformed as error:
            assert error.faults
            assert all(fault.line >= 1 and "\n" not in str(fault) for fault in error.faults)


@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`, \n\t?~<0.", max_size=60))
def test_yaml_made_of_its_own_signs_is_read_or_refused(text: str) -> None:
    faults = Faults("f")
    try:
        source.plain(text, faults)
    except Malformed as error:
        assert error.faults


def test_importing_a_reader_does_not_load_a_yaml_parser() -> None:
    code = "import sys, agentos.userland.documents.order; print('yaml' in sys.modules, 'jsonschema' in sys.modules)"
    env = {"PYTHONPATH": str(SRC), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=env)
    assert done.stdout.split() == ["False", "False"]
