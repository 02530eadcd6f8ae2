"""The epsilon ledger: what may still be told about the people of a data set for a purpose, and what was.

The privacy unit is one customer. Epsilons of releases add up (sequential composition), for ever: nothing is refunded,
neither by time nor because people were erased, whose share in what was told can't be taken back.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Literal

from privacy.durable import locked, write_beside
from privacy.errors import BadInput, EnvironmentFailed, Refused
from privacy.json_files import read_object
from privacy.noise import checked_epsilon

__all__ = ["Ledger", "Spending"]

_FORMAT: Final = 1
_REMEDY: Final = "restore it from its backup: without it nobody knows what was told already"


@dataclass(frozen=True)
class Spending:
    """One release's share of the budget; `reserved` and `spent` count alike.

    A reservation stays one when its process died before it was done: something may have been drawn, so it counts.
    """

    id: str
    dataset: str
    purpose: str
    epsilon: Decimal
    what: str
    at: str
    state: Literal["reserved", "spent"]


class Ledger:
    """The ledger file at `path`, with `total` to spend for each pair of data set and purpose.

    Amounts are decimal, so ten times 0.1 is 1. Several processes may use one file; each change is on disk before the
    call returns. The clock is only told, nothing depends on it.
    """

    def __init__(self, path: Path, total: float) -> None:
        self._path, self._lock = path, path.with_suffix(".lock")
        self.total = _decimal(total)

    def spendings(self) -> tuple[Spending, ...]:
        """Everything that was reserved or spent, oldest first; EnvironmentFailed where the file is damaged."""
        held = read_object(self._path, "the privacy budget's ledger", remedy=_REMEDY)
        if held is None:
            return ()
        try:
            if held["format"] != _FORMAT:
                raise ValueError
            return tuple(map(_spending, held["spendings"]))
        except (ArithmeticError, LookupError, TypeError, ValueError):
            what = "the privacy budget's ledger is damaged"
            raise EnvironmentFailed(what, where=str(self._path), remedy=_REMEDY) from None

    def require_whole(self, told: Mapping[str, tuple[str, str, float]]) -> None:
        """EnvironmentFailed unless each release that was told elsewhere, id -> (dataset, purpose, epsilon), is here.

        An older copy of the file, or one in which a row was lowered or moved, would be a refund. What is `told` must
        have been read before this is called: a release is in the ledger first.
        """
        held = {one.id: (one.dataset, one.purpose, one.epsilon) for one in self.spendings()}
        lost = sum(held.get(made) != (*place, _decimal(epsilon)) for made, (*place, epsilon) in told.items())
        if lost:
            what = f"the privacy budget's ledger lacks {lost} release(s) that the audit log tells of"
            raise EnvironmentFailed(what, where=str(self._path), remedy="restore the ledger from its latest backup")

    def remaining(self, dataset: str, purpose: str) -> Decimal:
        """What may still be spent; below 0 where the total was lowered since."""
        return self.total - sum((one.epsilon for one in self.spendings() if _of(one, dataset, purpose)), Decimal(0))

    def require(self, dataset: str, purpose: str, epsilon: float) -> Decimal:
        """What will be left after spending `epsilon`; Refused where it isn't there any more, BadInput for no epsilon.

        Says so without reserving it, as a dry run wants.
        """
        left = self.remaining(dataset, purpose)
        wanted = _decimal(checked_epsilon(epsilon))
        if wanted > left:
            what = f"epsilon {wanted} is not left for {purpose}: {max(left, Decimal(0))} of {self.total} is"
            remedy = "ask with less, use what was released already, or raise epsilon_total in settings.yaml knowingly"
            raise Refused(what, where=f"dataset {dataset}", remedy=remedy)
        return left - wanted

    def reserve(self, dataset: str, purpose: str, epsilon: float, what: str) -> str:
        """Take `epsilon` for a release that is about to be drawn; the reservation's id. Durable before it returns.

        Raises:
            Refused: it isn't left.
            BadInput: epsilon is no positive number.
            EnvironmentFailed: the ledger can't be read or written; then nothing may be drawn.
        """
        with locked(self._lock):
            self.require(dataset, purpose, epsilon)
            made = Spending(
                id=f"eps_{secrets.token_hex(8)}",
                dataset=dataset,
                purpose=purpose,
                epsilon=_decimal(epsilon),
                what=what,
                at=datetime.now(UTC).isoformat(timespec="seconds"),
                state="reserved",
            )
            self._write((*self.spendings(), made))
        return made.id

    def commit(self, reservation: str) -> None:
        """Note that a release was made; BadInput for a reservation that isn't in the ledger."""
        with locked(self._lock):
            held = self.spendings()
            if reservation not in {one.id for one in held}:
                raise BadInput("there is no such reservation in the privacy budget's ledger")
            self._write(Spending(**{**asdict(one), "state": "spent"}) if one.id == reservation else one for one in held)

    def _write(self, spendings: Iterable[Spending]) -> None:
        rows = [{**asdict(one), "epsilon": str(one.epsilon)} for one in spendings]
        write_beside(self._path, json.dumps({"format": _FORMAT, "spendings": rows}, indent=1).encode() + b"\n")


def _of(one: Spending, dataset: str, purpose: str) -> bool:
    return (one.dataset, one.purpose) == (dataset, purpose)


def _decimal(amount: float) -> Decimal:
    """The amount as it is written, not as it is stored: 0.1 is a tenth."""
    return Decimal(repr(float(amount)))


def _spending(raw: dict[str, Any]) -> Spending:
    """A row of the file; an error of the kinds that `spendings` names where it is none."""
    made = Spending(**{**raw, "epsilon": _parsed(raw["epsilon"])})
    texts = (made.id, made.dataset, made.purpose, made.what, made.at)
    if made.state not in ("reserved", "spent") or not all(isinstance(text, str) for text in texts):
        raise ValueError
    return made


def _parsed(text: object) -> Decimal:
    try:
        amount = Decimal(text) if isinstance(text, str) else Decimal("NaN")
    except InvalidOperation:
        raise ValueError from None
    if not amount.is_finite() or amount <= 0:  # a negative row would be a refund
        raise ValueError
    return amount
