from __future__ import annotations

import numpy as np
import pytest

from privacy.vault_index import IdentityIndex, SortedIndex


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000, 20_000])
def test_the_sorted_index_finds_exactly_its_keys(size: int) -> None:
    random = np.random.default_rng(size)
    keys = random.integers(0, 256, (size, 16), np.uint8)
    strangers = random.integers(0, 256, (50, 16), np.uint8)
    positions, known = SortedIndex(keys).find(np.concatenate([keys, strangers]))
    assert known.tolist() == [True] * size + [False] * 50
    assert (keys[SortedIndex(keys).order][positions[:size]] == keys).all()


def test_keys_that_share_their_first_half_or_lie_at_the_ends() -> None:
    keys = np.zeros((6, 16), np.uint8)
    keys[1, 15], keys[2, 15], keys[3:, :8] = 1, 2, 255
    keys[4, 15], keys[5, 8:] = 1, 255
    positions, known = SortedIndex(keys).find(keys)
    assert known.all()
    assert (keys[SortedIndex(keys).order][positions] == keys).all()
    strangers = keys.copy()
    strangers[:, 14] ^= 9
    assert not SortedIndex(keys).find(strangers)[1].any()


def test_the_identity_index_grows() -> None:
    random = np.random.default_rng(1)
    keys, handles = (random.integers(0, 256, (90_000, 16), np.uint8) for _ in range(2))
    index = IdentityIndex(keys[:10], handles[:10])
    for start, stop in ((10, 11), (11, 5000), (5000, 80_000), (80_000, 90_000)):
        index.add(keys[start:stop], handles[start:stop])
        found, known = index.find(keys)
        assert known.tolist() == [True] * stop + [False] * (90_000 - stop)
        assert (found[:stop] == handles[:stop]).all()
