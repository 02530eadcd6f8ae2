"""What opens a home: its keyrings, made on the first run, and its vault."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from mlproject.home_paths import HomePaths
from mlproject.settings import Guard, VaultPlaces, environment
from privacy.classification import Purpose
from privacy.durable import expanded, locked
from privacy.errors import EnvironmentFailed

if TYPE_CHECKING:
    from privacy.keyring import Keyring, SealedKeyring
    from privacy.kms import Kms
    from privacy.vault import Vault

__all__ = ["SERVED_PURPOSES", "begin_to_open", "open_vault", "opener", "root_keyring"]

SERVED_PURPOSES: Final = tuple(
    purpose.value for purpose in (Purpose.RETENTION, Purpose.VALUE, Purpose.RESEARCH, Purpose.MARKETING)
)


def opener(which: Literal["root", "service"], paths: HomePaths, guard: Guard, *, create: bool = False) -> Kms:
    """Return what opens the root keyring or the service's, as the settings say; `create` makes a missing file."""
    from privacy.kms import FileKms, LocalKms

    place = guard.root if which == "root" else guard.service
    if guard.kind == "environment":
        usual = "CUSTOS_PASSPHRASE" if which == "root" else "CUSTOS_SERVICE_PASSPHRASE"
        return LocalKms.from_environment(place or usual, environment())
    if guard.kind == "key_file":
        file = expanded(Path(place)) if place else paths.root / "keys" / f"{which}.key"
        return FileKms.from_file(file, create=create)
    own = paths.passphrase if which == "root" else paths.service_passphrase
    return LocalKms.from_file(expanded(Path(place)) if place else own, create=create)


def root_keyring(paths: HomePaths, guard: Guard) -> Keyring:
    """Return the root keyring; make it with its passphrase file and the service's sub-keyring on the first run.

    Raises:
        EnvironmentFailed: the keyring is gone though the home holds data.
    """
    from privacy.audit import AuditLog
    from privacy.keyring import Keyring
    from privacy.suppression import SuppressionList

    # A lock of its own: whoever makes the keyring may already hold the home's.
    with locked(paths.keyring.with_suffix(".lock")):
        paths.root.chmod(0o700)
        first = not paths.keyring.exists()
        if first and any(path.exists() for path in (paths.state, paths.vault, paths.audit, paths.protected)):
            remedy = "restore it from its backup; without it nobody in the vault can be found"
            raise EnvironmentFailed("the keyring is gone", where=str(paths.keyring), remedy=remedy)
        kms = opener("root", paths, guard, create=first)
        keyring = Keyring.create(paths.keyring, kms) if first else Keyring.open(paths.keyring, kms)
        if not paths.service_keyring.exists():
            service = opener("service", paths, guard, create=True)
            if not paths.state.exists():
                AuditLog.begin(paths.audit, keyring)
                SuppressionList.begin(paths.suppression, keyring)
            keyring.seal(paths.service_keyring, service, SERVED_PURPOSES)
    return keyring


class _Keyrings(Protocol):
    """A home, as far as its keyrings go."""

    paths: HomePaths

    @property
    def keyring(self) -> Keyring: ...
    @property
    def sealed(self) -> SealedKeyring: ...


def begin_to_open(house: _Keyrings) -> None:
    """Begin to open both keyrings, each in a thread: that takes its time on purpose (Argon2id).

    What hinders one is told when it is asked for.
    """
    if house.paths.keyring.exists():
        pool = ThreadPoolExecutor(2, thread_name_prefix="keys")
        for name in ("keyring", "sealed"):
            pool.submit(getattr, house, name)
        pool.shutdown(wait=False)


def open_vault(paths: HomePaths, places: VaultPlaces, keyring: Keyring, *, create: bool) -> Vault:
    """Return the vault and its key store, in the home's files or wherever the settings say; its lookup stays here."""
    from privacy.vault import Vault

    database = places.database or f"sqlite:///{paths.vault}"
    key_store = places.key_store or f"sqlite:///{paths.key_store}"
    return Vault.open(database, keyring, key_store, index=paths.vault.with_suffix(".index"), create=create)
