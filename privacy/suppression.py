"""People who must not be served any more, as MACs: the list can be checked, not read.

A MAC is over the person behind a feature store token, so it still holds after tokens are re-keyed. The file
is sealed as a whole: what this home's key didn't seal is refused. An older copy of the list put in its place
is noticed only by processes that have read the newer one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.classification import FEATURE_STORE
from privacy.durable import ReplacedFile, locked, write_beside
from privacy.errors import BadInput, EnvironmentFailed
from privacy.json_files import parse_object
from privacy.keyring import Keyring, SealedKeyring
from privacy.tokens import tokens_to_handles, valid_tokens
from privacy.vault_segment import Segment

__all__ = ["SuppressionList"]

Blocks = npt.NDArray[np.uint8]
_VERSION: Final = 1


class SuppressionList:
    """The list at `path`; every process sees additions at its next question.

    A home that has keys has begun its list: there `must_exist` makes a missing file an EnvironmentFailed.
    Without it a file that never was is an empty list.
    """

    def __init__(self, path: Path, keyring: Keyring | SealedKeyring, *, must_exist: bool = False) -> None:
        self._path, self._keyring, self._must_exist = path, keyring, must_exist
        self._file = ReplacedFile(path, "the suppression list")
        self._macs: Blocks = np.zeros((0, 16), np.uint8)
        self._index = Segment.of(self._macs, self._macs)

    @classmethod
    def begin(cls, path: Path, keyring: Keyring | SealedKeyring) -> SuppressionList:
        """Write the sealed empty list when a home is made, and give it with `must_exist`; one there stays.

        To be called once, with the keys: later it would hide the loss of the list.
        """
        listed = cls(path, keyring)
        with locked(listed._lock):
            listed._reload()
            if not listed._file.taken:
                listed._write([])
        return cls(path, keyring, must_exist=True)

    def add(self, token: str) -> None:
        """Suppress one person by feature store token; adding twice changes nothing.

        BadInput if mistyped, EnvironmentFailed, and nothing written, for a list that is missing or changed.
        """
        handles, known = tokens_to_handles(self._keyring, pa.array([token], pa.string()), FEATURE_STORE)
        if not known[0]:
            raise BadInput("this is not a valid feature store token", remedy="give it as the feature store holds it")
        fresh = self._keyring.suppression.of_handles(handles)[0].tobytes()
        with locked(self._lock):
            self._reload()
            held = {mac.tobytes() for mac in self._macs}
            if fresh not in held:
                self._write(sorted(mac.hex() for mac in held | {fresh}))
                self._reload()

    def contains(self, tokens: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """(n,) bool: who is suppressed, by feature store token; False for nulls and what isn't a token.

        Raises EnvironmentFailed for tokens under a key that isn't enabled here, since nobody can tell whose they
        are, and when the file isn't sealed by this home's key, has fewer people than this
        process has read from it, is gone after it was read, or is missing under `must_exist`.
        """
        self._reload()
        if not len(self._index):
            return np.zeros(len(tokens), np.bool_)
        handles, known = tokens_to_handles(self._keyring, tokens, FEATURE_STORE)
        if not known.all() and (unreadable := int((valid_tokens(tokens, FEATURE_STORE) & ~known).sum())):
            raise EnvironmentFailed(
                f"{unreadable} of {len(tokens)} stored tokens are under a key that isn't enabled",
                remedy="enable it again (custos keys list), or run `custos run` on the source",
            )
        _, listed = self._index.find(self._keyring.suppression.of_handles(handles))
        return listed & known

    def __len__(self) -> int:
        self._reload()
        return len(self._index)

    def _reload(self) -> None:
        if not self._file.reload(self._take) and (self._file.taken or self._must_exist):
            raise self._changed("is missing")

    def _take(self, data: bytes) -> None:
        try:
            body = parse_object(data)
            macs = [str(mac) for mac in body["macs"]]
            raw = b"".join(bytes.fromhex(mac) for mac in macs)
            sealed, version = body["seal"], body["version"]
        except (KeyError, TypeError, ValueError):
            raise self._changed("is unreadable") from None
        if version != _VERSION or len(raw) != 16 * len(macs) or sealed != self._seal(macs):
            raise self._changed("was changed by hand, or belongs to another keyring")
        if len(macs) < len(self._macs):
            raise self._changed("is older than it was")
        self._macs = np.frombuffer(raw, np.uint8).reshape(-1, 16)
        self._index = Segment.of(self._macs, self._macs)

    @property
    def _lock(self) -> Path:
        return self._path.with_name(f".{self._path.name}.lock")

    def _write(self, macs: list[str]) -> None:
        body = {"version": _VERSION, "macs": macs, "seal": self._seal(macs)}
        write_beside(self._path, json.dumps(body, indent=0).encode() + b"\n")

    def _seal(self, macs: list[str]) -> str:
        message = f"custos/suppression/v{_VERSION}|{','.join(macs)}".encode()
        return self._keyring.suppression.of_messages(pa.array([message], pa.binary()))[0].tobytes().hex()

    def _changed(self, how: str) -> EnvironmentFailed:
        return EnvironmentFailed(
            f"the suppression list {how}",
            where=str(self._path),
            remedy="restore it from its backup; people on it must not be served meanwhile",
        )
