"""People who must not be served any more, as MACs: the list can be checked, not read.

A MAC is over the person behind a feature store token, so it still holds after tokens are re-keyed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.classification import FEATURE_STORE
from privacy.durable import locked, read_bytes, write_beside
from privacy.errors import BadInput, EnvironmentFailed
from privacy.keyring import Keyring, SealedKeyring
from privacy.tokens import tokens_to_handles
from privacy.vault_index import SortedIndex

__all__ = ["SuppressionList"]

Blocks = npt.NDArray[np.uint8]
_VERSION: Final = 1


class SuppressionList:
    """The list at `path`; every process sees additions at its next question."""

    def __init__(self, path: Path, keyring: Keyring | SealedKeyring) -> None:
        self._path, self._keyring = path, keyring
        self._stamp: tuple[int, int, int] | None = None
        self._macs: Blocks = np.zeros((0, 16), np.uint8)
        self._index = SortedIndex(self._macs)

    def add(self, token: str) -> None:
        """Suppress one person by feature store token; adding twice changes nothing. BadInput if mistyped."""
        self.add_many([token])

    def add_many(self, tokens: Iterable[str]) -> None:
        """Suppress people, rewriting the file once."""
        array = pa.array(list(tokens), pa.string())
        handles, known = tokens_to_handles(self._keyring, array, FEATURE_STORE)
        if not known.all():
            raise BadInput(f"{int((~known).sum())} tokens are not valid feature store tokens")
        fresh = {mac.tobytes() for mac in self._keyring.suppression.of_handles(handles)}
        with locked(self._path.with_name(f".{self._path.name}.lock")):
            self._reload()
            held = {mac.tobytes() for mac in self._macs}
            if fresh <= held:
                return
            macs = sorted(mac.hex() for mac in fresh | held)
            body = {"version": _VERSION, "macs": macs, "seal": self._seal(macs)}
            write_beside(self._path, json.dumps(body, indent=0).encode() + b"\n")
        self._reload()

    def contains(self, tokens: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """(n,) bool: who is suppressed, by feature store token; False for nulls and what isn't a token.

        Raises EnvironmentFailed when the file was changed by anything but Custos.
        """
        self._reload()
        if not len(self._index):
            return np.zeros(len(tokens), np.bool_)
        handles, known = tokens_to_handles(self._keyring, tokens, FEATURE_STORE)
        _, listed = self._index.find(self._keyring.suppression.of_handles(handles))
        return listed & known

    def __len__(self) -> int:
        self._reload()
        return len(self._index)

    def _reload(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            if self._stamp is not None:
                raise self._changed("is gone") from None
            return
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp == self._stamp:
            return
        data = read_bytes(self._path, "the suppression list") or b""
        try:
            body = json.loads(data)
            macs = [str(mac) for mac in body["macs"]]
            raw = b"".join(bytes.fromhex(mac) for mac in macs)
            sealed, version = body["seal"], body["version"]
        except (KeyError, TypeError, ValueError):
            raise self._changed("is unreadable") from None
        if version != _VERSION or len(raw) != 16 * len(macs) or sealed != self._seal(macs):
            raise self._changed("was changed by hand, or belongs to another keyring")
        self._macs = np.frombuffer(raw, np.uint8).reshape(-1, 16)
        self._index, self._stamp = SortedIndex(self._macs), stamp

    def _seal(self, macs: list[str]) -> str:
        message = f"custos/suppression/v{_VERSION}|{','.join(macs)}".encode()
        return self._keyring.suppression.of_messages(pa.array([message], pa.binary()))[0].tobytes().hex()

    def _changed(self, how: str) -> EnvironmentFailed:
        return EnvironmentFailed(
            f"the suppression list {how}",
            where=str(self._path),
            remedy="restore it from its backup; people on it must not be served meanwhile",
        )
