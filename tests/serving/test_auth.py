"""Bearer tokens: what counts, what doesn't, and that a refusal quotes nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privacy.classification import Purpose, Role
from privacy.errors import BadInput
from privacy.policy import Principal
from serving.auth import CACHE_SIZE, MAX_TTL, BearerRefused, Verifier, grant
from tests.serving.shop import Keys

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def claims_of(bearer: str) -> dict[str, object]:
    part = bearer.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def signed(keys: Keys, claims: dict[str, object], header: dict[str, object] | None = None) -> str:
    """Sign any claims with the real key, so that only the claims can be what is refused."""
    parts = [header or {"alg": "EdDSA", "typ": "JWT"}, claims]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = keys.root.bearer_signer.sign(text)
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("purpose", [*Purpose, None])
def test_what_is_granted_is_verified_by_the_sealed_keyring(keys: Keys, role: Role, purpose: Purpose | None) -> None:
    bearer = grant(keys.root, "crm-1@shop", role, purpose, timedelta(minutes=5), datetime.now(UTC))
    assert Verifier(keys.sealed).verify(bearer) == Principal("crm-1@shop", role, purpose)


def test_other_jwt_libraries_agree(keys: Keys, bearer: Callable[..., str]) -> None:
    raw = keys.sealed.bearer_public_key
    key = jwt.PyJWK({"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()})
    claims = jwt.decode(bearer(), key, algorithms=["EdDSA"], audience="custos-api")
    assert claims["role"] == "crm_service"
    assert claims["iss"] == f"custos:{keys.sealed.keyset_id}"


def test_expiry_and_start_are_checked_on_every_hit_of_the_cache(keys: Keys) -> None:
    clock = Clock()
    verifier = Verifier(keys.sealed, clock)
    bearer = grant(keys.root, "u", Role.ANALYST, Purpose.VALUE, timedelta(seconds=60), NOW)
    verifier.verify(bearer)
    clock.now = NOW + timedelta(seconds=59)
    verifier.verify(bearer)
    clock.now = NOW + timedelta(seconds=60)
    with pytest.raises(BearerRefused) as refused:
        verifier.verify(bearer)
    assert refused.value.code == "bearer_expired"
    clock.now = NOW - timedelta(seconds=1)
    with pytest.raises(BearerRefused) as early:
        verifier.verify(bearer)
    assert early.value.code == "bearer_invalid"


def test_the_cache_is_bounded_and_holds_no_token(keys: Keys) -> None:
    verifier = Verifier(keys.sealed, Clock())
    bearers = [grant(keys.root, f"u{i}", Role.ANALYST, None, timedelta(hours=1), NOW) for i in range(CACHE_SIZE + 5)]
    for bearer in bearers:
        verifier.verify(bearer)
    assert len(verifier._seen) == CACHE_SIZE
    assert all(isinstance(key, bytes) and len(key) == 32 for key in verifier._seen)
    assert verifier.verify(bearers[0]).name == "u0"


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "other"},
        {"aud": ["custos-api", "other"]},
        {"iss": "custos:another"},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": 1},
        {"nbf": 9999999999},
        {"jti": "short"},
        {"role": "root"},
        {"role": ["admin"]},
        {"purpose": "anything"},
        {"sub": "a b\nSet-Cookie: x"},
        {"scope": "more"},
    ],
    ids=lambda change: "-".join(f"{k}" for k in change),
)
def test_every_claim_is_checked_even_when_the_signature_is_right(
    keys: Keys, bearer: Callable[..., str], change: dict[str, object]
) -> None:
    with pytest.raises(BearerRefused):
        Verifier(keys.sealed).verify(signed(keys, claims_of(bearer()) | change))


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "role", "purpose", "iat", "nbf", "exp", "jti"])
def test_no_claim_may_be_missing(keys: Keys, bearer: Callable[..., str], claim: str) -> None:
    claims = claims_of(bearer())
    del claims[claim]
    with pytest.raises(BearerRefused):
        Verifier(keys.sealed).verify(signed(keys, claims))


def test_algorithm_is_fixed(keys: Keys, bearer: Callable[..., str]) -> None:
    claims, public = claims_of(bearer()), keys.sealed.bearer_public_key
    forged = [
        jwt.encode(claims, None, algorithm="none"),
        jwt.encode(claims, public, algorithm="HS256"),  # key confusion
        jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA"),  # another key
        signed(keys, claims, {"alg": "none", "typ": "JWT"}),
        signed(keys, claims, {"alg": "eddsa", "typ": "JWT"}),
        signed(keys, claims, {"alg": "EdDSA", "typ": "JWT", "jwk": {}}),
        signed(keys, claims, {"alg": "EdDSA", "typ": "JWT", "b64": False, "crit": ["b64"]}),
    ]
    for bearer_text in forged:
        with pytest.raises(BearerRefused) as refused:
            Verifier(keys.sealed).verify(bearer_text)
        assert refused.value.code == "bearer_invalid"


def test_a_changed_byte_anywhere_is_refused(keys: Keys, bearer: Callable[..., str]) -> None:
    good, verifier = bearer(), Verifier(keys.sealed)
    for at in range(0, len(good), 7):
        other = "A" if good[at] != "A" else "B"
        with pytest.raises(BearerRefused):
            verifier.verify(good[:at] + other + good[at + 1 :])
    assert verifier.verify(good).name == "tester"


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(max_size=300), st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){0,4}")))
def test_nonsense_is_refused_and_never_quoted(keys: Keys, text: str) -> None:
    with pytest.raises(BearerRefused) as refused:
        Verifier(keys.sealed).verify(text)
    assert refused.value.__cause__ is None
    assert len(text) < 12 or text not in str(refused.value)


def test_oversized_is_refused_unread(keys: Keys) -> None:
    with pytest.raises(BearerRefused) as refused:
        Verifier(keys.sealed).verify("a" * 1_000_000)
    assert refused.value.code == "bearer_invalid"


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "x" * 65, "-x", "名"])
def test_names_that_could_harm_a_log_are_refused(keys: Keys, name: str) -> None:
    with pytest.raises(BadInput):
        grant(keys.root, name, Role.ADMIN, None, timedelta(hours=1), NOW)


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(days=-1), MAX_TTL + timedelta(seconds=1)])
def test_lives_out_of_range_are_refused(keys: Keys, ttl: timedelta) -> None:
    with pytest.raises(BadInput):
        grant(keys.root, "u", Role.ADMIN, None, ttl, NOW)


def test_only_the_root_can_grant(keys: Keys) -> None:
    assert not hasattr(keys.sealed, "bearer_signer")
