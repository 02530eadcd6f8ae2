"""The least to withhold so that what is published passes the inference gate: found greedily, verified by the gate.

Which features tell by themselves says where to begin; what the gate then says of the rest decides. Deltas are given
back in halves, as delta debugging does (Zeller, Hildebrandt 2002), so that few attacks do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from privacy.errors import CustosError
from training.inference_attack import telling
from training.inference_gate import GateLimits, Inferred, examine, published_columns, target_of

__all__ = ["MOST_ATTACKS", "WayOut", "way_out"]

MOST_ATTACKS: Final = 40
"""How many attacks a search makes at most; it takes as long as that many checks of one table and attribute."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class WayOut:
    """What a search found: without `withhold` the gate `passes`, or it can't by withholding; `why` is its last word.

    `may_withhold` columns were there to leave out; `ended` is False where the search was cut short: fewer may do.
    """

    withhold: tuple[str, ...]
    passes: bool
    why: str
    attacks: int
    may_withhold: int
    ended: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return asdict(self)


def way_out(
    published: pa.Table,
    evidence: pa.Table,
    attributes: Sequence[str],
    optional: Collection[str],
    *,
    limits: GateLimits | None = None,
    progress: Progress | None = None,
) -> WayOut:
    """Search the fewest of the `optional` columns of `published` without which no one of `attributes` can be inferred.

    `published` and `evidence` (spend and a boolean column for each attribute) are as `examine` takes them. At least one
    column stays. Each step attacks what is left as the gate does; the answer was passed by it in these very words.
    """
    search = _Search(published, evidence, attributes, limits or GateLimits(), progress)
    ranked = search.ranked(optional)
    if not ranked:
        return WayOut((), False, "no column of it may be withheld", 0, 0)
    if not search.passes(ranked):
        return WayOut((), False, search.why, search.attacks, len(ranked))
    found = search.fewest(search.shortest(ranked))
    return WayOut(tuple(found), True, search.why, search.attacks, len(ranked), not search.cut_short)


@dataclass
class _Search:
    published: pa.Table
    evidence: pa.Table
    attributes: Sequence[str]
    limits: GateLimits
    progress: Progress | None
    attacks: int = 0
    why: str = ""
    cut_short: bool = False
    _hardest: str = ""

    def may_go_on(self) -> bool:
        """Whether one more set can be attacked for all attributes."""
        self.cut_short = self.attacks + len(self.attributes) > MOST_ATTACKS
        return not self.cut_short

    def ranked(self, optional: Collection[str]) -> list[str]:
        """The optional columns, those first that tell any attribute most by themselves; one column stays at least."""
        names = published_columns(self.published)
        alone = np.zeros(len(names))
        for attribute in self.attributes:
            try:
                target = target_of(self.published, self.evidence, attribute, self.limits.most_people)
            except (CustosError, KeyError, TypeError, ValueError, pa.ArrowException):
                continue  # the gate says why it can't be tested
            alone = np.maximum(alone, telling(target))
        ranked = [names[at] for at in np.argsort(-alone, kind="stable") if names[at] in optional]
        return ranked[: len(names) - 1]

    def passes(self, withheld: Collection[str]) -> bool:
        """Whether the gate passes all attributes without these columns; what failed last is attacked first."""
        kept = self.published.drop_columns(list(withheld))
        found: list[Inferred] = []
        for attribute in sorted(self.attributes, key=lambda each: (each != self._hardest, each)):
            verdict = examine("it", kept, self.evidence, attribute, self.limits)
            self.attacks += 1
            if self.progress is not None:
                self.progress("attacks", self.attacks, MOST_ATTACKS)
            found.append(verdict)
            if not verdict.passed:
                self._hardest = attribute
                break
        passed = all(verdict.passed for verdict in found)
        if passed or not self.why:
            self.why = "; ".join(f"{each.attribute}: {each.why}" for each in found)
        return passed

    def shortest(self, ranked: Sequence[str]) -> list[str]:
        """The shortest beginning of `ranked` without which it passes, by halving; without all of it, it does."""
        fails, does = 0, len(ranked)
        while does - fails > 1 and self.may_go_on():
            middle = (fails + does) // 2
            if self.passes(ranked[:middle]):
                does = middle
            else:
                fails = middle
        return list(ranked[:does])

    def fewest(self, withheld: Sequence[str]) -> list[str]:
        """Give back what isn't needed, what tells least first: halves, then quarters, at last one by one."""
        kept, size = list(withheld), len(withheld) // 2
        while size:
            for start in range(len(kept) - size, -1, -size):
                if not self.may_go_on():
                    return kept
                fewer = kept[:start] + kept[start + size :]
                if fewer and self.passes(fewer):
                    kept = fewer
            size //= 2
        return kept
