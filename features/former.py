"""Tokens from before a link: they stay good, and lead to the person that is known now."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.classification import FEATURE_STORE
from privacy.keyring import Keyring, SealedKeyring
from privacy.tokens import handles_to_tokens, parse_token, tokens_to_handles
from privacy.vault_segment import Segment

from .buckets import TOKEN
from .snapshot_writer import SnapshotWriter
from .storage import TableStore

__all__ = ["CANONICAL", "FORMER", "FormerTokens", "copy_former"]

Blocks = npt.NDArray[np.uint8]

FORMER: Final = "former_tokens"
"""The table of them, each beside the token of the person it stands for now."""
CANONICAL: Final = "canonical_token"


class FormerTokens:
    """Which handles lead to which, as of one snapshot of the features; nobody's before `follow`."""

    def __init__(self, keyring: SealedKeyring | Keyring) -> None:
        self._keyring = keyring
        self._known: tuple[Segment, str] | None = None  # who leads to whom, and the key of the tokens; set as one

    def follow(self, store: TableStore) -> None:
        """Go by the published snapshot of `store`, which may have been written under any key that is enabled here."""
        table = store.read(FORMER) if FORMER in store.manifest()["tables"] else None
        if table is None or not table.num_rows:
            self._known = None
            return
        sides = [tokens_to_handles(self._keyring, table[name], FEATURE_STORE) for name in (TOKEN, CANONICAL)]
        valid = sides[0][1] & sides[1][1]
        led = Segment.of(sides[0][0][valid], sides[1][0][valid])
        self._known = led, parse_token(table[TOKEN][0].as_py()).key_id

    def canonical(self, handles: Blocks) -> Blocks:
        """(n, 16) uint8 handles as they are known now; the same array where nobody was ever linked."""
        if (known := self._known) is None:
            return handles
        found, moved = known[0].find(handles)
        return np.where(moved[:, None], found, handles)

    def canonical_tokens(self, tokens: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """The feature store's tokens as they are known now, under the key that the features were written under."""
        if (known := self._known) is None:
            return tokens
        found, moved = known[0].find(tokens_to_handles(self._keyring, tokens, FEATURE_STORE)[0])
        if not moved.any():
            return tokens
        fresh = handles_to_tokens(self._keyring, found[moved], FEATURE_STORE, key_id=known[1])
        whole = tokens.combine_chunks() if isinstance(tokens, pa.ChunkedArray) else tokens
        return pc.replace_with_mask(whole, pa.array(moved), fresh)


def copy_former(protected: TableStore, writer: SnapshotWriter) -> None:
    """Carry the protected table of former tokens into a feature snapshot; nothing where there is none."""
    if FORMER in protected.manifest()["tables"]:
        table = protected.read(FORMER)
        writer.add(FORMER, table.to_batches(), table.schema)
