"""The bytes of a text column as numpy sees them: fixed positions of many rows at a time, without a loop per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["STAR", "ZERO", "assembled", "bytes_of", "columns_of", "digits_of", "last_columns_of", "lengths_of"]

ZERO: Final = np.uint8(ord("0"))
STAR: Final = np.uint8(ord("*"))
_REDACTED: Final = 3
"""Bytes of `***`."""
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


def bytes_of(text: pa.StringArray) -> Bytes:
    """All bytes of the array's rows, one row behind the other."""
    buffer, starts = text.buffers()[2], _starts(text)
    return np.frombuffer(buffer, np.uint8)[starts[0] : starts[-1]] if buffer is not None else np.zeros(0, np.uint8)


def lengths_of(text: pa.StringArray) -> npt.NDArray[np.int32]:
    """(n,) bytes of each row; 0 for most nulls."""
    starts = _starts(text)
    return starts[1:] - starts[:-1]


def _starts(text: pa.StringArray) -> npt.NDArray[np.int32]:
    if not len(text):
        return np.zeros(1, np.int32)
    return np.frombuffer(text.buffers()[1], np.int32)[text.offset : text.offset + len(text) + 1]


def columns_of(text: pa.StringArray, width: int) -> Bytes:
    """(width, n): the first `width` bytes of every row, a byte position a row; shorter rows run into the next.

    >>> columns_of(pa.array(["ab", "cd"]), 2).tobytes()
    b'acbd'
    """
    starts = _starts(text)
    return _windows(text, starts[:-1], width)


def last_columns_of(text: pa.StringArray, width: int) -> Bytes:
    """(width, n): the last `width` bytes of every row; shorter rows run into the one before.

    >>> last_columns_of(pa.array(["123", "456"]), 2).T.tobytes()
    b'2356'
    """
    return _windows(text, _starts(text)[1:] - width, width)


def _windows(text: pa.StringArray, starts: npt.NDArray[np.int32], width: int) -> Bytes:
    if not len(starts):
        return np.zeros((width, 0), np.uint8)
    buffer = text.buffers()[2]
    data = np.frombuffer(buffer, np.uint8) if buffer is not None else np.zeros(0, np.uint8)
    least, most = int(starts[0]), int(starts[-1])
    if least < 0 or most + width > len(data):  # a row at an end of the buffer has nothing beside it
        before = max(0, -least)
        part = data[max(0, least) : most + width]
        behind = most + width - least - before - len(part)
        data, starts = np.pad(part, (before, behind)), starts - least
    windows = np.ndarray((len(data) - width + 1,), f"V{width}", data.data, strides=(1,))
    return np.ascontiguousarray(windows[starts].view(np.uint8).reshape(-1, width).T)


def digits_of(columns: Bytes) -> Flags:
    """(n,) bool: whether all positions are ASCII digits; `columns` (positions, n) have `ZERO` taken off."""
    return columns.max(axis=0, initial=0) <= 9


def assembled(
    columns: Sequence[Bytes | np.uint8], fits: Flags, text: pa.StringArray, instead: pa.StringArray | None = None
) -> pa.StringArray:
    """Texts of the given byte positions, each (n,) or one for all, where a row `fits`; nulls as of `text`.

    Rows that don't fit, nulls aside, are redacted, or become those of `instead`, one each in their order, which may be
    null and are no longer than the positions.

    >>> text = pa.array(["ab", "c", None])
    >>> assembled([*columns_of(text, 1), STAR], np.array([True, False, False]), text).to_pylist()
    ['a*', '***', None]
    """
    width, rows = max(len(columns), _REDACTED), len(text)
    out = np.empty((rows, width), np.uint8)
    for at, column in enumerate(columns):
        out[:, at] = column
    out[:, len(columns) :] = STAR
    flat, ends = out.ravel(), np.arange(width, width * rows + 1, width, dtype=np.int32)
    valid = text.is_valid().to_numpy(zero_copy_only=False) if text.null_count else None
    bad = np.flatnonzero(~fits)
    if len(bad) or len(columns) < width:
        out[bad] = STAR  # no byte of what is redacted stays, behind a null neither
        widths = np.full(rows, len(columns), np.int32)
        widths[bad] = _REDACTED
        if instead is not None and len(bad):
            valid = _put_in(instead, out, widths, bad if valid is None else bad[valid[bad]], valid)
        kept = np.ones((rows, width), np.bool_)
        kept[:, len(columns) :] = False
        kept[bad] = np.arange(width) < widths[bad, None]
        flat, ends = flat[kept.ravel()], np.cumsum(widths, dtype=np.int32)
    starts = np.concatenate([np.zeros(1, np.int32), ends])
    bits = None if valid is None else pa.array(valid).buffers()[1]
    return pa.StringArray.from_buffers(rows, pa.py_buffer(starts), pa.py_buffer(flat), bits)


def _put_in(
    instead: pa.StringArray, out: Bytes, widths: npt.NDArray[np.int32], at: npt.NDArray[np.intp], valid: Flags | None
) -> Flags | None:
    """Write texts over the rows `at`; which rows are valid then."""
    out[at] = columns_of(instead, out.shape[1]).T
    widths[at] = lengths_of(instead)
    if instead.null_count:
        valid = np.ones(len(out), np.bool_) if valid is None else valid.copy()
        valid[at] = instead.is_valid().to_numpy(zero_copy_only=False)
    return valid
