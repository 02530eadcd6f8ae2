"""The one dangerous door: whoever imports `release` handles raw key bytes.

Everybody else passes `SecretKey` handles around, which can't be printed, pickled, copied or compared.
`tests/privacy/test_secret_key_access.py` names the modules that may import it.
"""

from __future__ import annotations

from typing import Final, NoReturn

__all__ = ["KEY_BYTES", "SecretKey", "release", "seal_in_handle"]

KEY_BYTES: Final = 32
"""Every secret is 256 bits: AES-256, HKDF input, Ed25519 seed."""

_DOOR: Final = object()


class Opaque:
    """Refuses everything by which a secret could leave a handle unnoticed."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # a hash would compare secrets

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: secret>"

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} handles can't be compared")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} handles can't be pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} handles can't be copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} handles can't be copied")


class SecretKey(Opaque):
    """A 256-bit secret; only `seal_in_handle` makes one.

    >>> SecretKey(object(), bytes(32))
    Traceback (most recent call last):
    TypeError: SecretKey is made by the keyring only
    >>> seal_in_handle(bytes(32))
    <SecretKey: secret>
    """

    __slots__ = ("_secret",)

    def __init__(self, door: object, secret: bytes) -> None:
        if door is not _DOOR:
            raise TypeError("SecretKey is made by the keyring only")
        self._secret = secret


def seal_in_handle(secret: bytes) -> SecretKey:
    """Put 32 key bytes behind a handle; ValueError for any other length."""
    if len(secret) != KEY_BYTES:
        raise ValueError("a secret key has 32 bytes")
    return SecretKey(_DOOR, bytes(secret))


def release(key: SecretKey) -> bytes:
    """The raw 32 bytes behind a handle. Importing this is what the census test counts."""
    return key._secret
