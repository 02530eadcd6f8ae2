"""Who is calling: a signed bearer token (JWT, EdDSA: RFC 7519, RFC 8037, RFC 8725) becomes a `Principal`.

The algorithm is fixed, the key is the keyset's own, and every claim is required and checked; nothing of
a refused token is ever quoted. Only the root keyring can sign, the service can only verify.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt import PyJWS
from jwt.exceptions import PyJWTError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from privacy.classification import Purpose, Role
from privacy.errors import BadInput
from privacy.policy import Principal

__all__ = [
    "AUDIENCE",
    "MAX_TTL",
    "BearerKeys",
    "BearerRefused",
    "BearerSigner",
    "Verifier",
    "grant",
]

AUDIENCE: Final = "custos-api"
MAX_BEARER_BYTES: Final = 2048
"""Longer bearers are refused unread; ours are about 500 bytes."""
MAX_TTL: Final = timedelta(days=366)
CACHE_SIZE: Final = 1024
_ALGORITHM: Final = "EdDSA"
_NAME: Final = "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"

BearerCode = Literal["bearer_missing", "bearer_invalid", "bearer_expired"]


class _Signer(Protocol):
    def sign(self, message: bytes) -> bytes: ...


class BearerKeys(Protocol):
    """What verifying needs of a keyring, root or sealed: the keyset's name and public key (32 bytes)."""

    @property
    def keyset_id(self) -> str: ...
    @property
    def bearer_public_key(self) -> bytes: ...


class BearerSigner(BearerKeys, Protocol):
    """What granting needs of the root keyring."""

    @property
    def bearer_signer(self) -> _Signer: ...


class BearerRefused(BadInput):
    """A bearer token that doesn't count; `code` is the API's stable problem code."""

    def __init__(self, code: BearerCode, what: str) -> None:
        self.code: BearerCode = code
        super().__init__(what, remedy="ask for a new one: custos access grant")


class _Claims(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, frozen=True)

    iss: str
    aud: str
    sub: Annotated[str, Field(pattern=_NAME)]
    role: Role
    purpose: Purpose | None
    iat: int
    nbf: int
    exp: int
    jti: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


def _issuer(keys: BearerKeys) -> str:
    return f"custos:{keys.keyset_id}"


def _segment(part: bytes) -> bytes:
    return urlsafe_b64encode(part).rstrip(b"=")


def grant(keyring: BearerSigner, name: str, role: Role, purpose: Purpose | None, ttl: timedelta, now: datetime) -> str:
    """Sign a bearer token for `name`, valid from `now` (time zone aware, real time) for `ttl`.

    Raises BadInput for an unusable name and for a `ttl` outside (0, 366 days].
    """
    if not re.fullmatch(_NAME, name):
        raise BadInput(
            "the user's name can't be used",
            remedy="1 to 64 letters, digits or . _ @ + -, a letter or digit first",
        )
    if not timedelta(seconds=1) <= ttl <= MAX_TTL:
        raise BadInput("the bearer's life is out of range", remedy="between one second and 366 days")
    start = int(now.timestamp())
    claims = {
        "iss": _issuer(keyring),
        "aud": AUDIENCE,
        "sub": name,
        "role": role.value,
        "purpose": None if purpose is None else purpose.value,
        "iat": start,
        "nbf": start,
        "exp": start + int(ttl.total_seconds()),
        "jti": secrets.token_hex(16),
    }
    header = {"alg": _ALGORITHM, "typ": "JWT"}
    signed = b".".join(_segment(json.dumps(part, separators=(",", ":")).encode("ascii")) for part in (header, claims))
    return (signed + b"." + _segment(keyring.bearer_signer.sign(signed))).decode("ascii")


class Verifier:
    """Checks bearer tokens; those already verified cost one SHA-256 and a look at their expiry.

    Thread-safe. The cache holds hashes of tokens, never tokens, and at most `CACHE_SIZE` of them.
    """

    def __init__(self, keyring: BearerKeys, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._issuer = _issuer(keyring)
        self._key = Ed25519PublicKey.from_public_bytes(keyring.bearer_public_key)
        self._jws = PyJWS(algorithms=[_ALGORITHM])
        self._now = now
        self._seen: OrderedDict[bytes, tuple[Principal, int, int]] = OrderedDict()
        self._lock = threading.Lock()

    def verify(self, bearer: str) -> Principal:
        """Return who `bearer` speaks for; raises BearerRefused (missing, invalid or expired)."""
        if not bearer:
            raise BearerRefused("bearer_missing", "no bearer token was given")
        if len(bearer) > MAX_BEARER_BYTES or not bearer.isascii():
            raise BearerRefused("bearer_invalid", "the bearer token is not one of ours")
        key = hashlib.sha256(bearer.encode("ascii")).digest()
        with self._lock:
            known = self._seen.get(key)
            if known is not None:
                self._seen.move_to_end(key)
        principal, not_before, expiry = known or self._read(bearer)
        self._check_time(not_before, expiry)
        if known is None:
            with self._lock:
                self._seen[key] = (principal, not_before, expiry)
                while len(self._seen) > CACHE_SIZE:
                    self._seen.popitem(last=False)
        return principal

    def _check_time(self, not_before: int, expiry: int) -> None:
        now = self._now().timestamp()
        if now >= expiry:
            raise BearerRefused("bearer_expired", "the bearer token has expired")
        if now < not_before:
            raise BearerRefused("bearer_invalid", "the bearer token is not valid yet")

    def _read(self, bearer: str) -> tuple[Principal, int, int]:
        invalid = BearerRefused("bearer_invalid", "the bearer token is not one of ours")
        try:
            token = self._jws.decode_complete(bearer, self._key, algorithms=[_ALGORITHM])
            if not set(token["header"]) <= {"alg", "typ", "kid"}:
                raise invalid
            claims = _Claims.model_validate_json(token["payload"])
        except (PyJWTError, ValidationError, ValueError):
            raise invalid from None  # the cause may quote the token
        if claims.iss != self._issuer or claims.aud != AUDIENCE or claims.exp <= claims.nbf:
            raise invalid
        return Principal(claims.sub, claims.role, claims.purpose), claims.nbf, claims.exp
