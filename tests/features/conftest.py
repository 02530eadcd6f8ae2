"""A home for the features room: real keys, vault, Feast and files; tiny shops."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pytest

from features.build import BuildReport, build
from features.datasets.descriptor import Descriptor, load_descriptor
from features.engine_spark import Spark
from features.gateway import FeatureGateway
from features.gateway_types import GatewayPaths, GatewaySettings
from features.inference_flags import InferenceFlags
from features.ingest import Destinations, ingest
from features.ingest_report import IngestReport
from features.quarantine import Quarantine
from privacy.audit import AuditLog
from privacy.classification import Purpose, Role
from privacy.consent import ConsentLedger
from privacy.keyring import Keyring
from privacy.kms import Argon2Parameters, LocalKms
from privacy.policy import Policy, Principal
from privacy.rights import Subject
from privacy.suppression import SuppressionList
from privacy.tokens import handles_to_tokens, translate
from privacy.treatment import Protector
from privacy.vault import Vault
from tests.packages import command_of, module_of
from tests.shops import make_shop

CHEAP = Argon2Parameters(passes=1, memory_kib=8, lanes=1)
"""So that a test doesn't spend its time in Argon2."""
AS_OF = dt.datetime(2024, 2, 6, tzinfo=dt.UTC)
CUTOFFS = tuple(AS_OF - dt.timedelta(days=28 * back) for back in range(8, 0, -1))
NOW = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Home:
    """What the composition root would build."""

    root: Path
    keyring: Keyring
    vault: Vault

    @classmethod
    def create(cls, root: Path) -> Home:
        (root / "vault").mkdir(parents=True)
        keyring = Keyring.create(root / "keys" / "keyring.json", LocalKms(passphrase="correct horse", parameters=CHEAP))
        return cls(root, keyring, Vault.open(f"sqlite:///{root}/vault/vault.db", keyring))

    @classmethod
    def open(cls, root: Path) -> Home:
        keyring = Keyring.open(root / "keys" / "keyring.json", LocalKms(passphrase="correct horse", parameters=CHEAP))
        return cls(root, keyring, Vault.open(f"sqlite:///{root}/vault/vault.db", keyring))

    @property
    def paths(self) -> GatewayPaths:
        feast = self.root / "feast"
        return GatewayPaths(
            self.root / "protected", self.root / "features", feast / "registry.db", f"sqlite:///{feast}/online.db"
        )

    @property
    def online_file(self) -> Path:
        return self.root / "feast" / "online.db"

    @cached_property
    def audit(self) -> AuditLog:
        return AuditLog(self.root / "audit", self.keyring)

    @cached_property
    def suppression(self) -> SuppressionList:
        return SuppressionList(self.root / "suppression.json", self.keyring)

    @property
    def quarantine(self) -> Quarantine:
        return Quarantine(self.root / "quarantine", self.keyring)

    @property
    def flags(self) -> InferenceFlags:
        return InferenceFlags(self.root / "inference", self.keyring)

    @property
    def consents(self) -> ConsentLedger:
        return ConsentLedger(self.root / "consents.ledger", self.keyring)

    def gateway(self, ttl_days: int = 35, policy: Policy | None = None) -> FeatureGateway:
        settings = GatewaySettings(self.paths, ttl_days=ttl_days)
        parts = (policy or Policy.load(), self.audit, self.suppression, self.consents)
        return FeatureGateway(settings, self.keyring, *parts)

    def ingest(self, descriptor: Descriptor) -> IngestReport:
        into = self.destinations(descriptor)
        return ingest(descriptor, protector=Protector(self.vault, self.keyring), into=into, now=NOW)

    def destinations(self, descriptor: Descriptor) -> Destinations:
        store = self.paths.protected_store(descriptor.name)
        return Destinations(store, self.quarantine, self.flags, self.consents)

    def build(self, descriptor: Descriptor, as_of: dt.datetime = AS_OF) -> BuildReport:
        name = descriptor.name
        stores = (self.paths.protected_store(name), self.paths.feature_store(name))
        return build(descriptor, *stores, CUTOFFS, as_of)

    def subject(self, customer: str) -> Subject:
        ids = pa.array([customer])
        handles, known = self.vault.find(ids)
        assert known.all()
        token = handles_to_tokens(self.keyring, handles, "features")[0].as_py()
        index = self.keyring.index.of_ids(ids)[0].tobytes()
        return Subject((token,), handles[0].tobytes(), (index,))

    def tokens(self, customers: list[str], purpose: str) -> list[str]:
        own = pa.array([self.subject(customer).tokens[0] for customer in customers])
        return translate(self.keyring, own, "features", purpose).to_pylist()


@pytest.fixture(scope="session")
def spark() -> Spark:
    """Spark in this process: what it needs for tables of a hundred rows, no more."""
    module_of("pyspark", "spark")
    command_of("java", "openjdk-17-jre-headless")
    small = {
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    return Spark("local[2]", small)


def principal(role: Role = Role.ADMIN, purpose: Purpose | None = Purpose.RETENTION) -> Principal:
    return Principal("tester", role, purpose)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home.create(tmp_path / "home")
    yield made
    made.vault.close()


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., Descriptor]:
    def make(**options: object) -> Descriptor:
        return load_descriptor(str(make_shop(tmp_path / "shop", **options)))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, FeatureGateway, Descriptor]]:
    """A shop that went the whole way: ingested, built, applied, materialised; tests must not erase in it."""
    root = tmp_path_factory.mktemp("served")
    made = Home.create(root / "home")
    descriptor = load_descriptor(str(make_shop(root / "shop", customers=40)))
    made.ingest(descriptor)
    made.build(descriptor)
    gateway = made.gateway()
    gateway.apply(descriptor)
    gateway.materialize(principal(), AS_OF)
    yield made, gateway, descriptor
    made.vault.close()


@pytest.fixture
def own(tmp_path: Path) -> tuple[Home, FeatureGateway, Descriptor]:
    """A small shop of one's own, for what changes it."""
    home = Home.create(tmp_path / "home")
    descriptor = load_descriptor(str(make_shop(tmp_path / "shop", customers=8)))
    home.ingest(descriptor)
    home.build(descriptor)
    gateway = home.gateway()
    gateway.apply(descriptor)
    assert gateway.materialize(principal(), AS_OF) == 8
    return home, gateway, descriptor


@pytest.fixture(scope="session")
def told_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of forty that tells of them in classes of three, as far as its features."""
    from .profiles import with_profile  # it needs this file

    root = tmp_path_factory.mktemp("told")
    made = Home.create(root / "home")
    descriptor = with_profile(root / "shop")
    made.ingest(descriptor)
    made.build(descriptor)
    made.vault.close()
    return root


@pytest.fixture
def told(told_once: Path, tmp_path: Path) -> Iterator[tuple[Home, FeatureGateway, Descriptor]]:
    """That shop as one's own, online too."""
    shutil.copytree(told_once, tmp_path, symlinks=True, dirs_exist_ok=True)
    home = Home.open(tmp_path / "home")
    descriptor = load_descriptor(str(tmp_path / "shop" / "shop.yaml"))
    gateway = home.gateway()
    gateway.apply(descriptor)
    gateway.materialize(principal(), AS_OF)
    yield home, gateway, descriptor
    home.vault.close()
