"""The keyring's life: made, listed, rotated, its keys disabled and destroyed, sub-keyrings sealed; all audited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privacy.classification import FEATURE_STORE, Purpose
from privacy.errors import BadInput

if TYPE_CHECKING:
    from mlproject.wiring import House
    from privacy.keyset import KeyState
    from privacy.policy import Decision

__all__ = ["change_state", "create_keys", "list_keys", "rotate_keys", "seal_keys"]

RESOURCE = "keyring"


def create_keys(house: House) -> Iterator[str]:
    """Make the home's keyring, its audit log and the service's sub-keyring; BadInput where there is one."""
    if house.paths.keyring.exists():
        raise BadInput("a keyring exists already", where=str(house.paths.keyring), remedy="see custos keys list")
    decision = house.permit("keys.manage", RESOURCE)
    house.paths.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    keyring = house.keyring
    house.note(decision, "keys.manage", RESOURCE, detail={"step": "create", "keyset": keyring.keyset_id})
    yield f"keyset {keyring.keyset_id} in {house.paths.keyring}"
    yield f"It opens with {_opened_with(house)}; keep a copy of both, apart from each other: without them all is lost."


def list_keys(house: House) -> list[dict[str, Any]]:
    """Return every key with its state, who holds it and which stores were written under it."""
    house.permit("keys.read", RESOURCE)
    served = house.sealed.token_keys(FEATURE_STORE).by_id
    used = _used(house)
    return [
        {
            "key": info.key_id,
            "version": info.version,
            "state": info.state.value,
            "created_at": info.created_at,
            "changed_at": info.changed_at,
            "service_holds_it": info.key_id in served,
            "stores": used.get(info.key_id, []),
        }
        for info in house.keyring.keys
    ]


def rotate_keys(house: House) -> Iterator[str]:
    """Add a primary key; the stores go on under the former one until they are written again."""
    decision = house.permit("keys.manage", RESOURCE)
    _check_begun(house)
    with house.lock(), _audited(house, decision, step="rotate") as detail:
        fresh = house.keyring.rotate()
        detail["key"] = fresh.key_id
        _seal_service(house)
    yield f"key {fresh.key_id} (version {fresh.version}) makes new tokens; older ones go on being read"
    yield "Next: `custos run DATASET` writes the stores under it; restart `custos serve`; then disable the former key."


def change_state(house: House, key_id: str, state: KeyState, *, in_use: bool = False) -> Iterator[str]:
    """Disable, enable or destroy a key; refused while a store was written under it, unless `in_use` lets it."""
    decision = house.permit("keys.manage", RESOURCE)
    _check_begun(house)
    with house.lock():
        stores = [] if state.value == "enabled" else _used(house).get(key_id, [])
        if stores and not in_use:
            raise BadInput(
                f"{', '.join(stores)} hold tokens under key {key_id}",
                remedy="write them anew with `custos run DATASET`, what waits with `custos push --inbox`, then repeat",
            )
        with _audited(house, decision, step=state.value, key=key_id):
            house.keyring.set_state(key_id, state)
            _seal_service(house)
    yield f"key {key_id} is {state}"
    if stores:
        yield f"{', '.join(stores)} can't be read until `custos run DATASET` wrote them anew"
    yield "Restart `custos serve`: a running service goes on with the keys it began with."


def seal_keys(house: House, purposes: Sequence[str], out: Path | None) -> Iterator[str]:
    """Write a sub-keyring of chosen purposes to `out`, or the service's own again; its passphrase lies beside."""
    from privacy.kms import LocalKms

    decision = house.permit("keys.manage", RESOURCE)
    _check_begun(house)
    named = sorted(purposes) or _served(house)
    if out is None:
        target = house.paths.service_keyring
        with _audited(house, decision, step="seal", purposes=named):
            _seal_service(house, named)
    else:
        if not purposes:
            raise BadInput("no purpose is named", remedy="give --purpose, once for each")
        target = out.absolute()
        if not target.parent.is_dir():
            raise BadInput("no such folder", where=str(out.parent), remedy="make it first, or name another --out")
        if target.resolve().is_relative_to(house.paths.root.resolve()):
            raise BadInput("this file is the home's own", where=str(out), remedy="name another --out")
        kms = LocalKms.from_file(target.with_name(f"{target.name}.passphrase"), create=True)
        with _audited(house, decision, step="seal", purposes=named):
            house.keyring.seal(target, kms, purposes)
    yield f"{target}: keys of {', '.join(named)}, the feature store and the audit log; no root key, no vault key"
    if out is not None:
        yield f"It opens with the first line of {target.name}.passphrase."


@contextmanager
def _audited(house: House, decision: Decision, **detail: Any) -> Iterator[dict[str, Any]]:
    """Note what is about to be done, then that it was: killed in between, the log tells of it all the same."""
    house.note(decision, "keys.manage", RESOURCE, detail={**detail, "stage": "begun"})
    yield detail
    house.note(decision, "keys.manage", RESOURCE, detail={**detail, "stage": "done"})


def _check_begun(house: House) -> None:
    """A mistyped --home must not be filled with keys of its own."""
    if not house.paths.keyring.exists() and not house.paths.audit.exists():
        remedy = "check --home, or make them with `custos keys create`"
        raise BadInput("this home has no keys yet", where=str(house.paths.root), remedy=remedy)


def _seal_service(house: House, purposes: Sequence[str] | None = None) -> None:
    house.keyring.seal(house.paths.service_keyring, house.kms("service", create=True), purposes or _served(house))
    house.forget_sealed()


def _served(house: House) -> list[str]:
    return sorted(domain for domain in house.sealed.domains if domain in set(Purpose))


def _used(house: House) -> dict[str, list[str]]:
    """Key id -> the stores whose tokens it made; of one destroyed nobody finds a person's rows again."""
    from features.inbox import Inbox

    used: dict[str, list[str]] = {}
    if house.paths.state.exists():
        for store, key_id in house.gateway.stored_keys().items():
            used.setdefault(key_id, []).append(store)
    inbox = Inbox(house.paths.inbox)
    for key_id in sorted(inbox.key_ids()):
        used.setdefault(key_id, []).append(f"events in the {inbox.name}")
    return used


def _opened_with(house: House) -> str:
    guard = house.settings.kms
    if guard.kind == "environment":
        return f"the environment variable {guard.root or 'CUSTOS_PASSPHRASE'}"
    usual = house.paths.passphrase if guard.kind == "passphrase" else house.paths.root / "keys" / "root.key"
    return guard.root or str(usual)
