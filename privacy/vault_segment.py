"""A sorted map of 16-byte MACs to 16-byte values, in memory or mapped from a file, behind a directory of top bits.

MACs are uniform, so the top bits of a key say almost exactly where it lies; a short scan does the rest. A key's
second half is stored XORed with a digest of its value: a row that was damaged, or is being erased right now,
answers to no key at all. A map may thus miss a key it once held, but never answers with a wrong value.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from privacy.durable import write_beside
from privacy.errors import CheckFailed

__all__ = ["Segment", "blocks_of", "distinct"]

Blocks = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.intp]

_CHUNK: Final = 8192
_MOST_STEPS: Final = 4096
"""How far a scan goes: MACs need a few dozen steps, a damaged directory could ask for millions."""
_HEADER: Final = struct.Struct("<8sIIQ32sI4x")  # magic, version, bits, rows, owner, CRC-32 of what precedes
_MAGIC: Final = b"CUSTOSIX"
_VERSION: Final = 1
_ODD: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))  # bijective multipliers
_OFFSET: Final = np.uint64(0xD6E8FEB86659FD93)


class Segment:
    """Distinct keys with their values; made by `of`, `merged` or `open`."""

    __slots__ = ("_bits", "_high", "_low", "_start", "_values", "path")

    def __init__(
        self,
        high: Words,
        low: Words,
        values: npt.NDArray[np.void],
        start: npt.NDArray[np.uint32],
        path: Path | None = None,
    ) -> None:
        self._high, self._low, self._values, self._start = high, low, values, start
        self._bits = _bits_for(len(high))
        self.path = path
        """Where it is mapped from; None in memory."""

    @classmethod
    def of(cls, keys: Blocks, values: Blocks) -> Segment:
        """Sort (n, 16) uint8 distinct keys with their values."""
        high, low = _words(keys)
        plain = np.ascontiguousarray(values)
        return cls._sorted(high, low ^ _digest(plain.view("<u8").reshape(-1, 2)), plain.view("V16").ravel())

    @classmethod
    def merged(cls, parts: Sequence[Segment]) -> Segment:
        """Everything in `parts` that wasn't erased; their keys are distinct."""
        high = np.concatenate([part._high for part in parts])
        low = np.concatenate([part._low for part in parts])
        values = np.concatenate([part._values for part in parts])
        lives = ((high != 0) | (low != 0)).nonzero()[0]
        if len(lives) < len(high):
            high, low, values = high[lives], low[lives], values[lives]
        return cls._sorted(high, low, values)

    @classmethod
    def _sorted(cls, high: Words, low: Words, values: npt.NDArray[np.void]) -> Segment:
        order = np.argsort(high, kind="stable")  # stable is fast on runs that are sorted already
        high = high[order]
        buckets = np.bincount((high >> np.uint64(64 - _bits_for(len(high)))).astype(np.int64))
        start = np.zeros((1 << _bits_for(len(high))) + 1, np.uint32)
        np.cumsum(buckets, out=start[1 : len(buckets) + 1], dtype=np.uint32)
        start[len(buckets) + 1 :] = len(high)
        return cls(high, low[order], values[order], start)

    def __len__(self) -> int:
        return len(self._high)

    def rows(self) -> tuple[Blocks, Blocks]:
        """(n, 16) keys and values that weren't erased."""
        low = self._low ^ _digest(self._values.view("<u8").reshape(-1, 2))
        lives = (self._high != 0) | (self._low != 0)
        keys = np.stack([self._high, low], axis=1).astype(">u8").view(np.uint8)
        values = self._values.view(np.uint8).reshape(-1, 16)
        return (keys, values) if lives.all() else (keys[lives], values[lives])

    def find(self, keys: Blocks) -> tuple[Blocks, Flags]:
        """(n, 16) values, zero where unknown, and which keys are known."""
        values = np.zeros((len(keys), 16), np.uint8)
        known = np.zeros(len(keys), np.bool_)
        if len(self):
            out = values.view("V16").ravel()
            for start in range(0, len(keys), _CHUNK):
                high, low = _words(keys[start : start + _CHUNK])
                at, same, found = self._locate(high, low)
                known[start : start + len(at)] = same
                if not same.all():
                    found[~same] = 0
                out[start : start + len(at)] = found.view("V16").ravel()
        return values, known

    def erase(self, keys: Blocks) -> int:
        """Put zeros over keys and their values, in place; how many keys were here.

        Rows of a mapped file change in the file, and so for every process that maps it.
        """
        if not len(self) or not len(keys):
            return 0
        at, same, _ = self._locate(*_words(keys))
        rows = at[same]
        if not len(rows):
            return 0
        high, low, values = self._high, self._low, self._values
        if self.path is not None:
            with self.path.open("r+b") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE)
            high, low, values, _ = _sections(mapped, len(self), self._bits)
        values[rows] = np.zeros(len(rows), "V16")  # from here on the rows answer to nobody
        low[rows] = 0
        high[rows] = 0  # a scan passes over it
        if self.path is not None:
            mapped.flush()
        return len(rows)

    def write(self, path: Path, owner: bytes) -> None:
        """Store it at `path`, whole or not at all; `owner` (32 bytes) says whose it is."""
        head = _HEADER.pack(_MAGIC, _VERSION, self._bits, len(self), owner, 0)
        head = head[:-8] + struct.pack("<I4x", zlib.crc32(head[:-8]))
        parts = (self._high, self._low, self._values, self._start)
        write_beside(path, head, *(part.view(np.uint8).data for part in parts))

    @classmethod
    def open(cls, path: Path, owner: bytes) -> Segment:
        """Map the file at `path`; nothing is read but its header.

        CheckFailed when it is another owner's, or its length or header is not what was written;
        FileNotFoundError when it is missing.
        """
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
            size = file.seek(0, 2)
            if len(head) < _HEADER.size:
                raise CheckFailed("an index file is truncated", where=path.name)
            magic, version, bits, rows, whose, check = _HEADER.unpack(head)
            fits = magic == _MAGIC and version == _VERSION and whose == owner and check == zlib.crc32(head[:-8])
            if not fits or bits != _bits_for(rows) or size != _HEADER.size + rows * 32 + ((1 << bits) + 1) * 4:
                raise CheckFailed("an index file is damaged, or not this vault's", where=path.name)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(*_sections(mapped, rows, bits), path)

    def _locate(self, high: Words, low: Words) -> tuple[Positions, Flags, Words]:
        """Where each key lies, whether it is there, and the two words of its value."""
        last = len(self) - 1
        at = self._start.take((high >> np.uint64(64 - self._bits)).view(np.int64)).astype(np.intp)
        np.minimum(at, last, out=at)
        behind = np.flatnonzero(self._high.take(at) < high)
        for _ in range(_MOST_STEPS):
            if not behind.size:
                break
            at[behind] += 1
            behind = behind[at[behind] <= last]
            behind = behind[self._high.take(at[behind]) < high[behind]]
        np.minimum(at, last, out=at)
        found = self._values.take(at).view("<u8").reshape(-1, 2)
        half = self._high.take(at) == high
        same = half & ((self._low.take(at) ^ _digest(found)) == low)
        twins = np.flatnonzero(half & ~same)  # equal high words (n^2 / 2^65), or a damaged row
        for _ in range(_MOST_STEPS):
            twins = twins[at[twins] < last]
            at[twins] += 1
            twins = twins[self._high.take(at[twins]) == high[twins]]
            if not twins.size:
                break
            found[twins] = self._values.take(at[twins]).view("<u8").reshape(-1, 2)
            same[twins] = (self._low.take(at[twins]) ^ _digest(found[twins])) == low[twins]
            twins = twins[~same[twins]]
        return at, same, found


def distinct(keys: Blocks) -> tuple[Positions, Positions]:
    """The row of each distinct key's first appearance, and for every row which of those it is."""
    high, low = _words(keys)
    order = np.lexsort((low, high))
    fresh = np.ones(len(keys), np.bool_)
    fresh[1:] = (high[order[1:]] != high[order[:-1]]) | (low[order[1:]] != low[order[:-1]])
    group = np.empty(len(keys), np.intp)
    group[order] = np.cumsum(fresh) - 1
    return order[fresh], group


def blocks_of(values: Iterable[bytes]) -> Blocks:
    """(n, 16) uint8 of n 16-byte values."""
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, 16)


def _bits_for(rows: int) -> int:
    return max(rows.bit_length() - 1, 1)


def _words(keys: Blocks) -> tuple[Words, Words]:
    """The two halves of each key as numbers that sort as the bytes do."""
    halves = np.ascontiguousarray(keys).view(">u8").reshape(len(keys), 2)
    return halves[:, 0].astype(np.uint64), halves[:, 1].astype(np.uint64)


def _digest(values: Words) -> Words:
    """64 bits of a value's two words: a change of either word alone always changes them."""
    second = (values[:, 1] + _OFFSET) * _ODD[1]
    return ((values[:, 0] + _OFFSET) * _ODD[0]) ^ (second >> np.uint64(32)) ^ (second << np.uint64(32))


def _sections(
    mapped: mmap.mmap, rows: int, bits: int
) -> tuple[Words, Words, npt.NDArray[np.void], npt.NDArray[np.uint32]]:
    begin = _HEADER.size
    return (
        np.frombuffer(mapped, "<u8", rows, begin),
        np.frombuffer(mapped, "<u8", rows, begin + 8 * rows),
        np.frombuffer(mapped, "V16", rows, begin + 16 * rows),
        np.frombuffer(mapped, "<u4", (1 << bits) + 1, begin + 32 * rows),
    )
