from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from privacy.cmac import CHUNK_ROWS, Mac
from privacy.secret_key_access import seal_in_handle

KEY = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
MAC = Mac(seal_in_handle(KEY))


def scalar(message: bytes) -> bytes:
    mac = CMAC(algorithms.AES256(KEY))
    mac.update(message)
    return mac.finalize()


def test_every_length_agrees_with_cryptography_across_chunks() -> None:
    messages = [os.urandom(row % 100) for row in range(CHUNK_ROWS + 300)]
    for array in (pa.array(messages, pa.binary()), pa.array(messages, pa.large_binary())):
        macs = MAC.of_messages(array)
        assert all(macs[row].tobytes() == scalar(message) for row, message in enumerate(messages))


@given(st.lists(st.one_of(st.none(), st.text(min_size=1, max_size=40)), max_size=30), st.integers(0, 5))
def test_ids_nulls_and_slices(texts: list[str | None], skipped: int) -> None:
    from privacy.identifiers import canonical_ids

    array = pa.array(texts, pa.string()).slice(skipped)
    canonical = canonical_ids(array).to_pylist()
    macs = MAC.of_ids(array)
    for row, text in enumerate(canonical):
        data = b"" if text is None else text.encode()
        expected = bytes(16) if text is None else scalar(len(data).to_bytes(4, "big") + data)
        assert macs[row].tobytes() == expected


def test_pairs_are_the_cmac_of_handle_and_id() -> None:
    texts = [f"订单-{row}" * (1 + row % 6) for row in range(500)]
    handles = np.frombuffer(os.urandom(16 * 500), np.uint8).reshape(-1, 16)
    macs = MAC.of_pairs(handles, pa.array(texts))
    assert all(macs[i].tobytes() == scalar(handles[i].tobytes() + t.encode()) for i, t in enumerate(texts))
    alone = MAC.of_handles(handles)
    assert all(alone[i].tobytes() == scalar(handles[i].tobytes()) for i in range(500))


def test_empty_arrays() -> None:
    assert MAC.of_ids(pa.array([], pa.string())).shape == (0, 16)
    assert MAC.of_ids(pa.array([], pa.int64())).shape == (0, 16)
    assert not MAC.of_ids(pa.array([None, None], pa.null())).any()


def test_nobody_has_no_macs() -> None:
    empty = np.zeros((0, 16), np.uint8)
    for macs in (
        MAC.of_ids(pa.array([], pa.string())),
        MAC.of_messages(pa.array([], pa.binary())),
        MAC.of_handles(empty),
        MAC.of_pairs(empty, pa.array([], pa.string())),
    ):
        assert macs.shape == (0, 16)
