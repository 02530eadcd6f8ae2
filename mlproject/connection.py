"""Custos in a notebook: a home's features under somebody's bearer token, pandas in and out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privacy.classification import Purpose
from privacy.errors import BadInput, Refused

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mlproject.wiring import House
    from privacy.policy import Principal

__all__ = ["Connection", "Features", "connect"]


class Features:
    """What may be asked of the feature store; who asks, and what they may, is looked at anew with every question."""

    def __init__(self, house: House, caller: Callable[[], Principal]) -> None:
        self._opened, self._caller = house, caller

    @property
    def _house(self) -> House:
        """The home as it is now: policy, settings and keys may have been changed since the last question."""
        self._opened = self._opened.renewed()
        return self._opened

    def historical(self, entity_frame: pd.DataFrame, service: str) -> pd.DataFrame:
        """Return `entity_frame` with `status` and the features of `service` beside it, as known at each moment.

        `customer_token` holds tokens of the caller's purpose, `event_timestamp` moments that features were built at
        (`cutoffs`); one without a time zone is taken for UTC. Every row comes back once and in order, further columns
        and the index as they are. `status` is `ok` or `unknown`: nobody of this token had bought by then, or they were
        erased, objected, didn't consent or may not be told of; which of these isn't told, and their features are null.

        Raises Refused, BadInput (columns, tokens, moments), CheckFailed or EnvironmentFailed, each in one line.
        """
        from mlproject.pipelines.history import MOMENT, TOKEN, features_then, require_no_clash

        columns = _columns(entity_frame, TOKEN, MOMENT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of frameworks about each other
            told = features_then(self._house, self._caller(), service, columns)
        require_no_clash(list(entity_frame.columns), told.column_names, "entity_frame")
        return _beside(entity_frame, told)

    def online(self, tokens: Sequence[str] | pd.Series, service: str) -> pd.DataFrame:
        """Return a row for each of `tokens`, in order: customer_token, status and the current features of `service`.

        Tokens are of the caller's purpose; a Series keeps its index. `status` is as in `historical`.
        """
        import pandas as pd

        from mlproject.pipelines.history import OK, STATUS, TOKEN, UNKNOWN
        from mlproject.pipelines.lookup import features_now

        if isinstance(tokens, str):
            raise BadInput("one text is no list of tokens", remedy="put it into a list")
        try:
            asked = pd.Series(tokens, dtype=object).rename(TOKEN)
        except (TypeError, ValueError):  # a set, a frame
            raise BadInput("the tokens are in no order", remedy="give a list, or one column") from None
        answer = features_now(self._house, self._caller(), service, _texts(asked).to_pylist())
        status = [OK if there else UNKNOWN for there in answer.present]
        columns = {STATUS: status, **dict(zip(answer.columns, answer.values.T, strict=True)), **answer.texts}
        texts = dict.fromkeys((STATUS, *answer.texts), object)  # also where nobody was asked about
        return pd.concat([asked, pd.DataFrame(columns, index=asked.index).astype(texts)], axis=1)

    def cutoffs(self, service: str) -> pd.DatetimeIndex:
        """Return the moments that features of `service` were built at, in UTC and in order."""
        import pandas as pd

        return pd.DatetimeIndex(self._house.gateway.cutoffs(self._caller(), service), tz="UTC")

    def list(self) -> pd.DataFrame:
        """Return every feature of the home's shop by name: family, unit, window, description, purposes, services."""
        import pandas as pd

        from features.catalogue import listed_features
        from mlproject.pipelines.lookup import shop_of

        self._caller()
        told = pd.DataFrame(listed_features(shop_of(self._house))).set_index("name")
        return told[["family", "type", "unit", "window", "description", "purposes", "services"]]

    def describe(self, name: str) -> dict[str, Any]:
        """Return all that is declared of one feature; BadInput names those that are spelt like it."""
        from features.catalogue import one_feature
        from mlproject.pipelines.lookup import shop_of

        self._caller()
        return one_feature(name, shop_of(self._house))


class Connection:
    """A home as one principal sees it; `connect` makes it."""

    def __init__(self, house: House, caller: Callable[[], Principal]) -> None:
        self._caller = caller
        self.features = Features(house, caller)

    @property
    def principal(self) -> Principal:
        """Who asks, in which role and for which purpose; Refused once the bearer has expired."""
        return self._caller()

    def __repr__(self) -> str:
        return "<Connection to a home>"  # neither a place nor a bearer gets into a saved notebook


def connect(home: str | Path | None = None, bearer: str | None = None, *, purpose: str | None = None) -> Connection:
    """Open the home at `home` (else CUSTOS_HOME, else the nearest `.custos`) for questions about features.

    With a `bearer` (`custos access grant`) its holder's role, purpose and expiry hold. Without one it is the local
    operator of the settings who asks, for the `purpose` named. It is the gateway that answers, so policy, purposes and
    audit are the service's own; but whoever can read the home's files needs no bearer to misuse them.

    Raises Refused for a bearer that is missing, expired, of another home or no bearer at all, or for another
    `purpose`; BadInput where there is no home.

    >>> connect("/srv/.custos", bearer="")
    Traceback (most recent call last):
    privacy.errors.Refused: no bearer token was given; ask for a new one: custos access grant
    >>> connect("/srv/.custos")
    Traceback (most recent call last):
    privacy.errors.Refused: neither a bearer nor a purpose was given; give what `custos access grant` told, or purpose=
    """
    from mlproject.settings import quiet_environment
    from mlproject.wiring import House

    if bearer is None and purpose is None:
        remedy = "give what `custos access grant` told, or purpose="
        raise Refused("neither a bearer nor a purpose was given", remedy=remedy)
    if purpose is not None and purpose not in list(Purpose):
        raise BadInput("there is no such purpose", remedy=f"use one of {', '.join(Purpose)}")
    quiet_environment()
    house = House.open(None if home is None else Path(home))
    caller = partial(_operator, house, purpose) if bearer is None else _holder(house, bearer, purpose)
    caller()
    _ = house.sealed  # what no home is at, or isn't filled, is told here and not by the first question
    return Connection(house, caller)


def _operator(house: House, purpose: str | None) -> Principal:
    return house.renewed().operator(purpose)


def _holder(house: House, bearer: str, purpose: str | None) -> Callable[[], Principal]:
    """Return what says who a bearer speaks for, each time it is asked: it may have expired since."""
    from serving.auth import BearerRefused, Verifier

    if not bearer:  # an unset variable, before any home is opened
        raise Refused("no bearer token was given", remedy="ask for a new one: custos access grant")
    verifier = Verifier(house.sealed, house.now)

    def caller() -> Principal:
        try:
            principal = verifier.verify(bearer)
        except BearerRefused as error:
            raise Refused(error.what, remedy=error.remedy) from None
        if purpose is not None and principal.purpose != purpose:
            raise Refused("the bearer is for another purpose", remedy="leave purpose= out, or ask for another bearer")
        return principal

    return caller


def _columns(frame: pd.DataFrame, token: str, moment: str) -> pa.Table:
    """The two columns of a question, by position; BadInput for a frame that can't be asked with."""
    import pandas as pd
    import pyarrow as pa

    if not isinstance(frame, pd.DataFrame):
        raise BadInput("entity_frame is no DataFrame", remedy=f"give one with {token} and {moment}")
    if not frame.columns.is_unique:
        raise BadInput("a column of entity_frame is there twice", remedy="name every column once")
    for name in (token, moment):
        if name not in frame.columns:
            raise BadInput(f"entity_frame has no column {name}", remedy=f"give one with {token} and {moment}")
    try:
        moments = pa.array(frame[moment], from_pandas=True)
    except (pa.ArrowException, OverflowError, ValueError):
        raise BadInput(
            f"{moment} holds what is no time", remedy="make it with pandas.to_datetime(..., utc=True)"
        ) from None
    return pa.table({token: _texts(frame[token]), moment: moments})


def _texts(tokens: pd.Series) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(tokens.astype(object), pa.string(), from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        raise BadInput("the tokens are no texts", remedy="give them as `custos score` writes them") from None


def _beside(frame: pd.DataFrame, told: pa.Table) -> pd.DataFrame:
    """The caller's frame with the answer's columns after its own, row by row."""
    import pandas as pd

    answer = told.to_pandas().set_axis(frame.index)
    return pd.concat([frame, answer], axis=1)
