"""What a service declares holds in process, offline and online: its purposes, its roles, its k."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from feast import FeatureView, FileSource
from feast.permissions.matcher import resource_match_config

from features.admission import Admission
from features.datasets.descriptor import Descriptor
from features.definitions import define
from features.disclosures import Access, Disclosures
from features.engine_spark import Spark
from features.gateway import FeatureGateway
from features.registered import Registered
from features.services import DEVELOPERS, SERVICES, shop_features
from features.small_bands import LEAST_PEOPLE
from privacy.classification import FEATURE_STORE, LawfulBasis, Purpose, Role
from privacy.errors import EnvironmentFailed, Refused
from privacy.inference import Firewall
from privacy.policy import Policy, Principal
from privacy.policy_rules import READS_PEOPLE
from privacy.token_text import encode, parse_token

from .conftest import AS_OF, CUTOFFS, Home, principal
from .tables import entities, last_event

ROOT = Path(__file__).parents[2]
Served = tuple[Home, FeatureGateway, Descriptor]
VALUE = principal(Role.MARKETER, Purpose.VALUE)


def test_the_built_in_policy_lets_nobody_in_whom_a_service_does_not_name() -> None:
    policy = Policy.load(None, dict.fromkeys(Purpose, LawfulBasis.LEGITIMATE_INTEREST))
    for service in SERVICES:
        permitted = {
            role
            for role, purpose, action in product(Role, service.purposes, READS_PEOPLE)
            if policy.decide(Principal("p", role, purpose), action, f"service:{service.name}").allowed
        }
        assert permitted == service.roles
        assert Role.AUDITOR not in service.roles


def test_bounds_stand_in_the_registry_and_in_what_the_gateway_tells(served: Served) -> None:
    home, gateway, _ = served
    declared = {service.name: service for service in SERVICES}
    for info in gateway.services():
        roles, k = (DEVELOPERS, 10) if info.name == "profile_v1" else (declared[info.name].roles, declared[info.name].k)
        assert (info.roles, info.k) == (roles, k)
        tags = Registered(home.paths.registry, home.paths.online, home.paths.features).service(info.name).tags
        assert tags["roles"] == ",".join(sorted(roles))
        assert (tags["k"], tags["purposes"]) == (str(k), ",".join(info.purposes))


@pytest.mark.parametrize(
    "damage", [{"roles": None}, {"k": None}, {"roles": "admin,wizard"}, {"k": "few"}, {"purposes": "x"}]
)
def test_a_registry_that_does_not_say_what_binds_serves_nothing(
    served: Served, tmp_path: Path, damage: dict[str, str | None]
) -> None:
    home, _, descriptor = served
    made = define(descriptor.name, home.paths.features / descriptor.name, shop_features(descriptor), ttl_days=35)
    for service in made.services:
        service.tags = {name: text for name, text in {**service.tags, **damage}.items() if text is not None}
    registered = Registered(tmp_path / "feast" / "registry.db", f"sqlite:///{tmp_path}/online.db", home.paths.features)
    registered.apply(made)
    with pytest.raises(EnvironmentFailed, match=r"of an older make, or changed by hand .*; run `custos build`"):
        registered.info("churn_v1")


def test_a_registry_where_spark_is_set_and_not_installed_says_so(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("pyspark", "feast.infra.offline_stores.contrib"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyspark", None)
    paths = served[0].paths
    with pytest.raises(EnvironmentFailed, match=r"^Spark isn't installed; .* or set `engine: duckdb`"):
        Registered(paths.registry, paths.online, paths.features, Spark()).services()
    assert Registered(paths.registry, paths.online, paths.features).services()


def open_policy(tmp_path: Path) -> Policy:
    """A shop's own policy that permits everybody everything: the services bind all the same."""
    everything = {"name": "all", "to": [role.value for role in Role], "actions": sorted(READS_PEOPLE)}
    document = {
        "version": 1,
        "purposes": {purpose.value: {"lawful_basis": "contract"} for purpose in Purpose},
        "policies": [{**everything, "resources": ["service:*", "dataset:*", "model:*"]}],
    }
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(document))
    return Policy.load(path)


ASK: dict[str, Callable[[FeatureGateway, Home, Principal, str], Any]] = {
    "snapshot": lambda gateway, _, who, service: gateway.snapshot_rows(who, service, AS_OF),
    "historical": lambda gateway, home, who, service: gateway.historical(
        who, service, entities([home.subject("c00001").tokens[0]], [CUTOFFS[-1]])
    ),
    "historical_own": lambda gateway, home, who, service: gateway.historical_own(
        who, service, entities(home.tokens(["c00001"], str(who.purpose)), [CUTOFFS[-1]])
    ),
    "training": lambda gateway, _, who, service: gateway.training_rows(who, service, CUTOFFS[:2], 28, None),
    "cutoffs": lambda gateway, _, who, service: gateway.cutoffs(who, service),
    "online": lambda gateway, home, who, service: gateway.online(
        who, service, home.tokens(["c00001"], str(who.purpose))
    ),
    "predict": lambda gateway, home, who, service: gateway.online(
        who, service, home.tokens(["c00001"], str(who.purpose)), action="predict"
    ),
}


@pytest.mark.parametrize("ask", ASK)
def test_roles_hold_whatever_the_policy_permits(served: Served, tmp_path: Path, ask: str) -> None:
    home = served[0]
    gateway = home.gateway(policy=open_policy(tmp_path))
    for role, purpose, service in (
        (Role.AUDITOR, Purpose.RETENTION, "churn_v1"),
        (Role.CRM_SERVICE, Purpose.VALUE, "insight_v1"),
        (Role.MARKETER, Purpose.RESEARCH, "profile_v1"),
    ):
        before = home.audit.verify().events
        with pytest.raises(Refused, match=f"service {service} does not answer the role {role}; it answers: admin"):
            ASK[ask](gateway, home, principal(role, purpose), service)
        event = last_event(home.root / "audit")
        assert home.audit.verify().events == before + 1
        assert (event["outcome"], event["rule"], event["resource"]) == ("deny", "service-roles", f"service:{service}")
    assert ASK[ask](gateway, home, principal(Role.ANALYST), "churn_v1") is not None


def test_an_answer_of_rows_is_about_k_people_or_about_nobody(served: Served) -> None:
    home, gateway, _ = served
    moment = CUTOFFS[-1]
    stored = gateway.snapshot_rows(VALUE, "insight_v1", moment)["customer_token"].to_pylist()

    def about(people: int, times: int = 1) -> pa.Table:
        return entities(stored[:people] * times, [moment] * people * times)

    assert gateway.historical(VALUE, "insight_v1", about(LEAST_PEOPLE)).num_rows == LEAST_PEOPLE
    assert gateway.historical(VALUE, "insight_v1", about(0)).num_rows == 0
    for few in (about(1), about(LEAST_PEOPLE - 1), about(LEAST_PEOPLE - 1, times=3)):
        with pytest.raises(Refused, match="insight_v1 answers about 5 people or more at once"):
            gateway.historical(VALUE, "insight_v1", few)
        event = last_event(home.root / "audit")
        assert (event["outcome"], event["rule"], event["count"]) == ("deny", "service-k", few.num_rows)
    blocks = np.arange(16 * LEAST_PEOPLE, dtype=np.uint8).reshape(-1, 16)
    made_up = encode(blocks, FEATURE_STORE, parse_token(stored[0]).key_id).to_pylist()
    padded = pa.concat_tables([about(LEAST_PEOPLE - 1), entities(made_up, [moment] * LEAST_PEOPLE)])
    with pytest.raises(Refused, match="insight_v1 answers about 5 people or more at once"):
        gateway.historical(VALUE, "insight_v1", padded)
    assert gateway.historical(principal(), "churn_v1", about(1)).num_rows == 1  # it has no k
    attack = principal(Role.PRIVACY_OFFICER, Purpose.VALUE)
    assert gateway.historical(attack, "insight_v1", about(1), action="attack").num_rows == 1  # only figures leave


def test_one_customers_bands_are_read_online(served: Served) -> None:
    home, gateway, _ = served
    answer = gateway.online(VALUE, "insight_v1", home.tokens(["c00001"], "value"))
    assert answer.present.tolist() == [True]
    assert answer.columns == ()


def test_a_number_is_not_read_online_of_fewer_than_k(served: Served) -> None:
    home, gateway, _ = served
    [clv] = [info for info in gateway.services() if info.name == "clv_v1"]
    admission = Admission(Firewall(home.audit), Disclosures(Policy.load(), home.audit), lambda _: clv)
    access, bound = Access(VALUE, "features.read", "service:clv_v1", "allow", "x"), replace(clv, k=3)
    for people, numbers in ((3, True), (0, True), (1, False)):
        admission.require_people(access, bound, people, people, banded=not numbers)
    with pytest.raises(Refused, match="answers about 3 people or more"):
        admission.require_people(access, bound, 2, 2, banded=False)


def test_feasts_own_required_tags_still_fail_open() -> None:
    """Why permissions are not Feast's: should this fail, it was mended, and docs/services.md is to be read anew."""
    tagged = FeatureView(name="rfm", source=FileSource(path="x.parquet"), schema=[], tags={"privacy": "restricted"})
    assert resource_match_config(tagged, [FeatureView], [], {"privacy": "public"})
    assert not resource_match_config(tagged, [FeatureView], ["other"], {"privacy": "restricted"})


@pytest.mark.slow
def test_feast_lists_a_copy_of_the_registry(served: Served, tmp_path: Path) -> None:
    (tmp_path / "feast").mkdir()
    shutil.copy(served[0].paths.registry, tmp_path / "feast" / "registry.db")
    command = [Path(sys.executable).with_name("feast"), "-c", "features", "feature-services", "list"]
    environment = {**os.environ, "CUSTOS_HOME": str(tmp_path)}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert all(service.name in told for service in SERVICES if service.name != "engagement_v1")


def test_the_k_of_the_profile_binds_too(told: Served) -> None:
    home, gateway, _ = told
    researcher = principal(purpose=Purpose.RESEARCH)
    rows = gateway.snapshot_rows(researcher, "profile_v1", AS_OF)
    assert rows.num_rows == 40
    few = rows.select(["customer_token", "event_timestamp"]).slice(0, 2)
    with pytest.raises(Refused, match="profile_v1 answers about 3 people or more"):
        gateway.historical(researcher, "profile_v1", few)
    assert gateway.online(researcher, "profile_v1", home.tokens(["c00001"], "research")).present.all()
