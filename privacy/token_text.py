"""How a token is written: domain code, key id, 32 hex digits, check byte; vectorised both ways.

`^(ret|val|mkt|svc|rsc|cmp|fs)_[a-z2-7]{2}[0-9a-f]{34}$`. The check byte is a CRC-8 (polynomial 0x07) over
the ASCII prefix and the 16 block bytes: it catches typing errors, not forgery.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

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
_RAW: Final = np.dtype([("block", "V16"), ("check", "u1")])
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
        return [
            int(code).to_bytes(2, "little").decode()
            for code in _distinct(self.key_codes if self.ok.all() else self.key_codes[self.ok])
        ]

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
    text = np.empty(len(chosen), _row(len(prefix)))
    raw = np.empty(min(_CHUNK, len(chosen)), _RAW)
    head = np.frombuffer(prefix, f"V{len(prefix)}")
    for start in range(0, len(chosen), _CHUNK):
        part = np.ascontiguousarray(chosen[start : start + _CHUNK])
        here = slice(start, start + len(part))
        raw["block"][: len(part)] = part.view("V16").ravel()
        raw["check"][: len(part)] = _crc_blocks(prefix, part)
        text["prefix"][here] = head
        text["digits"][here] = np.frombuffer(binascii.hexlify(raw[: len(part)].data.cast("B")), f"V{_HEX_DIGITS}")
    steps = np.full(len(blocks), width, np.int32) if valid is None else valid.astype(np.int32) * width
    offsets = np.zeros(len(blocks) + 1, np.int32)
    np.cumsum(steps, out=offsets[1:])
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(text.view(np.uint8))]
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
    if fitting.all():  # side by side, so nothing has to be gathered
        whole = data[bounds[0] : bounds[-1]].reshape(rows, width)
        chunks: Iterable[tuple[Any, Blocks]] = (
            (slice(start, start + _CHUNK), whole[start : start + _CHUNK]) for start in range(0, rows, _CHUNK)
        )
    else:
        chunks = _gathered(data, bounds, np.flatnonzero(fitting), width)
    for here, text in chunks:
        blocks[here], key_codes[here], ok[here] = _decode_chunk(text, code)
    return DecodedTokens(blocks, key_codes, ok)


def _gathered(
    data: Blocks, bounds: npt.NDArray[np.int32], rows: npt.NDArray[np.intp], width: int
) -> Iterator[tuple[npt.NDArray[np.intp], Blocks]]:
    """Chunks of some rows' text, `width` bytes each."""
    window = np.ndarray((max(len(data) - width + 1, 0),), f"V{width}", data, strides=(1,))
    for start in range(0, len(rows), _CHUNK):
        at = rows[start : start + _CHUNK]
        yield at, window[bounds[at]].view(np.uint8).reshape(len(at), width)


def _decode_chunk(text: Blocks, code: bytes) -> tuple[Blocks, npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """Blocks, key codes and which rows are good; a chunk of one prefix is the fast case."""
    end = len(code) + 2
    rows = text.reshape(-1).view(_row(end))
    heads = np.ascontiguousarray(rows["prefix"])
    raw, good = _unhex(np.ascontiguousarray(rows["digits"]))
    blocks = np.ascontiguousarray(raw["block"]).view(np.uint8).reshape(-1, 16)
    key_codes = heads.view(np.uint8).reshape(-1, end)[:, len(code) :].copy().view("<u2").ravel()
    first = heads[0].tobytes()
    if heads.tobytes() == first * len(heads):
        fits = _is_prefix(first, code)
        return blocks, key_codes, good & (_crc_blocks(first, blocks) == raw["check"]) if fits else np.zeros_like(good)
    check = np.zeros(len(text), np.uint8)
    named = np.zeros(len(text), np.bool_)
    whole = heads.view(f"S{end}")
    for prefix in sorted(set(whole.tolist())):
        if _is_prefix(prefix, code):
            same = whole == prefix
            check[same] = _crc_blocks(prefix, blocks[same])
            named |= same
    return blocks, key_codes, good & named & (check == raw["check"])


def _is_prefix(prefix: bytes, code: bytes) -> bool:
    return prefix.startswith(code) and all(letter in _KEY_LETTERS for letter in prefix[len(code) :])


def _distinct(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.intp]:
    if len(codes) and (codes == codes[0]).all():
        return codes[:1].astype(np.intp)
    return np.flatnonzero(np.bincount(codes, minlength=1)) if len(codes) else np.zeros(0, np.intp)


def _row(prefix: int) -> np.dtype[np.void]:
    """A token's text as whole fields, which numpy copies faster than bytes."""
    return np.dtype([("prefix", f"V{prefix}"), ("digits", f"V{_HEX_DIGITS}")])


def _unhex(digits: npt.NDArray[np.void]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.bool_]]:
    """(n,) texts of 34 digits -> block and check byte, and which rows are lower-case hex; usually all, and in C."""
    letters = digits.view(np.uint8)
    if not _has_capitals(letters):
        try:
            return np.frombuffer(binascii.unhexlify(letters.data), _RAW), np.ones(len(digits), np.bool_)
        except (binascii.Error, ValueError):
            pass  # some row is not hexadecimal: find out which
    nibbles = _NIBBLES[letters].reshape(-1, _HEX_DIGITS)
    raw = ((nibbles[:, 0::2] << 4) | (nibbles[:, 1::2] & 15)).astype(np.uint8)
    return raw.reshape(-1).view(_RAW), np.asarray((nibbles < 16).all(axis=1), np.bool_)


def _has_capitals(letters: npt.NDArray[np.uint8]) -> bool:
    """Whether any byte is in the columns of A-Z: with the bit of letters, without that of lower case."""
    words = letters[: len(letters) // 8 * 8].view("<u8")
    rest = letters[len(words) * 8 :]
    found = words << np.uint64(1)  # the bit of lower case, beside that of letters
    np.invert(found, out=found)
    found &= words
    found &= np.uint64(0x4040404040404040)
    return bool(found.any() or ((rest & 0x60) == 0x40).any())


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
def _last_two() -> Blocks:
    """The check byte of every message of two bytes."""
    pair = np.arange(65536)
    return _CRC[_CRC[pair >> 8] ^ (pair & 255).astype(np.uint8)]


def _crc_blocks(prefix: bytes, blocks: Blocks) -> Blocks:
    """The check byte of each contiguous 16-byte block after `prefix`.

    A CRC is the remainder of a polynomial, so the high part of a word may be folded onto the low one: modulo
    x^8 + x^2 + x + 1, x^16 is x^4 + x^2 + 1, x^32 is x^4 + x^2 + x and x^64 is x^4 + x + 1.
    """
    words = blocks.view(">u8").astype(np.uint64)
    words[:, 0] ^= np.uint64(_crc(prefix) << 56)  # the state after the prefix acts as if added to the first byte
    top = words >> np.uint64(32)
    words &= np.uint64(0xFFFFFFFF)
    for shift in (4, 2, 1):
        words ^= top << np.uint64(shift)
    top, rest = words[:, 0], words[:, 1].copy()
    rest ^= top
    for shift in (4, 1):
        rest ^= top << np.uint64(shift)
    for _ in range(2):
        top = rest >> np.uint64(16)
        rest &= np.uint64(0xFFFF)
        rest ^= top
        for shift in (4, 2):
            rest ^= top << np.uint64(shift)
    return _last_two().take(rest.view(np.int64))


_CRC: Final = _crc_table()
_NIBBLES: Final = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_KEY_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz234567"
