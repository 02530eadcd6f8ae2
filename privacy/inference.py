"""The sensitive-inference firewall: lines that would tell what must not be inferred, and questions that ask for it.

Marked lines leave before anything is added up, because a total minus its published parts gives them back. Profiling by
such inferences is processing of special categories (GDPR art. 9(1), EDPB guidelines 8/2020 par. 114; PIPL art. 28).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.audit import AuditLog
from privacy.errors import Refused
from privacy.policy import Principal
from privacy.sensitive_words import lexicons, named_in

__all__ = ["RULE", "Firewall", "Marks", "canonical"]

RULE: Final = "no-sensitive-inference"
"""What refuses in the audit log and in messages; behind it stands the attribute."""


@dataclass(frozen=True)
class Marks:
    """Which lines of one table are marked: attribute -> column -> the values, spelled as `canonical` spells them.

    >>> marks = Marks({"infant": {"category": frozenset({"diapers"})}})
    >>> found = marks.of(pa.RecordBatch.from_pydict({"category": ["Diapers ", "bread", None]}))
    >>> found["infant"].tolist()
    [True, False, False]
    """

    by_attribute: Mapping[str, Mapping[str, Collection[str]]]

    def of(self, batch: pa.RecordBatch) -> dict[str, npt.NDArray[np.bool_]]:
        """(n,) bool by attribute: the rows in which any marked column holds a marked value."""
        found = {}
        for attribute, columns in self.by_attribute.items():
            rows = np.zeros(batch.num_rows, np.bool_)
            for column, values in columns.items():
                rows |= _holding(batch.column(column), values)
            found[attribute] = rows
        return found


def canonical(texts: pa.Array) -> pa.Array:
    """Return texts as marks are compared: NFKC, lower case, without blanks at the ends.

    >>> canonical(pa.array([" Ｄiapers", None])).to_pylist()
    ['diapers', None]
    """
    return pc.utf8_lower(pc.utf8_trim_whitespace(pc.utf8_normalize(texts.cast(pa.string()), form="NFKC")))


def _holding(column: pa.Array, values: Collection[str]) -> npt.NDArray[np.bool_]:
    # A column repeats few values: each is spelled and looked up once.
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    among = pc.is_in(canonical(coded.dictionary), value_set=pa.array(sorted(values), pa.string()))
    return pc.fill_null(among.take(coded.indices), False).to_numpy(zero_copy_only=False)


class Firewall:
    """Refuses to be asked for what must not be inferred: by name, in English or Chinese, and in the audit log.

    `marked` tells the attributes that the shop's descriptor marks; those the law itself protects are refused anyway.
    """

    def __init__(self, audit: AuditLog, marked: Callable[[], Collection[str]] = tuple) -> None:
        self._audit, self._marked = audit, marked

    def require(self, principal: Principal, action: str, asked: str | Sequence[str]) -> None:
        """Raise Refused if what is `asked` for (a service, segment, tag or reason) names a protected attribute.

        The refusal is audited as `deny` under the rule `no-sensitive-inference`; what was asked is not repeated.
        """
        texts = [asked] if isinstance(asked, str) else list(asked)
        named = {name for text in texts for name in _named(text)}
        always = {name for name in named if lexicons()[name].always}
        found = sorted(always | (named & set(self._marked()) if named > always else set()))
        if not found:
            return
        told = ", ".join(found)
        self._audit.append(
            action=action,
            principal=principal,
            resource=f"inference:{told}",
            outcome="deny",
            rule=RULE,
            count=len(texts),
        )
        raise Refused(
            f"this asks to tell of people what must not be inferred: {told} (rule {RULE})",
            remedy="ask for nothing finer than departments; what somebody bought may be shown to that person only",
        )


@lru_cache(maxsize=1024)
def _named(text: str) -> tuple[str, ...]:
    return named_in(text, disguised=True)
