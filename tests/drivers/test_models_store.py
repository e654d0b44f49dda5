"""The model store: nothing has the final name that has not the right hash, whoever it came from."""

import fcntl
import hashlib
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentos.drivers import models_store
from agentos.drivers.models_store import (
    Absent,
    File,
    Model,
    NoSpace,
    PartWheels,
    Progress,
    SourceFailed,
    Store,
    StoreError,
    Url,
    WrongContent,
    cache_root,
    sources_of,
)

CONTENT = bytes(range(256)) * 5000
PARTS = PartWheels(("agentos-test-part1", "agentos-test-part2", "agentos-test-part3"), "0.1.0")


def model(*sources: models_store.Source, content: bytes = CONTENT) -> Model:
    return Model("m", "m.gguf", hashlib.sha256(content).hexdigest(), len(content), "Apache-2.0", "qwen", sources)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store) -> set[str]:
    return {path.name for path in store._root.rglob("*") if path.is_file()}


class _Hub(BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; breaks off after `cut` bytes while there are `cuts` left."""

    asked: list[str]
    cuts: list[int]

    def do_GET(self) -> None:
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.asked.append(str(begin))
        rest = CONTENT[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.cuts.pop()] if self.cuts else rest)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str], list[int]]]:
    asked: list[str] = []
    cuts: list[int] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), {"asked": asked, "cuts": cuts}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/m.gguf", asked, cuts
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def wheel(folder: Path, name: str, content: bytes, version: str = "0.1.0") -> Path:
    """A wheel as pip takes it, whose code would fail if anyone imported it."""
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name.replace('-', '_')}/__init__.py", "raise SystemExit('imported')")
        archive.writestr(f"{name.replace('-', '_')}/part.bin", content)
        archive.writestr(f"{stem}.dist-info/METADATA", metadata)
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def thirds() -> list[bytes]:
    size = len(CONTENT) // 3
    return [CONTENT[:size], CONTENT[size : 2 * size], CONTENT[2 * size :]]


def test_a_model_of_ones_own_is_taken_when_its_hash_is_right(store: Store, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(CONTENT)
    path = store.pull(model(File(str(own))))
    assert path.read_bytes() == CONTENT
    assert store.verified(model()) == path


def test_a_file_with_another_hash_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(CONTENT[::-1])
    with pytest.raises(SourceFailed, match="SHA-256"):
        store.pull(model(File(str(own))))
    assert own.read_bytes() == CONTENT[::-1]
    assert files(store) <= {f"{model().sha256}.lock"}
    assert not store.is_present(model())


def test_a_download_that_broke_off_goes_on_where_it_stopped(
    store: Store, hub: tuple[str, list[str], list[int]]
) -> None:
    url, asked, cuts = hub
    cuts.append(700_000)
    with pytest.raises(SourceFailed, match="kept"):
        store.pull(model(Url(url)))
    assert not store.is_present(model())
    told: list[Progress] = []
    assert store.pull(model(Url(url)), tell=told.append).read_bytes() == CONTENT
    assert asked == ["0", "700000"]
    assert told[-1] == Progress("ready", len(CONTENT), len(CONTENT))


def test_the_next_source_is_tried_and_every_failure_is_told(
    store: Store, hub: tuple[str, list[str], list[int]]
) -> None:
    gone = File("/nowhere/m.gguf")
    assert store.pull(model(gone, Url(hub[0]))).read_bytes() == CONTENT
    with pytest.raises(SourceFailed, match="no such file.*not https.*AGENTOS_MODEL_FILE"):
        store.pull(model(gone, Url("http://example.org/m"), content=CONTENT + b"!"))


def test_a_download_never_writes_into_a_file_that_was_linked(
    store: Store, hub: tuple[str, list[str], list[int]], tmp_path: Path
) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(CONTENT[::-1])
    store._root.mkdir()
    os.link(own, store._root / f"{model().sha256}.link")  # as a pull that was killed would leave it
    store.pull(model(Url(hub[0])))
    assert own.read_bytes() == CONTENT[::-1]


def test_parts_in_wheels_are_joined_and_never_imported(store: Store, wheelhouse: Path) -> None:
    for name, content in zip(PARTS.names, thirds(), strict=True):
        wheel(wheelhouse, name, content)
    assert store.pull(model(PARTS)).read_bytes() == CONTENT
    assert files(store) == {"m.gguf", "m.verified", f"{model().sha256}.lock"}


def test_parts_that_came_are_not_fetched_again(store: Store, wheelhouse: Path) -> None:
    first, second, third = thirds()
    came = [wheel(wheelhouse, PARTS.names[0], first), wheel(wheelhouse, PARTS.names[1], second)]
    with pytest.raises(SourceFailed, match="part3"):
        store.pull(model(PARTS))
    for path in came:
        path.unlink()  # so that fetching them again would fail
    wheel(wheelhouse, PARTS.names[2], third)
    assert store.pull(model(PARTS)).read_bytes() == CONTENT


def test_parts_that_do_not_make_the_model_are_thrown_away_whole(store: Store, wheelhouse: Path) -> None:
    for name, content in zip(PARTS.names, reversed(thirds()), strict=True):
        wheel(wheelhouse, name, content)
    with pytest.raises(SourceFailed, match="thrown away"):
        store.pull(model(PARTS))
    assert files(store) == {f"{model().sha256}.lock"}


def test_a_source_package_is_not_built(store: Store, wheelhouse: Path) -> None:
    (wheelhouse / "agentos_test_part1-0.1.0.tar.gz").write_bytes(b"never opened")
    with pytest.raises(SourceFailed, match="part1"):
        store.pull(model(PARTS))


def test_a_full_disk_is_said_before_the_first_byte(
    store: Store, hub: tuple[str, list[str], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(CONTENT)))
    with pytest.raises(NoSpace, match="AGENTOS_CACHE"):
        store.pull(model(Url(hub[0])))
    assert hub[1] == []


def test_a_model_that_changed_after_it_was_verified_is_found_out(store: Store, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(CONTENT)
    path = store.pull(model(File(str(own))))
    own.write_bytes(CONTENT[::-1])  # the same file, by another name, of the same size
    os.utime(path, ns=(1, 1))
    with pytest.raises(WrongContent, match="delete it"):
        store.verified(model())


def test_a_model_that_is_not_there_says_how_large_it_is(store: Store) -> None:
    with pytest.raises(Absent, match="pull it"):
        store.verified(model())


def test_two_pulls_of_one_model_do_not_meet(store: Store) -> None:
    store._root.mkdir()
    with (store._root / f"{model().sha256}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another process"):
            store.pull(model(File("/nowhere")))


def test_the_environment_says_where_models_lie_and_which_file_is_ones_own() -> None:
    assert cache_root({"AGENTOS_CACHE": "/c", "HOME": "/h"}) == Path("/c/models")
    assert cache_root({"XDG_CACHE_HOME": "/x", "HOME": "/h"}) == Path("/x/agentos/models")
    assert cache_root({"HOME": "/h"}) == Path("/h/.cache/agentos/models")
    assert sources_of(model(), {"AGENTOS_MODEL_FILE": "/m"}) == (File("/m"),)


def test_packages_of_unknown_uploaders_are_asked_only_when_that_is_wanted() -> None:
    known = sources_of(models_store.QWEN_CODER, {})
    assert not any(isinstance(source, PartWheels) for source in known)
    (carrier,) = set(sources_of(models_store.QWEN_CODER, {}, with_carriers=True)) - set(known)
    assert isinstance(carrier, PartWheels)
    assert len(carrier.names) == 22
