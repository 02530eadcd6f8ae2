"""Root keys as the key file lists them: their states, what may follow what, and the keys derived from them.

A keyset changes like Tink's: a new key is added and made primary, the older ones go on reading; then one may be
disabled, and only a disabled one destroyed. The identity root, from which the vault's own keys come, stands apart
and never changes: an index or a tombstone can't be computed again without the id.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privacy.errors import BadInput
from privacy.secret_key_access import KEY_BYTES, SecretKey, release, seal_in_handle

__all__ = [
    "KeyInfo",
    "KeyState",
    "RootKey",
    "TokenKeys",
    "derive",
    "handle_of",
    "new_payload",
    "roots_of",
    "rotated",
    "with_state",
]

_ID_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_SALT: Final = b"custos/keys/v1"

Payload = Mapping[str, Any]


class KeyState(StrEnum):
    """Primary makes and reads tokens, enabled reads them, disabled and destroyed do nothing (as in Tink)."""

    PRIMARY = "primary"
    ENABLED = "enabled"
    DISABLED = "disabled"
    DESTROYED = "destroyed"


_MAY_BECOME: Final[Mapping[KeyState, frozenset[KeyState]]] = {
    KeyState.PRIMARY: frozenset(),
    KeyState.ENABLED: frozenset({KeyState.DISABLED}),
    KeyState.DISABLED: frozenset({KeyState.ENABLED, KeyState.DESTROYED}),
    KeyState.DESTROYED: frozenset(),
}


@dataclass(frozen=True)
class KeyInfo:
    """What may be told of a root key: never its bytes. `created_at` and `changed_at` are ISO, UTC."""

    key_id: str
    version: int
    state: KeyState
    created_at: str
    changed_at: str


@dataclass(frozen=True, repr=False)
class RootKey:
    """A root key and its bytes, behind a handle; None once destroyed."""

    info: KeyInfo
    secret: SecretKey | None

    @property
    def usable(self) -> bool:
        """Whether its tokens are read."""
        return self.info.state in (KeyState.PRIMARY, KeyState.ENABLED)


@dataclass(frozen=True, repr=False)
class TokenKeys:
    """The keys of one domain: `primary` is the id of the one that makes new tokens."""

    domain: str
    primary: str
    by_id: Mapping[str, SecretKey]


def new_payload(tenant: str) -> dict[str, Any]:
    """What a new key file holds: an identity root and one primary key."""
    now = _now()
    return {
        "keyset_id": f"ks_{secrets.token_hex(8)}",
        "tenant": tenant,
        "created_at": now,
        "identity": secrets.token_bytes(KEY_BYTES).hex(),
        "erasure_counter": 0,
        "roots": [_new_root(1, (), now)],
    }


def roots_of(payload: Payload) -> tuple[RootKey, ...]:
    """Every root key ever made, destroyed ones included, by version."""
    return tuple(
        RootKey(
            KeyInfo(root["id"], root["version"], KeyState(root["state"]), root["created_at"], root["changed_at"]),
            handle_of(root["secret"]) if root["secret"] else None,
        )
        for root in payload["roots"]
    )


def rotated(payload: Payload) -> dict[str, Any]:
    """The payload with a new primary key; the former one goes on reading."""
    roots, now = list(payload["roots"]), _now()
    kept = [
        {**root, "state": KeyState.ENABLED.value, "changed_at": now} if root["state"] == KeyState.PRIMARY else root
        for root in roots
    ]
    fresh = _new_root(max(root["version"] for root in roots) + 1, [root["id"] for root in roots], now)
    return {**payload, "roots": [*kept, fresh]}


def with_state(payload: Payload, key_id: str, state: KeyState) -> dict[str, Any]:
    """The payload with one key in another state; a destroyed key's bytes are gone from it.

    Raises BadInput for an unknown key and for a step that isn't allowed.
    """
    known = {str(root["id"]): KeyState(root["state"]) for root in payload["roots"]}
    if key_id not in known:
        raise BadInput("there is no key of this id", remedy=f"keys are: {', '.join(known)} (custos keys list)")
    current = known[key_id]
    if current is state:
        return dict(payload)
    if state not in _MAY_BECOME[current]:
        raise BadInput(f"key {key_id} is {current} and can't become {state}", remedy=_REMEDIES[current])
    changed = {"state": state.value, "changed_at": _now()}
    if state is KeyState.DESTROYED:
        changed["secret"] = ""
    roots = [{**root, **changed} if root["id"] == key_id else root for root in payload["roots"]]
    return {**payload, "roots": roots}


_REMEDIES: Final[Mapping[KeyState, str]] = {
    KeyState.PRIMARY: "rotate first, so that another key makes the tokens",
    KeyState.ENABLED: "disable it first",
    KeyState.DISABLED: "enable or destroy it",
    KeyState.DESTROYED: "what it made can't be read any more",
}


def derive(root: SecretKey, context: tuple[str, str, str, str]) -> SecretKey:
    """HKDF-SHA256 of `root` for (tenant, purpose, attribute, version), each length-prefixed (RFC 5869)."""
    info = b"".join(struct.pack(">I", len(part.encode())) + part.encode() for part in context)
    return seal_in_handle(HKDF(SHA256(), KEY_BYTES, salt=_SALT, info=info).derive(release(root)))


def handle_of(text: str) -> SecretKey:
    """The handle of key bytes written in hex."""
    return seal_in_handle(bytes.fromhex(text))


def _new_root(version: int, taken: Iterable[str], now: str) -> dict[str, Any]:
    return {
        "version": version,
        "id": _new_id(tuple(taken)),
        "state": KeyState.PRIMARY.value,
        "created_at": now,
        "changed_at": now,
        "secret": secrets.token_bytes(KEY_BYTES).hex(),
    }


def _new_id(taken: Sequence[str]) -> str:
    """Two letters no other key of this keyset ever had: a token tells its key by them."""
    free = [a + b for a in _ID_ALPHABET for b in _ID_ALPHABET if a + b not in taken]
    if not free:
        raise BadInput("this keyset has used up its 1,024 key ids", remedy="make a new home")
    return secrets.choice(free)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
