"""A journal's owner is killed with -9, again and again, and bytes of its file go bad: nothing promised is lost unseen."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.machine.journal import Header, genesis, seal, verify
from agentos.ports.journal import Corrupt, Failed, Row

WORKSPACE = "3f0e6c9a-1f7b-4c1e-9a54-0d1d6f0e7a11"
KILLS = 10
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # the writer finds agentos where this test did

WRITER = """
import os, sys
from pathlib import Path
from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.machine.journal import Header, genesis, seal

path, workspace = Path(sys.argv[1]), sys.argv[2]
journal = SqliteJournal(path)
last = journal.last()
seq, previous = (last.seq, last.hash) if last else (0, genesis(workspace))
while True:
    rows = []
    for _ in range(seq % 37 + 1):
        seq += 1
        header = Header(seq, seq, 1, "Spoken", 1, f"{seq % 5}.1", f"c{seq}", f"WO-{seq % 3}")
        rows.append(seal(previous, workspace, header, salt=os.urandom(16), payload=b"%d" % seq * 40))
        previous = rows[-1].hash
    journal.append(rows, is_durable=seq % 2 == 0)
    os.write(1, b"%d\\n" % seq)
"""


def test_kill_9_loses_nothing_that_was_appended_durable_or_not(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    random = Random(20)
    told = 0
    for _ in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, path, WORKSPACE], stdout=subprocess.PIPE, env=ENVIRONMENT
        )
        assert writer.stdout is not None
        try:
            for _ in range(random.randint(1, 60)):
                told = int(writer.stdout.readline())
        finally:
            writer.kill()
            rest = writer.communicate(timeout=20)[0].split(b"\n")
        told = max([told, *(int(line) for line in rest[:-1])])
        journal = SqliteJournal(path)
        proof = verify(journal.read(), WORKSPACE, previous=genesis(WORKSPACE))
        assert proof.breach is None
        assert proof.seq >= told, "an append that returned is gone"
        assert proof.seq == sum(1 for _ in journal.read_caller("0.1", "Spoken")) + sum(
            sum(1 for _ in journal.read_caller(f"{n}.1", "Spoken")) for n in range(1, 5)
        )
        journal.verify_storage()
        journal.close()
    assert told > KILLS


def test_a_flipped_bit_is_found_by_the_storage_check_or_by_the_hash_chain(tmp_path: Path) -> None:
    path, sound = tmp_path / "journal.db", []
    previous = genesis(WORKSPACE)
    for seq in range(1, 301):
        header = Header(seq, seq, 1, "Spoken", 1, f"{seq % 5}.1", f"c{seq}", f"WO-{seq % 3}")
        sound.append(seal(previous, WORKSPACE, header, salt=os.urandom(16), payload=os.urandom(seq * 7 % 2000)))
        previous = sound[-1].hash
    journal = SqliteJournal(path)
    journal.append(sound, is_durable=True)
    assert next(journal.read_order("WO-1")).seq == 1  # so that the lookup tables are filled too
    journal.close()
    content = path.read_bytes()

    random = Random(21)
    seen = 0
    for _ in range(300):
        spoiled = bytearray(content)
        spoiled[random.randrange(len(content))] ^= 1 << random.randrange(8)
        path.write_bytes(spoiled)
        seen += _is_noticed(path, sound)
    assert seen > 200, "most of the file is rows, so most flips must be noticed"


def _is_noticed(path: Path, sound: list[Row]) -> bool:
    """True if the damage is reported; if it is not, assert that every row still reads as it was written."""
    try:
        journal = SqliteJournal(path)
    except (Corrupt, Failed):
        return True
    try:
        rows = list(journal.read())
        proof = verify(rows, WORKSPACE, previous=genesis(WORKSPACE))
        journal.verify_storage()
        if proof.breach or proof.hash != sound[-1].hash:
            return True
        assert rows == sound, "the journal lies"
        for order in ("WO-0", "WO-1", "WO-2"):
            assert list(journal.read_order(order)) == [each for each in sound if each.order == order]
    except (Corrupt, Failed):
        return True
    finally:
        journal.close()
    return False
