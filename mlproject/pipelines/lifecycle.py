"""From one life-cycle stage to the next: the transition matrix of a home, told in shares of many people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from privacy.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from mlproject.wiring import House

__all__ = ["stage_transitions", "transition_lines"]

STAGE: Final = "stage"
JOINED: Final = "joined"


def stage_transitions(house: House, purpose: str) -> dict[str, Any]:
    """Return, by stage, the shares of people in each stage one churn horizon later, over all built cut-offs.

    A cell of too few people is None and told as part of the next; a stage of too few isn't told. Each cut-off's read
    is authorised and audited by the gateway; one with too few people whom this purpose may read is left out and listed.
    Raises BadInput where no two built cut-offs are a horizon apart, Refused where all of them have too few.
    """
    import pyarrow as pa

    from features.admission import TooFew
    from features.profile import least_class
    from features.services import INSIGHT_SERVICE
    from features.small_bands import least_people, transition_shares

    descriptor = house.descriptor
    if STAGE in descriptor.withhold:
        raise BadInput("this shop withholds the life-cycle stage", remedy="take it off the descriptor's list")
    days = descriptor.targets.churn.horizon_days
    moments = _moments(house, days)
    principal, read, refused = house.operator(purpose), dict[datetime, pa.Table](), dict[datetime, TooFew]()
    for moment in moments:
        try:
            read[moment] = house.gateway.snapshot_rows(principal, INSIGHT_SERVICE, moment)
        except TooFew as few:  # such as before most had consented: the others are told all the same
            refused[moment] = few
    if not read:
        raise refused[moments[-1]]
    rows: pa.Table = pa.concat_tables(read.values()).select(["customer_token", "event_timestamp", STAGE])
    least = least_people(least_class(house.stores.feature_store(house.state.dataset)))
    shares = transition_shares(rows, days, least)
    cutoffs, left_out = ([moment.date().isoformat() for moment in each] for each in (read, refused))
    return {"days": days, "cutoffs": cutoffs, "left_out": left_out, "k": least, "shares": shares}


def transition_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the matrix: a line a stage, a column a later stage, in per cent that add up to 100."""
    from features.transforms.vocabulary import STAGES

    shares, cutoffs, few = told["shares"], told["cutoffs"], f"fewer than {told['k']} people"
    left_out = f"; {len(told['left_out'])} of fewer people left out" if told["left_out"] else ""
    yield f"Of those in a stage, so many per cent were in another {told['days']} days later"
    yield f"({len(cutoffs)} cut-offs, {cutoffs[0]} to {cutoffs[-1]}{left_out})"
    yield f"{'':<12}" + "".join(f"{stage:>12}" for stage in STAGES)
    for stage in STAGES:
        cells = (JOINED if share is None else f"{100 * share:.1f}" for share in shares.get(stage, {}).values())
        yield f"{stage:<12}" + ("".join(f"{cell:>12}" for cell in cells) if stage in shares else f"  {few}: not told")
    if any(share is None for row in shares.values() for share in row.values()):
        yield f"{JOINED}: {few}, counted with the next stage to the right that has enough, or else the last"


def _moments(house: House, days: int) -> list[datetime]:
    """Built cut-offs that have another so many days before or after them."""
    noted = house.stores.feature_store(house.state.dataset).manifest("cutoffs")["cutoffs"]
    built = {datetime.fromisoformat(text).astimezone(UTC) for text in noted}
    step = timedelta(days=days)
    paired = sorted(moment for moment in built if {moment - step, moment + step} & built)
    if not paired:
        raise BadInput(f"no two built cut-offs are {days} days apart", remedy="run `custos build` with a later --as-of")
    return paired
