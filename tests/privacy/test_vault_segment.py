from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from privacy.errors import CheckFailed
from privacy.vault_index import Stack
from privacy.vault_segment import Segment, distinct

OWNER = bytes(range(32))
RANDOM = np.random.default_rng(7)


def blocks(rows: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (rows, 16), np.uint8)


def finds(segment: Segment | Stack, keys: np.ndarray, values: np.ndarray) -> bool:
    found, known = segment.find(keys)
    return bool(known.all() and (found == values).all())


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000, 20_000])
def test_a_segment_finds_exactly_its_keys_in_memory_and_mapped(tmp_path: Path, size: int) -> None:
    keys, values, strangers = blocks(size), blocks(size), blocks(50)
    made = Segment.of(keys, values)
    made.write(tmp_path / "s", OWNER)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    for segment in (made, Segment.open(tmp_path / "s", OWNER)):
        assert len(segment) == size
        found, known = segment.find(np.concatenate([keys, strangers]))
        assert known.tolist() == [True] * size + [False] * 50
        assert (found[:size] == values).all()
        assert not found[size:].any()
        again, stored = segment.rows()
        order = np.lexsort(again.T[::-1])
        expected = np.lexsort(keys.T[::-1])
        assert (again[order] == keys[expected]).all()
        assert (stored[order] == values[expected]).all()


def test_keys_that_share_their_first_half_or_lie_at_the_ends() -> None:
    keys = np.zeros((6, 16), np.uint8)
    keys[0, 15], keys[1, 15], keys[2, 15], keys[3:, :8] = 9, 1, 2, 255
    keys[4, 15], keys[5, 8:] = 1, 255
    values = blocks(6)
    segment = Segment.of(keys, values)
    assert finds(segment, keys, values)
    strangers = keys.copy()
    strangers[:, 14] ^= 9
    assert not segment.find(strangers)[1].any()
    segment.erase(keys[4:5])
    rest = [0, 1, 2, 3]
    assert finds(segment, keys[rest], values[rest])
    assert not segment.find(keys[4:5])[1].any()


@pytest.mark.parametrize("twins", [2, 3, 40])
def test_equal_high_words_among_many(twins: int) -> None:
    keys, values = blocks(3000), blocks(3000)
    keys[:twins, :8] = keys[0, :8]
    assert finds(Segment.of(keys, values), keys, values)
    half = Stack().plus(Segment.of(keys[:1500], values[:1500])).plus(Segment.of(keys[1500:], values[1500:]))
    assert finds(half, keys, values)


def test_erasing_reaches_every_mapping_and_leaves_no_byte(tmp_path: Path) -> None:
    keys, values = blocks(5000), blocks(5000)
    Segment.of(keys, values).write(tmp_path / "s", OWNER)
    one, other = (Segment.open(tmp_path / "s", OWNER) for _ in range(2))
    assert one.erase(keys[:2]) == 2
    assert one.erase(np.concatenate([keys[:3], blocks(3)])) == 1
    found, known = other.find(keys)
    assert known.tolist() == [False] * 3 + [True] * 4997
    assert (found[3:] == values[3:]).all()
    text = (tmp_path / "s").read_bytes()
    for gone in (*values[:3], *keys[:3, :8][:, ::-1]):
        assert gone.tobytes() not in text
    assert len(Segment.merged([other])) == 4997


def test_a_damaged_row_is_missed_and_never_answers_wrongly(tmp_path: Path) -> None:
    keys, values = blocks(2000), blocks(2000)
    Segment.of(keys, values).write(tmp_path / "s", OWNER)
    whole = (tmp_path / "s").read_bytes()
    for place in RANDOM.integers(64, len(whole), 300).tolist():
        broken = bytearray(whole)
        broken[place] ^= 1 << int(RANDOM.integers(8))
        (tmp_path / "s").write_bytes(broken)
        found, known = Segment.open(tmp_path / "s", OWNER).find(keys)
        assert (found[known] == values[known]).all()
        assert known.sum() >= 1990


def test_a_damaged_directory_ends_in_misses_not_in_a_long_search(tmp_path: Path) -> None:
    keys, values = blocks(200_000), blocks(200_000)
    Segment.of(keys, values).write(tmp_path / "s", OWNER)
    with (tmp_path / "s").open("r+b") as file:
        file.seek(64 + 32 * 200_000)
        file.write(bytes(4 * 131_073))
    found, known = Segment.open(tmp_path / "s", OWNER).find(keys[:1000])
    assert (found[known] == values[:1000][known]).all()
    assert not known.all()


@pytest.mark.parametrize("change", ["cut", "longer", "magic", "rows", "owner", "empty"])
def test_a_file_that_is_not_as_written_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "s"
    Segment.of(blocks(100), blocks(100)).write(path, OWNER)
    data = bytearray(path.read_bytes())
    if change in ("magic", "rows", "owner"):
        data[{"magic": 0, "rows": 16, "owner": 30}[change]] ^= 1
    path.write_bytes({"cut": data[:-1], "longer": data + b"0", "empty": b""}.get(change, bytes(data)))
    with pytest.raises(CheckFailed, match="index file"):
        Segment.open(path, OWNER)
    with pytest.raises(FileNotFoundError):
        Segment.open(tmp_path / "none", OWNER)


def test_small_parts_are_merged_and_the_base_only_when_a_quarter_was_added() -> None:
    keys, values = blocks(10_000), blocks(10_000)
    stack = Stack().plus(Segment.of(keys[:4000], values[:4000]))
    base = stack.segments[0]
    sizes = []
    for start in range(4000, 5000, 250):
        stack = stack.plus(Segment.of(keys[start : start + 250], values[start : start + 250]))
        sizes.append([len(segment) for segment in stack.segments])
        assert finds(stack, keys[: start + 250], values[: start + 250])
    assert sizes == [[4000, 250], [4000, 500], [4000, 750], [4000, 1000]]
    assert stack.segments[0] is base
    again = stack.plus(Segment.of(keys[4900:5300], values[4900:5300]))  # a hundred of them are there already
    assert [len(segment) for segment in again.segments] == [5300]
    assert len(stack.less(keys[:3])) == 4997
    assert not stack.find(keys[:3])[1].any()


def test_distinct_keys_and_where_each_row_belongs() -> None:
    keys = blocks(500)[RANDOM.integers(0, 500, 3000)]
    first, group = distinct(keys)
    assert (keys[first][group] == keys).all()
    seen: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        seen.setdefault(key.tobytes(), row)
    assert sorted(first.tolist()) == sorted(seen.values())
