"""Proof that one event is in the audit log, in a bundle that anyone can check offline with the verifier key.

The bundle is JSON: the event's line, its index, an RFC 6962 inclusion proof and the signed checkpoint it leads to;
on demand also a consistency proof from an older checkpoint, which shows that the log only grew since.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from privacy.audit_events import parsed_line
from privacy.counted import counted
from privacy.errors import BadInput, CheckFailed
from privacy.merkle import consistency_proof, inclusion_proof, is_consistent, is_included, leaf_hash
from privacy.signed_note import Checkpoint, NoteKey

__all__ = ["Proven", "check_proof", "make_proof"]

_FORMAT: Final = "custos/audit-proof/v1"


@dataclass(frozen=True)
class Proven:
    """What a bundle proves: this event, at this index of the log of `size` events under `root`.

    `since` is the size of the older checkpoint that the log was shown to extend, None when there was none.
    """

    event: Mapping[str, Any]
    index: int
    origin: str
    size: int
    root: bytes
    since: int | None


def make_proof(
    line: bytes, index: int, leaves: Sequence[bytes], note: bytes, since: tuple[bytes, int] | None = None
) -> dict[str, object]:
    """The bundle for the line at `index` under checkpoint `note` over `leaves`.

    `since` is an older checkpoint's note and size, to be shown consistent.
    """
    bundle: dict[str, object] = {
        "format": _FORMAT,
        "event": line.decode(),
        "index": index,
        "tree_size": len(leaves),
        "inclusion": _texts(inclusion_proof(leaves, index)),
        "checkpoint": note.decode(),
    }
    if since is not None:
        earlier, size = since
        bundle["since"] = {"checkpoint": earlier.decode(), "consistency": _texts(consistency_proof(leaves, size))}
    return bundle


def check_proof(bundle: object, key: NoteKey) -> Proven:
    """What the bundle proves to who trusts `key`; needs nothing but these two.

    CheckFailed when a signature or a proof doesn't hold, BadInput for what is no bundle.
    """
    read = _Bundle.parsed(bundle)
    checkpoint = Checkpoint.opened(read.checkpoint, key.public_key, origin=key.name)
    if checkpoint.size != read.tree_size:
        raise CheckFailed("the proof is for another tree than its checkpoint")
    if not is_included(leaf_hash(read.line), read.index, checkpoint.size, read.inclusion, checkpoint.root):
        raise CheckFailed("the inclusion proof does not hold: this event is not at this place in the signed log")
    since = None
    if read.earlier is not None:
        earlier = Checkpoint.opened(read.earlier, key.public_key, origin=key.name)
        since = earlier.size
        if not is_consistent(since, checkpoint.size, earlier.root, checkpoint.root, read.consistency):
            raise CheckFailed(
                f"the consistency proof does not hold: the log of {counted(since, 'event')} was not extended"
            )
    event = parsed_line(read.line, read.index + 1)
    return Proven(event, read.index, checkpoint.origin, checkpoint.size, checkpoint.root, since)


@dataclass(frozen=True)
class _Bundle:
    line: bytes
    index: int
    tree_size: int
    inclusion: list[bytes]
    checkpoint: bytes
    earlier: bytes | None
    consistency: list[bytes]

    @classmethod
    def parsed(cls, bundle: object) -> _Bundle:
        try:
            if not isinstance(bundle, Mapping) or bundle["format"] != _FORMAT:
                raise TypeError
            since = bundle.get("since")
            return cls(
                line=_bytes(bundle["event"]),
                index=_number(bundle["index"]),
                tree_size=_number(bundle["tree_size"]),
                inclusion=_hashes(bundle["inclusion"]),
                checkpoint=_bytes(bundle["checkpoint"]),
                earlier=None if since is None else _bytes(since["checkpoint"]),
                consistency=[] if since is None else _hashes(since["consistency"]),
            )
        except (LookupError, TypeError, ValueError):
            raise BadInput("this is no proof of an audit event", remedy="make one with `custos audit prove`") from None


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(node).decode() for node in hashes]


def _hashes(texts: object) -> list[bytes]:
    if not isinstance(texts, list):
        raise TypeError
    try:
        return [base64.b64decode(_bytes(text), validate=True) for text in texts]
    except binascii.Error:
        raise ValueError from None


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError
    return text.encode()


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value
