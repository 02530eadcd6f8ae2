"""AES-256-CMAC (NIST SP 800-38B) over whole Arrow batches, bit-exact with the scalar one.

Rows of one chunk are gathered side by side and AES runs once per block column, so a row costs tens of
nanoseconds. Chunks of 8192 rows stay in the L2 cache; longer messages take cryptography's scalar CMAC.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from privacy.identifiers import canonical_ids
from privacy.secret_key_access import Opaque, SecretKey, release

__all__ = ["CHUNK_ROWS", "MAC_BYTES", "Mac"]

Blocks = npt.NDArray[np.uint8]

CHUNK_ROWS: Final = 8192
MAC_BYTES: Final = 16
_BLOCK: Final = 16
_LONGEST: Final = 64
"""Longer messages (rare among ids) are computed one by one."""
_LENGTH_BYTES: Final = 4
"""Width of the big-endian length in front of an id."""


class Mac(Opaque):
    """A CMAC key that works on Arrow arrays; nulls get the zero block and must be masked by the caller."""

    __slots__ = ("_key", "_subkeys", "_tables")

    def __init__(self, key: SecretKey) -> None:
        self._key = key
        zero = _ecb(release(key), np.zeros((1, _BLOCK), np.uint8))
        k1 = _double(int.from_bytes(zero.tobytes(), "big"))
        self._subkeys = (k1.to_bytes(_BLOCK, "big"), _double(k1).to_bytes(_BLOCK, "big"))
        self._tables: dict[tuple[int, bool], tuple[npt.NDArray[np.void], npt.NDArray[np.void]]] = {}

    def of_ids(self, ids: pa.Array) -> Blocks:
        """(n, 16) uint8: CMAC of length-prefixed canonical ids; raises as `canonical_ids`."""
        return self._batch(canonical_ids(ids), length_prefix=True)

    def of_messages(self, messages: pa.Array) -> Blocks:
        """(n, 16) uint8: plain CMAC of each binary or string message, as SP 800-38B defines it."""
        return self._batch(messages, length_prefix=False)

    def of_handles(self, handles: Blocks) -> Blocks:
        """(n, 16) uint8: CMAC of each 16-byte handle."""
        k1 = np.frombuffer(self._subkeys[0], np.uint8)
        return _ecb(release(self._key), np.ascontiguousarray(handles) ^ k1)

    def of_pairs(self, handles: Blocks, ids: pa.Array) -> Blocks:
        """(n, 16) uint8: CMAC of handle || canonical id; unambiguous because handles have 16 bytes."""
        return self._batch(canonical_ids(ids), length_prefix=False, first=np.ascontiguousarray(handles))

    def _batch(self, messages: pa.Array, *, length_prefix: bool, first: Blocks | None = None) -> Blocks:
        """Chunk by chunk; `first` is a whole block that precedes each message."""
        secret = release(self._key)
        offsets, data, lengths = _arrow_bytes(messages)
        macs = np.zeros((len(messages), MAC_BYTES), np.uint8)
        for start in range(0, len(messages), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            chain = None if first is None else _ecb(secret, first[rows])
            self._chunk(secret, (offsets[rows], data, lengths[rows]), macs[rows], length_prefix, chain)
        for row in np.flatnonzero(lengths > _LONGEST):
            message = data[offsets[row] : offsets[row] + lengths[row]].tobytes()
            head = int(lengths[row]).to_bytes(_LENGTH_BYTES, "big") if length_prefix else b""
            head = head if first is None else first[row].tobytes()
            macs[row] = np.frombuffer(_scalar_cmac(secret, head + message), np.uint8)
        if messages.null_count:
            macs[messages.is_null().to_numpy(zero_copy_only=False)] = 0
        return macs

    def _chunk(
        self,
        secret: bytes,
        texts: tuple[npt.NDArray[np.int64], Blocks, npt.NDArray[np.int64]],
        out: Blocks,
        length_prefix: bool,
        chain: Blocks | None,
    ) -> None:
        offsets, data, lengths = texts
        prefix = _LENGTH_BYTES if length_prefix else 0
        short = np.where(lengths > _LONGEST, 0, lengths)
        total = short + prefix
        blocks = np.maximum((total + _BLOCK - 1) // _BLOCK, 1)
        width = int(blocks.max()) * _BLOCK
        masks, paddings = self._tables_for(width, length_prefix)
        low = int(offsets.min())
        high = int((offsets + short).max())
        window = np.empty(high - low + prefix + width, np.uint8)  # what lies past a message is masked away
        window[:prefix] = 0
        window[prefix : prefix + high - low] = data[low:high]
        window[prefix + high - low :] = 0
        gathered = np.ndarray((high - low + prefix + 1,), f"V{width}", window, strides=(1,))[offsets - low]
        rows = gathered.view(np.uint64).reshape(len(short), width // 8)
        rows &= masks.take(short).view(np.uint64).reshape(rows.shape)
        rows ^= paddings.take(short).view(np.uint64).reshape(rows.shape)
        state = np.zeros((len(short), 2), np.uint64) if chain is None else chain.view(np.uint64)
        emitted = out.view(np.uint64)
        for block in range(width // _BLOCK):
            mixed = state ^ rows[:, 2 * block : 2 * block + 2]
            state = _ecb(secret, mixed.view(np.uint8)).view(np.uint64)
            last = blocks == block + 1
            if last.all():
                emitted[:] = state
            else:
                np.copyto(emitted, state, where=last[:, None])

    def _tables_for(self, width: int, length_prefix: bool) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
        """By message length: which gathered bytes count, and what to add (length, 0x80, K1 or K2)."""
        known = self._tables.get((width, length_prefix))
        if known is not None:
            return known
        prefix = _LENGTH_BYTES if length_prefix else 0
        masks = np.zeros((_LONGEST + 1, width), np.uint8)
        paddings = np.zeros((_LONGEST + 1, width), np.uint8)
        k1, k2 = (np.frombuffer(key, np.uint8) for key in self._subkeys)
        for length in range(min(_LONGEST, width - prefix) + 1):
            total = length + prefix
            masks[length, prefix:total] = 0xFF
            if length_prefix:
                paddings[length, :prefix] = list(length.to_bytes(_LENGTH_BYTES, "big"))
            whole = total > 0 and total % _BLOCK == 0
            if not whole:
                paddings[length, total] = 0x80
            start = (total - 1) // _BLOCK * _BLOCK if total else 0
            paddings[length, start : start + _BLOCK] ^= k1 if whole else k2
        # one opaque item a row: numpy's take copies those as wholes, faster than rows of a matrix
        tables = (masks.view(f"V{width}").ravel(), paddings.view(f"V{width}").ravel())
        self._tables[width, length_prefix] = tables
        return tables


def _arrow_bytes(array: pa.Array) -> tuple[npt.NDArray[np.int64], Blocks, npt.NDArray[np.int64]]:
    """Start offsets, the value bytes and lengths of a string or binary array; nulls have length 0."""
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    _, offset_buffer, data_buffer = array.buffers()
    if len(array) == 0 or offset_buffer is None:
        empty = np.zeros(len(array), np.int64)
        return empty, np.zeros(0, np.uint8), empty.copy()
    kind = np.int64 if wide else np.int32
    bounds = np.frombuffer(offset_buffer, kind)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    lengths = np.diff(bounds)
    if array.null_count:
        lengths[array.is_null().to_numpy(zero_copy_only=False)] = 0
    return bounds[:-1], data, lengths


def _ecb(secret: bytes, blocks: Blocks) -> Blocks:
    """Each 16-byte block through AES-256: CMAC's inner cipher, never an encryption of data by itself."""
    encryptor = Cipher(algorithms.AES256(secret), modes.ECB()).encryptor()  # noqa: S305 - CMAC is built on it
    source = np.ascontiguousarray(blocks)
    if not len(source):
        return np.zeros((0, _BLOCK), np.uint8)
    out = np.empty(source.nbytes + _BLOCK - 1, np.uint8)
    encryptor.update_into(source.data.cast("B"), out.data)
    return out[: source.nbytes].reshape(-1, _BLOCK)


def _double(value: int) -> int:
    """Multiply by x in GF(2^128), polynomial x^128 + x^7 + x^2 + x + 1."""
    shifted = value << 1
    return (shifted ^ 0x87) & ((1 << 128) - 1) if shifted >> 128 else shifted


def _scalar_cmac(secret: bytes, message: bytes) -> bytes:
    mac = CMAC(algorithms.AES256(secret))
    mac.update(message)
    return mac.finalize()
