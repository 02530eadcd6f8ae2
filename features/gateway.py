"""The guarded feature store: purpose, policy, audit, freshness, equal rows; nobody else holds Feast."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import compress
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.audit import AuditLog
from privacy.consent import LEFT_OUT, ConsentLedger
from privacy.errors import BadInput, CustosError, EnvironmentFailed
from privacy.inference import Firewall
from privacy.keyring import Keyring, SealedKeyring
from privacy.policy import Policy, Principal
from privacy.rights import SubjectStore
from privacy.suppression import SuppressionList

from .admission import Admission
from .data_time import in_utc
from .datasets.descriptor import Descriptor
from .definitions import ENTITY, PROJECT, define
from .disclosures import Access, Disclosures
from .feature_table import FEATURES, UTC
from .gateway_types import REFERENCE, GatewayPaths, GatewaySettings, OnlineAnswer, OnlineColumns, ServiceInfo
from .materialized import Materialized, note_of
from .online import rows_at
from .online_rows import OnlineRows
from .own_tokens import WITHOUT_CONSENT, OwnTokens
from .point_in_time import as_known, in_order, latest_rows, population, require_built, spread, steady
from .profile import PROFILE, PROFILE_SERVICE, profile_view, released, told_of
from .registered import Registered
from .services import shop_features

__all__ = ["FeatureGateway", "GatewayPaths", "GatewaySettings", "OnlineAnswer", "ServiceInfo"]

PREDICT: Final = "predict"
READ: Final = "features.read"
MOMENT: Final = "event_timestamp"
GIVEN: Final = "given"


class FeatureGateway:
    """The one way to features, offline and online.

    Where the policy filters rows, what doesn't pass is left out offline, and online it is as absent as the unknown.
    Where it masks features that are read, they leave as their masks leave them; filters go by what is stored.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        keyring: SealedKeyring | Keyring,
        policy: Policy,
        audit: AuditLog,
        suppression: SuppressionList,
        consents: ConsentLedger | None = None,
    ) -> None:
        self._settings, self._paths, self._engine = settings, settings.paths, settings.engine
        self._ttl = dt.timedelta(days=settings.ttl_days)
        self._own = OwnTokens(keyring, suppression, consents)
        self._disclosures = Disclosures(policy, audit)
        self._packed = rows_at(self._paths.online, PROJECT)
        self._online = OnlineRows(self._packed, note_of(self._paths))
        self._registered = Registered(self._paths.registry, self._paths.online, self._paths.features, self._engine)
        self._admission = Admission(Firewall(audit, settings.marked), self._disclosures, self._registered.info)
        self._clock: tuple[str | None, dt.datetime] | None = None

    def apply(self, descriptor: Descriptor) -> None:
        """Register the entity, views and services of a shop with Feast; CheckFailed for a profile below its k."""
        name, listed, ttl = descriptor.name, shop_features(descriptor), self._settings.ttl_days
        store = self._paths.feature_store(name)
        profile = None if store.snapshot() is None else profile_view(store)
        made = define(name, store.root, listed, ttl_days=ttl, profile=profile, engine=self._engine)
        self._registered.apply(made)

    def require(self, principal: Principal, service: str, asked: int = 0) -> None:
        """Raise Refused, audited, where the firewall, the service or the policy lets nothing of it be read."""
        self._admission.require(principal, service, asked, READ)

    def services(self) -> list[ServiceInfo]:
        """List what is registered."""
        return [self._registered.info(service.name) for service in self._registered.services()]

    def historical(self, principal: Principal, service: str, entities: pa.Table, *, action: str = READ) -> pa.Table:
        """Return features of each (customer_token, event_timestamp), as known at that instant.

        Tokens are the feature store's own, those from before a link too. Suppressed people are left out; of the
        others every row comes back once and in order, or CheckFailed is raised. Columns: the entity's, then float64
        features. Raises BadInput for an event_timestamp that no features were built at.
        """
        info, access = self._admission.require(principal, service, entities.num_rows, action)
        self._require_built(info, entities[MOMENT])
        self._data_time(info.dataset)
        asked = self._own.unsuppressed(entities.select([ENTITY, MOMENT]))
        now = asked.set_column(0, ENTITY, self._own.former.canonical_tokens(asked[ENTITY]))
        served = self._own.permitted(access, now.append_column(GIVEN, asked[ENTITY]))
        rows = self._historical(info, served.select([ENTITY, MOMENT]))
        return self._disclosed(access, info, rows.set_column(0, ENTITY, served[GIVEN]))

    def historical_own(self, principal: Principal, service: str, entities: pa.Table) -> pa.Table:
        """Return `historical` of tokens of the principal's own purpose: each row's features, in order, none left out.

        A boolean `known` comes first. Where it is False every feature is null, and whether somebody is unknown, erased,
        objecting, filtered out or had not bought yet isn't told.
        """
        info, _ = self._admission.require(principal, service, entities.num_rows, READ)
        moments = entities[MOMENT].cast(UTC)
        self._require_built(info, moments)
        self._data_time(info.dataset)
        key_id = self._paths.feature_store(info.dataset).key_id()
        own, served = self._own.of(entities[ENTITY].to_pylist(), str(principal.purpose), key_id)
        tokens = pa.array(own, pa.string()).take(pa.array(np.cumsum(served) - 1, mask=~served))
        asked = pa.table({ENTITY: tokens, MOMENT: moments})
        once = asked.filter(pa.array(served)).group_by(asked.column_names).aggregate([])
        return spread(asked, self.historical(principal, service, once))

    def cutoffs(self, principal: Principal, service: str) -> list[dt.datetime]:
        """List the moments that features of a service were built at, in order."""
        info, _ = self._admission.require(principal, service, 0, READ)
        noted = self._paths.feature_store(info.dataset).manifest("cutoffs")["cutoffs"]
        return in_order(noted)

    def training_rows(
        self,
        principal: Principal,
        service: str,
        cutoffs: Sequence[dt.datetime],
        horizon_days: int,
        active_within_days: int | None,
        *,
        action: str = READ,
    ) -> pa.Table:
        """Return the population at each cut-off and its outcome in the next `horizon_days`.

        Columns: customer_token, event_timestamp, spend_in_horizon (float64, >= 0), orders_in_horizon (int64); in the
        metadata how many rows were left out for want of a consent (`LEFT_OUT`). BadInput for a cut-off not built.
        """
        info, access = self._admission.require(principal, service, 0, action)
        self._require_built(info, in_utc(cutoffs))
        store = self._paths.feature_store(info.dataset)
        asked = self._own.permitted(access, population(store, cutoffs, horizon_days, active_within_days, self._engine))
        known = self._historical(info, asked.select([ENTITY, MOMENT])) if access.filters else asked
        told = self._disclosed(access, info, asked, known)
        left_out = access.counted.get(WITHOUT_CONSENT)
        return told if left_out is None else told.replace_schema_metadata({LEFT_OUT: str(left_out)})

    def snapshot_rows(self, principal: Principal, service: str, as_of: dt.datetime, *, action: str = READ) -> pa.Table:
        """Return the features of everybody who had bought before `as_of`, as known then.

        `action` is what the policy is asked for: `features.read`, `score` where the caller turns the features into
        scores, `count` or `attack` where only figures leave. Raises BadInput when no features were built at `as_of`.
        """
        info, access = self._admission.require(principal, service, 0, action)
        store = self._paths.feature_store(info.dataset)

        def rows() -> pa.Table:
            self._require_built(info, in_utc([as_of]), name_day=True)
            tokens = pc.unique(store.read(FEATURES, [ENTITY], pc.field(MOMENT) == pa.scalar(as_of, UTC))[ENTITY]).sort()
            asked = pa.table({ENTITY: tokens, MOMENT: in_utc([as_of] * len(tokens))})
            return self._historical(info, self._own.permitted(access, asked))

        return self._disclosed(access, info, steady(store, rows))

    def materialize(self, principal: Principal, as_of: dt.datetime) -> int:
        """Put everybody's latest row at `as_of` online, without the suppressed; return how many people are.

        Old rows are replaced all at once; where `as_of` ends data time, only the files that aren't online are written.
        Raises BadInput if no feature row is fresh at `as_of`, CheckFailed if what is told of people is below its k.
        """
        services = self._registered.services()
        if not services:
            raise BadInput("no feature service is registered", remedy="run `custos build` first")
        dataset = services[0].tags["dataset"]
        access = self._disclosures.require(principal, "materialize", f"dataset:{dataset}")
        store, clock = self._paths.feature_store(dataset), self._data_time(dataset)
        note = Materialized.of(self._paths, self._packed, dataset, self._own.how_many_suppressed())
        files = note.unwritten() if as_of == clock else None
        latest = self._own.unsuppressed(latest_rows(store, FEATURES, as_of, as_of - self._ttl, files))
        if latest.num_rows == 0 and files is None:
            raise BadInput("no feature row is fresh at as-of", remedy="run `custos build` with this --as-of")
        people, references = latest[ENTITY].to_pylist(), latest[REFERENCE].to_pylist()
        self._disclosures.disclosed(access, people, len(people), references)
        note.forget()  # until all of it is written

        def rows(view: str) -> tuple[pa.Table, int]:
            """Without whoever was suppressed since; with the k that what is told of people keeps."""
            if view != PROFILE:
                return self._own.unsuppressed(latest), 0
            profile, told = released(store, self._own.unsuppressed)
            return told, profile.k if profile else 0

        self._online.replace(self._registered.feature_views(), rows, as_of, clock, whole=files is None)
        if as_of == clock:
            note.note()
        return self._online.size()

    def online(self, principal: Principal, service: str, tokens: Sequence[str], *, action: str = READ) -> OnlineAnswer:
        """Return current features of `tokens`, which are of the principal's purpose.

        `action` is what the policy is asked for: `features.read`, or `predict` where the caller turns the
        features into a prediction, never shows them, and keeps the log of what it answered itself.
        Raises EnvironmentFailed when the online rows are older than the settings allow, in data time.
        """
        info, access = self._admission.require(principal, service, len(tokens), action)
        as_of = self._fresh(info.dataset)
        stored, known = self._own.of(tokens, str(principal.purpose), self._online.key_id())
        answer, now = OnlineColumns(info, len(tokens)), self._data_time(info.dataset)
        if access.on_consent:
            rows = pa.table({ENTITY: pa.array(stored, pa.string()), MOMENT: in_utc([now] * len(stored))})
            consenting = self._own.consenting(access, rows)
            known[np.flatnonzero(known)[~consenting]] = False
            stored = rows[ENTITY].filter(pa.array(consenting)).to_pylist()
        if stored:
            self._online.read(self._registered.views(service), stored, now - self._ttl, answer, np.flatnonzero(known))
        filtered = answer.keep(access.passing(answer.number, len(tokens)))
        answer.mask(access.masks)
        present, references = answer.present, answer.references
        people = len(set(compress(stored, present[known]))) if info.k > 1 else 1  # somebody may have several tokens
        self._admission.require_people(access, info, people, len(tokens), banded=not info.numbers)
        if action != PREDICT:
            self._disclosures.disclosed(access, compress(tokens, present), len(tokens), references, filtered)
        return OnlineAnswer(answer.names, answer.values, present, references, as_of, answer.texts)

    def unready(self) -> str:
        """Say why online features can't be served (not there, too old, no suppression list); empty if they can."""
        try:
            dated = [self._fresh(service.tags["dataset"]) for service in self._registered.services()]
            self._own.list_is_readable()
        except CustosError as error:
            return error.what
        return "" if dated else "no feature service is registered"

    def stored_keys(self) -> dict[str, str]:
        """Return, by store, the id of the key that its tokens were made by; empty stores are left out."""
        found = {store.name: store.key_id() for store in self._paths.table_stores()}
        found[self._online.name] = self._online.key_id()
        return {name: key_id for name, key_id in found.items() if key_id is not None}

    def ever_online(self) -> bool:
        """Say whether the online store was ever written, and still is there."""
        return self._online.written()

    def online_size(self) -> int:
        """Count the people online."""
        return self._online.size()

    def subject_stores(self) -> list[SubjectStore]:
        """List every store of this room that holds rows of a person, in the order to erase them."""
        return [*self._paths.table_stores(), self._online]

    def _disclosed(self, access: Access, info: ServiceInfo, asked: pa.Table, known: pa.Table | None = None) -> pa.Table:
        """Return the rows that pass the filters by what is `known` of them, masked, having noted who they are."""
        features = asked if known is None else known
        rows = asked.filter(pa.array(access.passing(lambda name: features[name].to_numpy(), asked.num_rows)))
        told = access.masked(rows, info.features)
        people, references = pc.unique(rows[ENTITY]).to_pylist(), []
        self._admission.require_rows(access, info, rows, asked.num_rows, self._own.former.canonical_tokens)
        if len(people) == 1:
            store = self._paths.feature_store(info.dataset)
            now = self._own.former.canonical_tokens(pa.array(people))[0]
            references = store.read(FEATURES, [REFERENCE], pc.field(ENTITY) == now)[REFERENCE].to_pylist()
        self._disclosures.disclosed(access, people, rows.num_rows, references, asked.num_rows - rows.num_rows)
        return told

    def _require_built(self, info: ServiceInfo, moments: pa.Array | pa.ChunkedArray, *, name_day: bool = False) -> None:
        noted = self._paths.feature_store(info.dataset).manifest("cutoffs")["cutoffs"]
        require_built(moments.cast(UTC), noted, name_day=name_day)

    def _historical(self, info: ServiceInfo, entities: pa.Table) -> pa.Table:
        store = self._paths.feature_store(info.dataset)
        with store.reading():
            known = as_known(store, info, entities, self._ttl, self._engine)
        # Who is being erased is out of a class before the stores are.
        told = info.name == PROFILE_SERVICE
        return told_of(known, released(store, self._own.unsuppressed)[1], info.texts) if told else known

    def _fresh(self, dataset: str) -> dt.datetime:
        """Return the data time of the online rows; refuse them when they lag too far behind the data."""
        as_of = self._online.as_of()
        if as_of is None:
            raise EnvironmentFailed("there are no online features yet", remedy="run `custos materialize`")
        if (behind := self._data_time(dataset) - as_of) > self._ttl:
            what = f"online features are {behind.days} days behind the data"
            raise EnvironmentFailed(what, remedy="run `custos materialize`")
        return as_of

    def _data_time(self, dataset: str) -> dt.datetime:
        """Return the end of data time, as the features were built; with the former tokens remembered for a snapshot."""
        store = self._paths.feature_store(dataset)
        snapshot = store.snapshot()
        if self._clock is None or self._clock[0] != snapshot:
            self._own.former.follow(store)
            self._clock = (snapshot, dt.datetime.fromisoformat(store.manifest("as_of")["as_of"]))
        return self._clock[1]
