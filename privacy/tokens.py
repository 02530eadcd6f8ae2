"""Handles <-> tokens of a domain: one AES-256 block each, so no two people ever share a token.

The block cipher is a keyed permutation of 16-byte random handles. It stays private to this module: on
anything longer or structured it would be ECB mode.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privacy.classification import DOMAIN_CODES, Purpose
from privacy.errors import BadInput, Refused
from privacy.identifiers import canonical_ids
from privacy.secret_key_access import SecretKey, release
from privacy.token_text import DecodedTokens, Token, decode, encode, parse_token

if TYPE_CHECKING:
    from privacy.audit import AuditLog
    from privacy.keyring import Keyring, SealedKeyring
    from privacy.keyset import TokenKeys
    from privacy.policy import Policy, Principal
    from privacy.vault import Vault

__all__ = [
    "Pseudonymiser",
    "Token",
    "handles_to_tokens",
    "parse_token",
    "rekey",
    "stored_tokens",
    "tokens_to_handles",
    "translate",
    "valid_tokens",
]

Blocks = npt.NDArray[np.uint8]
_CHUNK: Final = 8192
_OWN_PURPOSE: Final = "tokens-of-the-callers-purpose"


def handles_to_tokens(
    keyring: Keyring | SealedKeyring,
    handles: Blocks,
    domain: str,
    valid: npt.NDArray[np.bool_] | None = None,
    *,
    key_id: str | None = None,
) -> pa.Array:
    """(n, 16) uint8 handles -> n tokens of `domain`, null where `valid` is False.

    They are made by the domain's primary key, or by the one of `key_id`, which a store that was written under it
    is asked with; BadInput when that key isn't enabled here.
    """
    keys = keyring.token_keys(domain)
    chosen = key_id or keys.primary
    if chosen not in keys.by_id:
        raise BadInput(f"key {chosen} of domain {domain} is not enabled", remedy="see custos keys list")
    return encode(_permute(keys.by_id[chosen], handles), domain, chosen, valid)


def stored_tokens(keyring: Keyring, handle: bytes, domain: str) -> tuple[str, ...]:
    """One person's token under every key that still has its bytes, disabled ones too: what erasure looks for."""
    block = np.frombuffer(handle, np.uint8).reshape(1, 16)
    keys = keyring.token_keys(domain, disabled=True)
    order = sorted(keys.by_id, key=lambda key_id: (key_id != keys.primary, key_id))
    return tuple(str(encode(_permute(keys.by_id[key_id], block), domain, key_id)[0].as_py()) for key_id in order)


def tokens_to_handles(
    keyring: Keyring | SealedKeyring, tokens: pa.Array, domain: str
) -> tuple[Blocks, npt.NDArray[np.bool_]]:
    """(n, 16) uint8 handles and which rows have one; False for null, mistyped, foreign or unknown-key rows."""
    keys = keyring.token_keys(domain)
    return _decrypted(keys, decode(_one_array(tokens), domain))


def translate(keyring: Keyring | SealedKeyring, tokens: pa.Array, from_domain: str, to_domain: str) -> pa.Array:
    """The same people's tokens in another domain, without the vault; nulls stay null.

    Raises BadInput with the number of tokens that are mistyped or of another domain, or of a key that isn't
    enabled in this keyring.
    """
    handles, known = _all_handles(keyring, _one_array(tokens), from_domain)
    return handles_to_tokens(keyring, handles, to_domain, None if known.all() else known)


def rekey(keyring: Keyring | SealedKeyring, tokens: pa.Array, domain: str) -> pa.Array:
    """The same people's tokens under the domain's primary key, without the vault or any id; nulls stay null.

    Raises BadInput with the number of invalid tokens, those of a disabled or destroyed key among them.
    """
    return translate(keyring, tokens, domain, domain)


def valid_tokens(tokens: pa.Array, domain: str) -> npt.NDArray[np.bool_]:
    """(n,) bool: well-formed tokens of `domain` with a right check byte; needs no key."""
    if domain not in DOMAIN_CODES:
        raise BadInput("unknown token domain", remedy=f"use one of {', '.join(sorted(DOMAIN_CODES))}")
    return decode(_one_array(tokens), domain).ok


class Pseudonymiser:
    """Ids to tokens and, for whom the policy allows it, back; `policy` is the built-in one by default.

    Without an `audit` log nothing is audited; a home's parts are always made with its log.
    """

    def __init__(
        self,
        keyring: Keyring,
        vault: Vault,
        *,
        policy: Policy | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        self._keyring, self._vault, self._policy, self._audit = keyring, vault, policy, audit

    def pseudonymise(self, ids: pa.Array, domain: str) -> pa.Array:
        """Tokens of `domain` for integer or text ids, registering those not seen before; nulls stay null.

        Raises Refused, and registers nobody, while ids of erased people are among them; somebody who came back
        is registered by a row dated after the erasure (`Vault.tombstoned`, `Vault.register`).
        """
        self._keyring.token_keys(domain)  # refuse an unknown domain before anything is stored
        source = _one_array(ids)
        canonical = canonical_ids(source)  # and ids that aren't any
        erased = int(self._vault.tombstoned(canonical).sum())
        if erased:
            raise Refused(f"{erased} of {len(source)} ids belong to erased people", remedy="leave them out")
        if not canonical.null_count:
            return handles_to_tokens(self._keyring, self._vault.register(source), domain)
        present = canonical.is_valid().to_numpy(zero_copy_only=False)
        handles = np.zeros((len(source), 16), np.uint8)
        if present.any():
            handles[present] = self._vault.register(source.filter(pa.array(present)))
        return handles_to_tokens(self._keyring, handles, domain, present)

    def translate(self, tokens: pa.Array, from_domain: str, to_domain: str) -> pa.Array:
        """As the function `translate`, with this keyring."""
        return translate(self._keyring, tokens, from_domain, to_domain)

    def rekey(self, tokens: pa.Array, domain: str) -> pa.Array:
        """As the function `rekey`, with this keyring."""
        return rekey(self._keyring, tokens, domain)

    def reidentify(
        self, tokens: pa.Array, domain: str, principal: Principal, purpose: Purpose, reason: str
    ) -> pa.Array:
        """The source ids behind tokens, typed as in the source; null for null tokens and the erased, also
        while the erasure is under way.

        Raises Refused unless the policy lets `principal` identify for `purpose`, whose domain the tokens must
        be of; BadInput without a reason, or with the number of invalid tokens. Whatever the outcome, the audit
        log that this was made with gets one event: how many people, a commitment to their tokens, and the
        reference of a single one who was identified.
        """
        array = _one_array(tokens)
        policy = self._policy or _built_in_policy()
        decision = policy.decide(principal, "identify", "vault")
        fitting = principal.purpose == purpose and domain == purpose.value
        note = partial(self._note, array, principal, reason)
        if not decision.allowed:
            note(decision.outcome, decision.rule)
            policy.require(principal, "identify", "vault")
        if not fitting:
            note("deny", _OWN_PURPOSE)
            raise Refused(
                f"role {principal.role} may identify {purpose} tokens for that purpose only, "
                f"not tokens of domain {domain} (rule {_OWN_PURPOSE})",
                remedy="ask with the purpose that the tokens were issued for",
            )
        if not reason.strip():
            note("deny", "reason-required")
            raise BadInput("a reason is required", remedy="say why these people must be identified")
        handles, known = self._resolved(array, domain, note)
        people = np.unique(handles[known], axis=0)
        single = self._vault.audit_references(people)[0] if len(people) == 1 else ""
        note(decision.outcome, decision.rule, single or None)
        ids = self._vault.source_ids(handles)
        known &= ~self._vault.tombstoned(ids)
        return ids.take(pa.array(np.arange(len(array)), mask=~known))

    def _resolved(
        self, array: pa.Array, domain: str, note: Callable[[str, str], None]
    ) -> tuple[Blocks, npt.NDArray[np.bool_]]:
        """Handles and which rows have one; BadInput, once noted, when a token isn't valid."""
        try:
            return _all_handles(self._keyring, array, domain)
        except BadInput:
            note("deny", "valid-tokens-only")
            raise

    def _note(
        self,
        tokens: pa.Array,
        principal: Principal,
        reason: str,
        outcome: str,
        rule: str,
        reference: str | None = None,
    ) -> None:
        if self._audit is None:
            return
        from privacy.audit import commitment  # who only makes tokens shouldn't pay for the log

        named = [str(token) for token in tokens.drop_null().unique().to_pylist()]
        self._audit.append(
            action="identify",
            principal=principal,
            resource="vault",
            outcome=outcome,
            rule=rule,
            count=len(named),
            reference=reference,
            commitment=commitment(named),
            detail={"reason": reason},
        )


def _built_in_policy() -> Policy:
    from privacy.policy import Policy  # the policy reads YAML; who only makes tokens shouldn't pay for it

    return Policy.load()


def _decrypted(keys: TokenKeys, parts: DecodedTokens) -> tuple[Blocks, npt.NDArray[np.bool_]]:
    known = np.zeros(len(parts.ok), np.bool_)
    handles = np.zeros((len(parts.ok), 16), np.uint8)
    for key_id in parts.key_ids():
        key = keys.by_id.get(key_id)
        if key is None:
            continue
        same = parts.of_key(key_id)
        if same.all():  # the usual case needs no picking of rows
            return _permute(key, parts.blocks, backwards=True), same
        handles[same] = _permute(key, parts.blocks[same], backwards=True)
        known |= same
    return handles, known


def _all_handles(
    keyring: Keyring | SealedKeyring, tokens: pa.Array, domain: str
) -> tuple[Blocks, npt.NDArray[np.bool_]]:
    """The handles of all tokens but nulls, and which rows those are; BadInput with how many have none, and why."""
    keys = keyring.token_keys(domain)  # refuses an unknown domain
    parts = decode(tokens, domain)
    handles, known = _decrypted(keys, parts)
    bad = len(tokens) - tokens.null_count - int(parts.ok.sum())
    if bad:
        raise BadInput(
            f"{bad} of {len(tokens)} tokens are not valid {domain} tokens",
            remedy=f"give tokens that begin with {DOMAIN_CODES[domain]}_ as they were issued",
        )
    closed = int((parts.ok & ~known).sum())
    if closed:
        raise BadInput(
            f"{closed} of {len(tokens)} tokens were made by a key of {domain} that isn't enabled here",
            remedy="custos keys list shows each key's state: enable that key, or take tokens of the primary one",
        )
    return handles, known


def _one_array(given: pa.Array | pa.ChunkedArray) -> pa.Array:
    array = given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _permute(key: SecretKey, blocks: Blocks, *, backwards: bool = False) -> Blocks:
    """AES-256 on each 16-byte row, chunk by chunk (FIPS 197)."""
    cipher = Cipher(algorithms.AES256(release(key)), modes.ECB())  # noqa: S305 - one random block a person
    context = cipher.decryptor() if backwards else cipher.encryptor()
    room = np.empty(blocks.size + 15, np.uint8)  # as `update_into` wants it
    for start in range(0, len(blocks), _CHUNK):
        part = np.ascontiguousarray(blocks[start : start + _CHUNK])
        context.update_into(part.data.cast("B"), room[16 * start :].data)
    return room[: blocks.size].reshape(-1, 16)
