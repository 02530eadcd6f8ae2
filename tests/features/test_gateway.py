"""The guarded store, with real Feast: purposes, policy, equal rows, freshness, erasure."""

from __future__ import annotations

import datetime as dt
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.build import FEATURES
from features.datasets.descriptor import Descriptor
from features.gateway import FeatureGateway, GatewaySettings
from features.point_in_time import steady
from features.storage import TableStore
from features.transforms.registry import feature_set
from privacy.classification import Purpose, Role
from privacy.errors import BadInput, EnvironmentFailed, Refused
from privacy.policy import Policy
from privacy.suppression import SuppressionList
from privacy.token_text import encode, parse_token
from privacy.tokens import valid_tokens

from .conftest import AS_OF, CUTOFFS, Home, principal
from .tables import entities, last_event

Served = tuple[Home, FeatureGateway, Descriptor]
NAMES = tuple(feature.name for feature in feature_set())


def test_services_are_bound_to_purposes(served: Served) -> None:
    churn, clv, insight, profile = served[1].services()
    assert (profile.name, profile.purposes, profile.features) == ("profile_v1", (Purpose.RESEARCH,), ("birth_date",))
    assert (churn.name, churn.purposes) == ("churn_v1", (Purpose.RETENTION,))
    assert (clv.name, clv.purposes) == ("clv_v1", (Purpose.RETENTION, Purpose.VALUE))
    assert churn.features == clv.features == NAMES
    assert (insight.name, insight.purposes) == ("insight_v1", (Purpose.VALUE, Purpose.MARKETING))
    assert set(insight.features) == insight.texts
    assert not insight.texts & set(NAMES)


def test_historical_gives_the_stored_row_of_every_entity_in_order(served: Served) -> None:
    home, gateway, descriptor = served
    stored = home.paths.feature_store(descriptor.name).read(FEATURES)
    rows = {
        (row["customer_token"], row["event_timestamp"]): [row[name] for name in NAMES] for row in stored.to_pylist()
    }
    asked = stored.select(["customer_token", "event_timestamp"]).take(
        np.random.default_rng(0).permutation(stored.num_rows)
    )
    asked = pa.concat_tables([asked, asked.slice(0, 3)])  # the same question twice is two answers
    found = gateway.historical(principal(), "churn_v1", asked)
    assert found.select(["customer_token", "event_timestamp"]).equals(asked)
    assert found.column_names[2:] == list(NAMES)
    for row in found.to_pylist():
        assert rows[row["customer_token"], row["event_timestamp"]] == [row[name] for name in NAMES]


def test_historical_gives_nothing_of_whom_it_does_not_know(served: Served) -> None:
    home, gateway, descriptor = served
    stored = home.paths.feature_store(descriptor.name).read(FEATURES)
    token = stored["customer_token"][0].as_py()
    asked = entities([token, "fs_ab" + 34 * "0"], [CUTOFFS[3], CUTOFFS[3]])
    found = gateway.historical(principal(), "churn_v1", asked)["lifetime_orders"].to_pylist()
    own = {
        row["event_timestamp"]: row["lifetime_orders"] for row in stored.to_pylist() if row["customer_token"] == token
    }
    assert found == [own[CUTOFFS[3]], None]
    assert gateway.historical(principal(), "churn_v1", asked.slice(0, 0)).num_rows == 0


def test_moments_that_were_never_built_are_refused_not_approximated(served: Served) -> None:
    home, gateway, _ = served
    who, token = principal(), home.subject("c00001").tokens[0]
    before, later = CUTOFFS[3] - dt.timedelta(microseconds=1), AS_OF + dt.timedelta(days=7)
    events = home.audit.verify().events
    with pytest.raises(BadInput, match=r"at 2023-09-18T23:59:59.999999\+00:00 and 1 more; ask of 2"):
        gateway.historical(who, "churn_v1", entities([token] * 3, [CUTOFFS[3], before, later]))
    with pytest.raises(BadInput, match="1 row has no event_timestamp"):
        gateway.historical(who, "churn_v1", entities([token] * 2, [CUTOFFS[3], None]))
    with pytest.raises(BadInput, match="no features were built at 2024-02-13; ask of 2"):
        gateway.training_rows(who, "churn_v1", [*CUTOFFS, later], 28, 56)
    with pytest.raises(BadInput, match="at 2024-02-13; run `custos build --as-of 2024-02-13`"):
        gateway.snapshot_rows(who, "churn_v1", later)
    assert home.audit.verify().events == events


def test_training_rows_and_their_features_pair_up(served: Served) -> None:
    _, gateway, _ = served
    rows = gateway.training_rows(principal(), "churn_v1", CUTOFFS[:3], 28, 56)
    found = gateway.historical(principal(), "churn_v1", rows)
    recency = np.array(found["recency_days"].to_pylist())
    assert rows.num_rows == found.num_rows > 50
    assert recency.max() <= 56
    assert set(rows["event_timestamp"].to_pylist()) == set(CUTOFFS[:3])
    assert min(rows["spend_in_horizon"].to_pylist()) == 0


def test_everybody_known_is_in_the_snapshot(served: Served) -> None:
    _, gateway, _ = served
    rows = gateway.snapshot_rows(principal(), "clv_v1", AS_OF)
    assert rows.num_rows == 40
    assert rows["lifetime_orders"].null_count == 0


def test_online_answers_what_offline_holds(served: Served) -> None:
    home, gateway, _ = served
    customers = ["c00009", "c00001", "c00009", "c00030"]
    tokens = home.tokens(customers, "retention")
    answer = gateway.online(principal(), "churn_v1", tokens)
    offline = gateway.snapshot_rows(principal(), "churn_v1", AS_OF).to_pandas().set_index("customer_token")
    wanted = offline.loc[[home.subject(customer).tokens[0] for customer in customers], list(NAMES)]
    np.testing.assert_array_equal(answer.values, wanted.to_numpy())
    assert answer.columns == NAMES
    assert answer.present.all()
    assert answer.as_of == AS_OF
    assert len(set(answer.references)) == 3
    assert None not in answer.references


def test_unknown_mistyped_and_foreign_tokens_are_merely_absent(served: Served) -> None:
    home, gateway, _ = served
    [good] = home.tokens(["c00001"], "retention")
    [foreign] = home.tokens(["c00001"], "value")
    typo = good[:-1] + ("0" if good[-1] != "0" else "1")
    answer = gateway.online(principal(), "churn_v1", [typo, good, foreign, "nonsense"])
    assert answer.present.tolist() == [False, True, False, False]
    assert np.isnan(answer.values[[0, 2, 3]]).all()
    assert answer.references[0] is None
    nobody = gateway.online(principal(), "churn_v1", ["nonsense"])
    assert (nobody.present.tolist(), nobody.as_of) == ([False], AS_OF)


def test_a_token_under_a_key_unknown_here_is_merely_absent(served: Served) -> None:
    home, gateway, _ = served
    [good] = home.tokens(["c00001"], "retention")
    key = "zz" if parse_token(good).key_id != "zz" else "yy"
    stranger = encode(np.frombuffer(parse_token(good).block, np.uint8).reshape(1, 16), "retention", key)[0].as_py()
    assert valid_tokens(pa.array([stranger]), "retention").all()
    assert gateway.online(principal(), "churn_v1", [stranger, good]).present.tolist() == [False, True]
    assert gateway.online(principal(), "churn_v1", [stranger]).present.tolist() == [False]


@pytest.mark.parametrize(
    ("role", "purpose", "service"),
    [
        (Role.ADMIN, Purpose.VALUE, "churn_v1"),  # the service doesn't serve it
        (Role.ADMIN, Purpose.MARKETING, "clv_v1"),
        (Role.ADMIN, None, "clv_v1"),
        (Role.CRM_SERVICE, Purpose.RETENTION, "churn_v1"),  # the policy doesn't allow raw features
        (Role.AUDITOR, Purpose.RETENTION, "churn_v1"),
    ],
)
def test_refusals_are_audited(served: Served, role: Role, purpose: Purpose | None, service: str) -> None:
    home, gateway, _ = served
    before = home.audit.verify().events
    with pytest.raises(Refused):
        gateway.online(principal(role, purpose), service, [])
    assert home.audit.verify().events == before + 1
    assert last_event(home.root / "audit")["outcome"] in {"deny", "gap"}


def test_a_prediction_service_may_ask_for_the_sake_of_predicting(served: Served) -> None:
    home, gateway, _ = served
    crm = principal(Role.CRM_SERVICE)
    answer = gateway.online(crm, "churn_v1", home.tokens(["c00001"], "retention"), action="predict")
    assert answer.present.all()


def test_an_unknown_service_is_named(served: Served) -> None:
    with pytest.raises(BadInput, match="no feature service 'churn_v9'; use one of: churn_v1, clv_v1"):
        served[1].online(principal(), "churn_v9", [])


def test_many_threads_read_at_once(served: Served) -> None:
    home, gateway, _ = served
    customers = [f"c{number:05d}" for number in range(1, 9)]
    tokens = home.tokens(customers, "retention")
    expected = gateway.online(principal(), "churn_v1", tokens).values
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda at: gateway.online(principal(), "churn_v1", [tokens[at % 8]]), range(24)))
    for at, answer in enumerate(answers):
        np.testing.assert_array_equal(answer.values[0], expected[at % 8])


def test_erasing_a_person_everywhere(own: Served) -> None:
    home, gateway, _ = own
    subject, tokens = home.subject("c00002"), home.tokens(["c00002", "c00003"], "retention")
    assert gateway.online(principal(), "churn_v1", tokens).present.tolist() == [True, True]
    stores = gateway.subject_stores()
    assert [store.name for store in stores] == ["protected tables", "feature tables", "online features"]
    for store in stores:
        assert store.count(subject) == len(store.export(subject)) > 0
        assert store.erase(subject) > 0
        assert store.verify(subject) == 0
        assert store.erase(subject) == 0
    assert gateway.online(principal(), "churn_v1", tokens).present.tolist() == [False, True]
    for path in home.root.rglob("*"):
        if path.is_file() and "vault" not in path.parts:
            assert subject.tokens[0].encode() not in path.read_bytes(), path.name
    assert gateway.materialize(principal(), AS_OF) == 7
    assert gateway.snapshot_rows(principal(), "churn_v1", AS_OF).num_rows == 7


def test_a_home_that_has_erased_somebody_is_ready(own: Served) -> None:
    home, gateway, _ = own
    home.suppression.add(home.subject("c00005").tokens[0])
    assert gateway.unready() == ""


def test_the_suppressed_are_nowhere(own: Served) -> None:
    home, gateway, _ = own
    subject, tokens = home.subject("c00005"), home.tokens(["c00005", "c00006"], "retention")
    home.suppression.add(subject.tokens[0])
    assert gateway.online(principal(), "churn_v1", tokens).present.tolist() == [False, True]
    assert gateway.online(principal(), "churn_v1", tokens).references[0] is None
    rows = gateway.training_rows(principal(), "churn_v1", CUTOFFS, 28, None)
    assert subject.tokens[0] not in rows["customer_token"].to_pylist()
    assert gateway.snapshot_rows(principal(), "churn_v1", AS_OF).num_rows == 7
    assert gateway.materialize(principal(), AS_OF) == 7
    assert gateway.subject_stores()[-1].verify(subject) == 0


def test_stale_online_rows_are_refused(own: Served) -> None:
    home, gateway, descriptor = own
    later = AS_OF + dt.timedelta(days=36)
    home.build(descriptor, later)
    with pytest.raises(EnvironmentFailed, match="online features are 36 days behind the data"):
        gateway.online(principal(), "churn_v1", home.tokens(["c00001"], "retention"))
    gateway.materialize(principal(), later)
    assert gateway.online(principal(), "churn_v1", home.tokens(["c00001"], "retention")).as_of == later


def test_another_process_swapping_the_online_file_is_seen(own: Served) -> None:
    home, gateway, descriptor = own
    later = AS_OF + dt.timedelta(days=7)
    home.build(descriptor, later)
    home.gateway().materialize(principal(), later)
    assert gateway.online(principal(), "churn_v1", home.tokens(["c00001"], "retention")).as_of == later


def test_materialising_what_was_never_built_is_refused(own: Served) -> None:
    with pytest.raises(BadInput, match="no feature row is fresh at as-of"):
        own[1].materialize(principal(), AS_OF + dt.timedelta(days=400))
    assert own[1].online_size() == 8


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let the system refuse to write past `size` bytes of any file, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_leaves_what_was_online(own: Served) -> None:
    home, gateway, descriptor = own
    tokens, registry = home.tokens(["c00001", "c00002"], "retention"), home.paths.registry.read_bytes()
    before = gateway.online(principal(), "churn_v1", tokens).values
    later = AS_OF + dt.timedelta(days=7)
    home.build(descriptor, later)
    with no_file_larger_than(8_000), pytest.raises(EnvironmentFailed, match=r"can't be written: .*; free space"):
        gateway.materialize(principal(), later)
    with no_file_larger_than(2_000), pytest.raises(EnvironmentFailed, match="cannot write registry"):
        gateway.apply(descriptor)
    np.testing.assert_array_equal(gateway.online(principal(), "churn_v1", tokens).values, before)
    assert home.paths.registry.read_bytes() == registry
    assert not list(home.paths.registry.parent.glob(".part-*"))
    assert gateway.unready() == ""


class ErasingMeanwhile(SuppressionList):
    """Erases a person from the feature tables while a reader, who has read who there is, asks for the list."""

    def __init__(self, home: Home, store: TableStore, customer: str) -> None:
        super().__init__(home.root / "suppression.json", home.keyring)
        self.subject, self.store, self.times = home.subject(customer), store, 0

    def contains(self, tokens: pa.Array | pa.ChunkedArray) -> np.ndarray:
        listed = super().contains(tokens)
        self.times += 1
        if self.times == 1:
            self.add(self.subject.tokens[0])
            self.store.erase(self.subject)
        return listed


@pytest.mark.slow
def test_whoever_is_erased_while_a_score_reads_is_not_in_it(own: Served) -> None:
    home, before, descriptor = own
    there = before.snapshot_rows(principal(), "churn_v1", AS_OF)
    meanwhile = ErasingMeanwhile(home, home.paths.feature_store(descriptor.name), "c00003")
    gateway = FeatureGateway(GatewaySettings(home.paths), home.keyring, Policy.load(), home.audit, meanwhile)
    rows = gateway.snapshot_rows(principal(), "churn_v1", AS_OF)
    assert meanwhile.times == 2
    gone = set(there["customer_token"].to_pylist()) - set(rows["customer_token"].to_pylist())
    assert gone == {meanwhile.subject.tokens[0]}
    assert rows["btyd_x"].null_count == 0


def test_a_store_that_never_rests_is_told(own: Served) -> None:
    home, _, descriptor = own
    store = home.paths.feature_store(descriptor.name)

    def read() -> pa.Table:
        with store.writer() as writer:
            writer.add("t", [pa.record_batch({"a": [1]})])
            writer.commit({})
        raise EnvironmentFailed("a file of the feature tables is gone")

    with pytest.raises(EnvironmentFailed, match="the feature tables were written anew 5 times while they were read"):
        steady(store, read)


def test_a_lost_registry_is_told_and_not_made_anew_by_readers(own: Served) -> None:
    home, _, descriptor = own
    home.paths.registry.unlink()
    gateway = home.gateway()
    for ask in (gateway.services, lambda: gateway.materialize(principal(), AS_OF)):
        with pytest.raises(EnvironmentFailed, match=r"the feature registry is gone .*run `custos build`"):
            ask()
    assert not home.paths.registry.exists()
    gateway.apply(descriptor)
    assert gateway.unready() == ""


def test_damaged_files_are_told_and_written_anew(own: Served) -> None:
    home, _, descriptor = own
    home.online_file.write_bytes(b"not a database" * 1000)
    gateway = home.gateway()
    assert gateway.unready() == "the online store can't be used"
    with pytest.raises(EnvironmentFailed, match=r"the online store can't be used .*; run `custos materialize`"):
        gateway.online(principal(), "churn_v1", home.tokens(["c00001"], "retention"))
    gateway.materialize(principal(), AS_OF)
    assert gateway.unready() == ""
    home.paths.registry.write_bytes(home.paths.registry.read_bytes()[:-7])
    gateway = home.gateway()
    with pytest.raises(EnvironmentFailed, match=r"registry is damaged .*; run `custos build`"):
        gateway.services()
    gateway.apply(descriptor)
    assert gateway.unready() == ""


def test_an_open_gateway_notices_what_is_written_into_its_file(own: Served) -> None:
    home, gateway, _ = own
    assert gateway.unready() == ""
    home.online_file.write_bytes(b"not a database" * 1000)  # the same inode
    assert gateway.unready() == "the online store can't be used"


def test_erasing_removes_what_killed_writers_left(own: Served) -> None:
    home, gateway, descriptor = own
    sealed = home.root / "quarantine" / descriptor.name / ".transactions.sealed.123456.tmp"
    sealed.write_bytes(b"sealed rows")
    subject = home.subject("c00002")
    for store in (home.quarantine, *gateway.subject_stores()):
        store.erase(subject)
    assert not sealed.exists()


def test_a_gateway_without_online_rows_is_not_ready(own: Served) -> None:
    home, gateway, _ = own
    home.online_file.unlink()
    assert gateway.unready() == "there are no online features yet"


def test_building_twice_or_elsewhere_gives_the_same_bits(own: Served, tmp_path: Path) -> None:
    home, _, descriptor = own
    other = Home.create(tmp_path / "other")
    other.ingest(descriptor)
    assert home.build(descriptor).digest == home.build(descriptor).digest == other.build(descriptor).digest


def test_a_cutoff_after_as_of_is_refused(own: Served) -> None:
    home, _, descriptor = own
    with pytest.raises(BadInput, match="a cut-off lies after as-of"):
        home.build(descriptor, CUTOFFS[-1] - dt.timedelta(days=1))
