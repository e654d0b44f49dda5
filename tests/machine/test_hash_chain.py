"""The hash chain: what is sealed verifies, what was changed is named, what was erased still verifies."""

import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentos.machine.journal import Breach, Header, Proof, commit, genesis, pooled, seal, verify
from agentos.ports.journal import Row

WORKSPACE = "3f0e6c9a-1f7b-4c1e-9a54-0d1d6f0e7a11"
INT64 = st.integers(0, 2**63 - 1)
TEXT = st.text(max_size=20)
HEADERS = st.builds(Header, INT64, INT64, INT64, TEXT, INT64, TEXT, TEXT, TEXT)
SALTS = st.binary(min_size=16, max_size=16)


def chain(count: int, workspace: str = WORKSPACE) -> list[Row]:
    rows: list[Row] = []
    for seq in range(1, count + 1):
        previous = rows[-1].hash if rows else genesis(workspace)
        header = Header(seq, 1_700_000_000_000_000_000 + seq, 1, "Spoken", 1, "1.1", f"1.1/0/{seq}", "WO-1")
        rows.append(seal(previous, workspace, header, salt=b"%016d" % seq, payload=b"words %d" % seq))
    return rows


def check(rows: list[Row]) -> Proof:
    return verify(rows, WORKSPACE, previous=genesis(WORKSPACE))


def test_the_format_is_what_it_always_was() -> None:
    """These digests are in journals that exist. If this fails, the change breaks every one of them."""
    rows = chain(2)
    assert genesis(WORKSPACE).hex() == "c47c400d9c9fe9610ee842b63a20655beeebcadb0185013a21c9ebdb8cef081a"
    assert rows[0].commitment.hex() == "7433a31d251d0315124b4b873b584e6976d7e6b7730ec0758c9315db5f57627b"
    assert rows[1].hash.hex() == "845f589fd9bedaff05aec7e8b14d4170f6db1d6c2c5a94174091ac3fd127404a"


@given(HEADERS, SALTS, st.binary(max_size=100))
def test_a_stranger_with_json_and_sha256_gets_the_same_hash(header: Header, salt: bytes, payload: bytes) -> None:
    def sha(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(parts)).digest()

    previous = sha(b"agentos/1/genesis\0", WORKSPACE.encode())
    sealed = seal(previous, WORKSPACE, header, salt=salt, payload=payload)
    text = json.dumps([WORKSPACE, *header], ensure_ascii=False, separators=(",", ":")).encode()
    commitment = sha(b"agentos/1/payload\0", salt, payload)
    assert sealed == Row(*header, salt, payload, commitment, sha(b"agentos/1/event\0", previous, text, commitment))


@given(HEADERS, HEADERS, SALTS, SALTS, st.binary(max_size=40), st.binary(max_size=40))
def test_two_different_events_never_share_a_hash(
    header: Header, other: Header, salt: bytes, other_salt: bytes, payload: bytes, other_payload: bytes
) -> None:
    first = seal(genesis(WORKSPACE), WORKSPACE, header, salt=salt, payload=payload)
    second = seal(genesis(WORKSPACE), WORKSPACE, other, salt=other_salt, payload=other_payload)
    assert (first.hash == second.hash) == ((header, salt, payload) == (other, other_salt, other_payload))


def test_the_three_kinds_of_digest_cannot_be_passed_off_as_one_another() -> None:
    text = b"x" * 32
    assert len({genesis(text.decode()), commit(b"", text), hashlib.sha256(text).digest()}) == 3


def test_what_was_sealed_verifies() -> None:
    rows = chain(50)
    assert check(rows) == Proof(50, rows[-1].hash, 50, 0, None)
    assert check([]) == Proof(0, genesis(WORKSPACE), 0, 0, None)


def test_a_part_verifies_from_the_hash_before_it() -> None:
    rows = chain(20)
    assert verify(rows[10:], WORKSPACE, previous=rows[9].hash, after=10) == Proof(20, rows[-1].hash, 10, 0, None)


def test_what_was_erased_still_verifies_and_is_counted() -> None:
    rows = [row._replace(payload=None, salt=b"") if row.seq in (3, 7) else row for row in chain(10)]
    assert check(rows) == Proof(10, rows[-1].hash, 10, 2, None)


CHANGES: dict[str, Callable[[Row], Row]] = {
    "at_ns": lambda row: row._replace(at_ns=row.at_ns + 1),
    "epoch": lambda row: row._replace(epoch=2),
    "type": lambda row: row._replace(type="Shouted"),
    "version": lambda row: row._replace(version=2),
    "caller": lambda row: row._replace(caller="1.2"),
    "cause": lambda row: row._replace(cause=""),
    "order": lambda row: row._replace(order=""),
    "field border": lambda row: row._replace(cause=row.cause + row.order, order=""),
    "salt": lambda row: row._replace(salt=bytes(16)),
    "no salt": lambda row: row._replace(salt=b""),
    "salt and payload border": lambda row: row._replace(
        salt=row.salt[:15], payload=row.salt[15:] + (row.payload or b"")
    ),
    "payload": lambda row: row._replace(payload=b"other words"),
    "payload and commitment": lambda row: row._replace(payload=b"x", commitment=commit(row.salt, b"x")),
    "half an erasure": lambda row: row._replace(payload=None),
    "erasure and commitment": lambda row: row._replace(payload=None, salt=b"", commitment=bytes(32)),
    "commitment": lambda row: row._replace(commitment=bytes(32)),
    "hash": lambda row: row._replace(hash=bytes(32)),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("seq", [1, 6, 10])
def test_any_change_is_found_at_its_row(what: str, seq: int) -> None:
    rows = chain(10)
    before = rows[seq - 2].hash if seq > 1 else genesis(WORKSPACE)
    rows[seq - 1] = CHANGES[what](rows[seq - 1])
    proof = check(rows)
    assert proof.breach is not None
    assert proof.breach.seq == seq
    assert f"event {seq}" in proof.breach.fact
    assert proof[:4] == (seq - 1, before, seq - 1, 0)


def test_a_row_that_is_sealed_anew_breaks_the_one_after_it() -> None:
    rows = chain(10)
    rows[4] = seal(rows[3].hash, WORKSPACE, Header._make(rows[4][:8]), salt=bytes(16), payload=b"forged")
    proof = check(rows)
    assert proof.breach == Breach(
        6, "event 6 does not follow from the one before: a header, a commitment or a hash was changed"
    )


def test_a_missing_a_doubled_and_a_swapped_row_are_found() -> None:
    rows = chain(10)
    for spoiled, seq in [
        (rows[:3] + rows[4:], 4),
        (rows[:4] + rows[3:], 5),
        ([*rows[:3], rows[4], rows[3], *rows[5:]], 4),
        (rows[1:], 1),
    ]:
        proof = check(spoiled)
        assert proof.breach is not None
        assert proof.breach.seq == seq
        assert "is missing" in proof.breach.fact


def test_a_chain_of_another_workspace_does_not_verify() -> None:
    proof = verify(chain(3, "another"), WORKSPACE, previous=genesis("another"))
    assert proof.breach is not None
    assert proof.breach.seq == 1


def test_a_chain_whose_end_was_cut_off_verifies_to_an_older_head() -> None:
    """The chain cannot see this; whoever keeps a head elsewhere can. The test keeps the caveat true."""
    rows = chain(10)
    proof = check(rows[:8])
    assert proof.breach is None
    assert (proof.seq, proof.hash) == (8, rows[7].hash)
    assert proof.hash != rows[9].hash


def test_pooled_salts_are_the_source_s_bytes_in_order_and_none_is_drawn_twice() -> None:
    asked: list[int] = []

    def source(count: int) -> bytes:
        asked.append(count)
        return bytes([len(asked)]) * (count - 1) + bytes([0xFF])

    draw = pooled(source)
    salts = [draw(16) for _ in range(300)]
    assert asked == [4096, 4096]
    assert salts[:255] == [b"\x01" * 16] * 255
    assert salts[255] == b"\x01" * 15 + b"\xff"
    assert salts[256] == b"\x02" * 16
    assert [len(draw(count)) for count in (4000, 90, 16)] == [4000, 90, 16]
