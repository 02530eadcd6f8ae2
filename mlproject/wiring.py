"""The one composition root: a home's parts, each built when first asked for."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlproject.home_keys import open_vault, opener, root_keyring
from mlproject.home_paths import HomePaths
from mlproject.pipelines.targets import field_types
from mlproject.settings import Settings, environment, find_home, load_settings, project_run, quiet_environment
from mlproject.state import HomeState, load_state
from privacy.classification import LawfulBasis, Purpose
from privacy.durable import locked
from privacy.errors import BadInput, EnvironmentFailed
from privacy.policy import Decision, Policy, Principal

if TYPE_CHECKING:
    from features.datasets.descriptor import Descriptor
    from features.engine import Engine
    from features.gateway import FeatureGateway
    from features.gateway_types import GatewayPaths
    from features.inference_evidence import InferenceEvidence
    from features.inference_flags import InferenceFlags
    from features.quarantine import Quarantine
    from privacy.audit import AuditLog
    from privacy.consent import ConsentLedger
    from privacy.keyring import Keyring, SealedKeyring
    from privacy.kms import Kms
    from privacy.rights import Rights, SubjectStore
    from privacy.suppression import SuppressionList
    from privacy.vault import Vault
    from serving.parts import ServingParts
    from training.registry import Registry
    from training.tracking import Tracker

__all__ = ["House", "build_serving"]

UNUSABLE = frozenset("?%*[]{}$;\\")
_now = partial(datetime.now, UTC)


class House:
    """Everything one home is made of.

    The root keyring opens only for what registers, identifies or erases people; all else works with the sealed
    sub-keyring, as the prediction service does.
    """

    def __init__(
        self,
        paths: HomePaths,
        settings: Settings,
        now: Callable[[], datetime] = _now,
        project: tuple[str, str] | None = None,
    ) -> None:
        self.paths, self.settings, self.now = paths, settings, now
        self._opened = paths.written()
        self.project = project
        """Tracking URI and run id of the `mlflow run` that started us, if one did."""

    @classmethod
    def open(cls, home: Path | None = None) -> House:
        """Return the house at `home`, or where settings say it is; nothing is created yet."""
        paths = HomePaths(find_home(home))
        if unusable := sorted(UNUSABLE & set(str(paths.root))):
            # Addresses of databases and patterns of files are made of it.
            what = f"the home's path holds {' '.join(unusable)}, which can't be used there"
            raise BadInput(what, where=str(paths.root), remedy="name another --home")
        return cls(paths, load_settings(paths.settings), project=project_run())

    def renewed(self) -> House:
        """Return this house, or the home opened anew if its keys, settings, policy or vault were changed since."""
        return self if self._opened == self.paths.written() else House.open(self.paths.root)

    def lock(self) -> AbstractContextManager[None]:
        """Hold this home against other writing jobs."""
        return locked(self.paths.lock)

    def operator(self, purpose: str | None = None) -> Principal:
        """Return the local operator, acting for a purpose."""
        return Principal(self.settings.operator, self.settings.role, Purpose(purpose) if purpose else None)

    @property
    def state(self) -> HomeState:
        """What the home remembers; BadInput where nothing was ingested."""
        return load_state(self.paths.state)

    @property
    def descriptor(self) -> Descriptor:
        """The kept descriptor of the home's dataset."""
        from features.datasets.descriptor import load_descriptor

        kept = self.kept_descriptor(self.state.dataset)
        try:
            return load_descriptor(str(kept))
        except BadInput:
            what = f"the kept descriptor is {'damaged' if kept.exists() else 'gone'}"
            remedy = "run `custos ingest` on the source again, which keeps it anew"
            raise EnvironmentFailed(what, where=str(kept), remedy=remedy) from None

    def kept_descriptor(self, dataset: str) -> Path:
        """Where the descriptor of the ingested dataset is kept."""
        return self.paths.descriptors / f"{dataset}.yaml"

    def kms(self, which: Literal["root", "service"], *, create: bool = False) -> Kms:
        """Return what opens the root keyring or the service's, as the settings say; `create` makes a missing file."""
        return opener(which, self.paths, self.settings.kms, create=create)

    @cached_property
    def keyring(self) -> Keyring:
        """The root keyring; made with its passphrase file and the service's sub-keyring on the first run."""
        return root_keyring(self.paths, self.settings.kms)

    @cached_property
    def sealed(self) -> SealedKeyring:
        """The sub-keyring: token keys of the served purposes, audit signing, suppression; no root key."""
        from privacy.keyring import SealedKeyring

        if not self.paths.service_keyring.exists():
            if self.paths.keyring.exists() or self.paths.state.exists():
                where, remedy = str(self.paths.service_keyring), "restore it from its backup, or run `custos keys seal`"
                raise EnvironmentFailed("the service's keyring is gone", where=where, remedy=remedy)
            remedy = "begin with `custos run DATASET`"
            raise BadInput("this home has no keys yet", where=str(self.paths.root), remedy=remedy)
        return SealedKeyring.open(self.paths.service_keyring, self.kms("service"))

    def forget_sealed(self) -> None:
        """Open the sub-keyring, and what was built on it, again at the next use: it was sealed anew."""
        for name in ("sealed", "audit", "suppression", "consents", "policy", "gateway", "rights"):
            self.__dict__.pop(name, None)

    @cached_property
    def vault(self) -> Vault:
        """The vault; when it came from a backup and had to catch up with erasures, the log says so."""
        # Once people were ingested, a missing vault is a loss to be told, not a new one to be made.
        create = not self.paths.state.exists()
        vault = open_vault(self.paths, self.settings.vault, self.keyring, create=create)
        weakref.finalize(self, vault.close)  # folds SQLite's logs into the files, which somebody may then copy
        if vault.replayed:
            rule, count = "a-restored-vault-replays-erasures", vault.replayed
            self.audit.append(
                action="replay", principal=self.operator(), resource="vault", outcome="allow", rule=rule, count=count
            )
        return vault

    @cached_property
    def policy(self) -> Policy:
        own = self.paths.policy if self.paths.policy.exists() else None
        return Policy.load(own, self.settings.lawful_bases, field_types(), ledger=self.paths.consents.exists())

    def lawful_bases(self) -> dict[str, LawfulBasis]:
        """Return each purpose's lawful basis."""
        return {purpose.value: self.policy.lawful_basis(purpose) for purpose in Purpose}

    def permit(self, action: str, resource: str, purpose: str | None = None) -> Decision:
        """Return the policy's decision for the operator, or raise Refused; a refusal is audited.

        Whatever will be audited is refused while the log can't take an event; only reading goes on then.
        """
        principal = self.operator(purpose)
        decision = self.policy.decide(principal, action, resource)
        if self.paths.service_keyring.exists() and not action.endswith(".read"):
            self.audit.check()
        if not decision.allowed and self.paths.service_keyring.exists():
            self.note(decision, action, resource, purpose)
        return self.policy.require(principal, action, resource)

    def note(self, decision: Decision, action: str, resource: str, purpose: str | None = None, **more: Any) -> None:
        """Audit what was decided and done; `more` are the count, commitment and detail of the event."""
        who, outcome, rule = self.operator(purpose), decision.outcome, decision.rule
        self.audit.append(action=action, principal=who, resource=resource, outcome=outcome, rule=rule, **more)

    @cached_property
    def audit(self) -> AuditLog:
        from privacy.audit import AuditLog

        return AuditLog(self.paths.audit, self.sealed, must_exist=True)

    @cached_property
    def suppression(self) -> SuppressionList:
        from privacy.suppression import SuppressionList

        return SuppressionList(self.paths.suppression, self.sealed, must_exist=True)

    @cached_property
    def consents(self) -> ConsentLedger:
        from privacy.consent import ConsentLedger

        return ConsentLedger(self.paths.consents, self.sealed, self.now)

    @cached_property
    def stores(self) -> GatewayPaths:
        """Where the protected tables, the feature tables and Feast's files are."""
        from features.gateway_types import GatewayPaths

        paths = self.paths
        online = self.settings.online.address(environment()) or f"sqlite:///{paths.feast_online}"
        return GatewayPaths(paths.protected, paths.features, registry=paths.feast_registry, online=online)

    @cached_property
    def engine(self) -> Engine:
        return self.settings.engine.engine(environment())

    @cached_property
    def quarantine(self) -> Quarantine:
        from features.quarantine import Quarantine

        return Quarantine(self.paths.quarantine, self.keyring)

    @cached_property
    def inference_flags(self) -> InferenceFlags:
        from features.inference_flags import InferenceFlags

        return InferenceFlags(self.paths.inference_flags, self.keyring)

    @cached_property
    def inference_evidence(self) -> InferenceEvidence:
        from features.inference_evidence import InferenceEvidence

        store = self.stores.feature_store(self.state.dataset)
        return InferenceEvidence(self.inference_flags, store, self.policy, self.audit)

    @cached_property
    def gateway(self) -> FeatureGateway:
        from features.gateway import FeatureGateway, GatewaySettings

        marked = lambda: tuple(self.descriptor.inference)  # noqa: E731 - read when a question needs it
        settings = GatewaySettings(self.stores, self.settings.fresh_days, marked, self.engine)
        return FeatureGateway(settings, self.sealed, self.policy, self.audit, self.suppression, self.consents)

    @cached_property
    def registry(self) -> Registry:
        from training.registry import Registry

        return Registry(f"sqlite:///{self.paths.mlflow_database}")

    @cached_property
    def tracker(self) -> Tracker:
        from training.tracking import Tracker

        return Tracker(f"sqlite:///{self.paths.mlflow_database}", self.paths.mlflow_artifacts)

    @cached_property
    def rights(self) -> Rights:
        from features.inbox import Inbox
        from privacy.rights import Rights

        self._require_stores()
        sealed: list[SubjectStore] = [self.quarantine, self.inference_flags, self.consents, Inbox(self.paths.inbox)]
        stores = [*sealed, *self.gateway.subject_stores()]
        return Rights(
            self.vault, self.keyring, self.audit, self.suppression, stores, receipts=self.paths.receipts, now=self.now
        )

    def _require_stores(self) -> None:
        """Refuse to erase while a store is away: the person would come back with it, in spite of the receipt."""
        if not self.paths.state.exists():
            return
        state, remedy = self.state, "put it back, then erase; or run `custos run` on the source again"
        wanted = [self.stores.protected_store(state.dataset)]
        if state.as_of is not None:
            wanted.append(self.stores.feature_store(state.dataset))
        lost = [(f"the {store.name} are", store.root) for store in wanted if store.snapshot() is None]
        if not (self.paths.quarantine / state.dataset).is_dir():
            lost.append(("the quarantine is", self.paths.quarantine))
        if not (flags := self.inference_flags.place(state.dataset)).exists():
            lost.append(("the inference flags are", flags))
        if "consents" in self.descriptor.tables and not self.paths.consents.exists():
            lost.append(("the consent ledger is", self.paths.consents))
        if state.online and not self.gateway.ever_online():
            lost.append(("the online rows are", self.paths.feast_registry.parent))
        if lost:
            what, place = lost[0]
            raise EnvironmentFailed(f"{what} gone", where=str(place), remedy=remedy)


def build_serving(home: Path) -> ServingParts:
    """Return what the prediction service needs; it opens the sealed sub-keyring and nothing of the vault."""
    from mlproject.receiving import receiver_of
    from serving.auth import Verifier
    from serving.champion import ChampionFollower, file_stamp
    from serving.parts import ServingParts
    from serving.predictor import Predictor, Shop

    quiet_environment()
    house = House.open(home)
    descriptor = house.descriptor
    champions = ChampionFollower(house.registry, stamp=file_stamp(house.paths.mlflow_database))
    shop = Shop(currency=descriptor.currency, active_within_days=descriptor.targets.churn.active_within_days)
    predictor = Predictor(house.gateway, house.policy, house.audit, champions, shop)
    return ServingParts(predictor, Verifier(house.sealed), house.policy, champions, receiver=receiver_of(house))
