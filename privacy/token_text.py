"""How a token is written: domain code, key id, 32 hex digits, check byte; vectorised both ways.

`^(ret|val|mkt|svc|rsc|cmp|fs)_[a-z2-7]{2}[0-9a-f]{34}$`. The check byte is a CRC-8 (polynomial 0x07) over
the ASCII prefix and the 16 block bytes: it catches typing errors, not forgery.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.classification import DOMAIN_CODES
from privacy.errors import BadInput

__all__ = ["DecodedTokens", "Token", "decode", "encode", "parse_token"]

Blocks = npt.NDArray[np.uint8]

_CODE_DOMAINS: Final = {code: domain for domain, code in DOMAIN_CODES.items()}
_PATTERN: Final = re.compile(rf"({'|'.join(_CODE_DOMAINS)})_([a-z2-7]{{2}})([0-9a-f]{{34}})", re.ASCII)
_CHUNK: Final = 8192
_HEX_DIGITS: Final = 34
_POLYNOMIAL: Final = 0x07
_ARROW_STRING_LIMIT: Final = 2**31 - 1


@dataclass(frozen=True, repr=False)
class Token:
    """A well-formed token, taken apart; its repr shows nothing of the person."""

    domain: str
    key_id: str
    block: bytes

    def __repr__(self) -> str:
        return f"<Token of {self.domain}>"


@dataclass(frozen=True, repr=False)
class DecodedTokens:
    """blocks (n, 16) uint8; key_codes (n,) uint16, two ASCII letters each; ok (n,) bool, False for bad rows."""

    blocks: Blocks
    key_codes: npt.NDArray[np.uint16]
    ok: npt.NDArray[np.bool_]

    def key_ids(self) -> list[str]:
        """The distinct key ids of the good rows."""
        return [int(code).to_bytes(2, "little").decode() for code in _distinct(self.key_codes[self.ok])]

    def of_key(self, key_id: str) -> npt.NDArray[np.bool_]:
        """(n,) bool: the good rows of that key."""
        return self.ok & (self.key_codes == int.from_bytes(key_id.encode(), "little"))


def parse_token(text: str) -> Token:
    """Take one token apart; BadInput (which doesn't quote it) when it is mistyped, before any lookup.

    >>> parse_token("ret_aa00")
    Traceback (most recent call last):
    privacy.errors.BadInput: not a token; copy it whole, such as ret_ab followed by 34 digits and letters a-f
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise BadInput("not a token", remedy="copy it whole, such as ret_ab followed by 34 digits and letters a-f")
    raw = bytes.fromhex(match[3])
    if _crc(f"{match[1]}_{match[2]}".encode() + raw[:16]) != raw[16]:
        raise BadInput("the token is mistyped: its check digits don't fit", remedy="copy it again")
    return Token(_CODE_DOMAINS[match[1]], match[2], raw[:16])


def encode(blocks: Blocks, domain: str, key_id: str, valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """(n, 16) uint8 -> n tokens as an Arrow string array, null where `valid` is False."""
    prefix = f"{DOMAIN_CODES[domain]}_{key_id}".encode()
    chosen = blocks if valid is None or valid.all() else blocks[valid]
    width = len(prefix) + _HEX_DIGITS
    if len(chosen) * width > _ARROW_STRING_LIMIT:
        raise BadInput("too many tokens for one Arrow array", remedy="work in batches of at most 50 million")
    text = np.empty((len(chosen), width), np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    for start in range(0, len(chosen), _CHUNK):
        part = np.ascontiguousarray(chosen[start : start + _CHUNK])
        raw = np.empty((len(part), 17), np.uint8)
        raw[:, :16] = part
        raw[:, 16] = _crc_blocks(prefix, part)
        digits = np.frombuffer(binascii.hexlify(raw.data), np.uint8)
        text[start : start + _CHUNK, len(prefix) :] = digits.reshape(-1, _HEX_DIGITS)
    steps = np.full(len(blocks), width, np.int32) if valid is None else valid.astype(np.int32) * width
    offsets = np.zeros(len(blocks) + 1, np.int32)
    np.cumsum(steps, out=offsets[1:])
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), len(blocks), buffers)


def decode(tokens: pa.Array, domain: str) -> DecodedTokens:
    """Take a string array of tokens apart, marking the rows that are null, mistyped or of another domain."""
    if not (pa.types.is_string(tokens.type) or pa.types.is_null(tokens.type)):
        tokens = _as_string(tokens)
    rows = len(tokens)
    blocks = np.zeros((rows, 16), np.uint8)
    key_codes = np.zeros(rows, "<u2")
    ok = np.zeros(rows, np.bool_)
    if pa.types.is_null(tokens.type) or tokens.null_count == rows:
        return DecodedTokens(blocks, key_codes, ok)
    code = f"{DOMAIN_CODES[domain]}_".encode()
    width = len(code) + 2 + _HEX_DIGITS
    bounds = np.frombuffer(tokens.buffers()[1], np.int32)[tokens.offset : tokens.offset + rows + 1]
    data = np.frombuffer(tokens.buffers()[2], np.uint8)
    fitting = np.diff(bounds) == width
    if tokens.null_count:
        fitting &= tokens.is_valid().to_numpy(zero_copy_only=False)
    candidates = np.flatnonzero(fitting)
    window = np.ndarray((max(len(data) - width + 1, 0),), f"V{width}", data, strides=(1,))
    for start in range(0, len(candidates), _CHUNK):
        at = candidates[start : start + _CHUNK]
        text = window[bounds[at]].view(np.uint8).reshape(len(at), width)
        raw, good = _decode_chunk(text, code)
        whole = len(candidates) == rows  # then a slice will do, which is faster than picking rows
        here = slice(start, start + len(at)) if whole else at
        ok[here] = good
        blocks[here] = raw[:, :16]
        key_codes[here] = text[:, len(code) : len(code) + 2].copy().view("<u2").ravel()
    return DecodedTokens(blocks, key_codes, ok)


def _decode_chunk(text: Blocks, code: bytes) -> tuple[Blocks, npt.NDArray[np.bool_]]:
    """(n, 17) bytes after the prefix, and which rows are good; a chunk of one prefix is the fast case."""
    end = len(code) + 2
    heads = np.ascontiguousarray(text[:, :end])
    raw, good = _unhex(np.ascontiguousarray(text[:, end:]))
    first = heads[0].tobytes()
    if heads.tobytes() == first * len(heads):
        if not _is_prefix(first, code):
            return raw, np.zeros(len(text), np.bool_)
        return raw, good & (_crc_blocks(first, np.ascontiguousarray(raw[:, :16])) == raw[:, 16])
    check = np.zeros(len(text), np.uint8)
    named = np.zeros(len(text), np.bool_)
    whole = heads.view(f"S{end}").ravel()
    for prefix in sorted(set(whole.tolist())):
        if _is_prefix(prefix, code):
            same = whole == prefix
            check[same] = _crc_blocks(prefix, np.ascontiguousarray(raw[same, :16]))
            named |= same
    return raw, good & named & (check == raw[:, 16])


def _is_prefix(prefix: bytes, code: bytes) -> bool:
    return prefix.startswith(code) and all(letter in _KEY_LETTERS for letter in prefix[len(code) :])


def _distinct(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.bincount(codes, minlength=1)) if len(codes) else np.zeros(0, np.intp)


def _unhex(digits: Blocks) -> tuple[Blocks, npt.NDArray[np.bool_]]:
    """(n, 34) ASCII -> (n, 17) bytes and which rows are lower-case hex; the usual all-good chunk runs in C."""
    try:
        raw = binascii.unhexlify(digits.data.cast("B"))
        if binascii.hexlify(raw) == digits.tobytes():
            return np.frombuffer(raw, np.uint8).reshape(-1, 17), np.ones(len(digits), np.bool_)
    except (binascii.Error, ValueError):
        pass  # some row is not hexadecimal: find out which
    nibbles = _NIBBLES[digits]
    raw_rows = ((nibbles[:, 0::2] << 4) | (nibbles[:, 1::2] & 15)).astype(np.uint8)
    return raw_rows, np.asarray((nibbles < 16).all(axis=1), np.bool_)


def _as_string(tokens: pa.Array) -> pa.Array:
    array = tokens.combine_chunks() if isinstance(tokens, pa.ChunkedArray) else tokens
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise BadInput(f"tokens are text, not {kind}", remedy="read the column as strings")
    return array.cast(pa.string())


def _crc(message: bytes) -> int:
    state = 0
    for byte in message:
        state = int(_CRC[state ^ byte])
    return state


def _crc_table() -> Blocks:
    table = np.arange(256, dtype=np.uint8)
    for _ in range(8):  # uint8 drops the bit that is shifted out
        table = ((table << 1) ^ np.where(table & 0x80, _POLYNOMIAL, 0)).astype(np.uint8)
    return table


@lru_cache(maxsize=1)
def _pair_tables() -> tuple[Blocks, ...]:
    """For each pair of block bytes, what it adds to the check byte: CRC is linear, so columns just XOR."""
    single = np.arange(256, dtype=np.uint8)
    tables = []
    for _ in range(16):  # the last byte first; each step back shifts its share through one more round
        single = _CRC[single]
        tables.append(single)
    tables.reverse()
    pair = np.arange(65536, dtype="<u2")
    return tuple(tables[2 * i][pair & 255] ^ tables[2 * i + 1][pair >> 8] for i in range(8))


def _crc_blocks(prefix: bytes, blocks: Blocks) -> Blocks:
    """The check byte of each contiguous 16-byte block after `prefix`."""
    pairs = blocks.view("<u2")
    start = np.zeros((1, 16), np.uint8)
    start[0, 0] = _crc(prefix)  # the state after the prefix acts as if added to the first byte
    tables = _pair_tables()
    seed = 0
    for table, pair in zip(tables, start.view("<u2")[0], strict=True):
        seed ^= int(table[pair])
    check = np.full(len(blocks), seed, np.uint8)
    for column, table in enumerate(tables):
        check ^= table[pairs[:, column]]
    return check


_CRC: Final = _crc_table()
_NIBBLES: Final = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_KEY_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz234567"
