"""The inference gate's section of the report as lines: verdicts, what leaks, and what to withhold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from privacy.counted import counted

__all__ = ["gate_lines", "interval_text"]


def gate_lines(section: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section of the report as lines for a person."""
    if not section["marked"]:
        yield "Inference: the descriptor marks nothing that must not be inferred, and nothing was tested."
        return
    flag = f"at least {counted(section['baskets'], 'marked basket')} in {counted(section['days'], 'day')}"
    yield f"Inference of {', '.join(section['marked'])} ({flag}), attacked by LightGBM, AUC with 95 % intervals"
    yield f"  {'published':<22}{'attribute':<12}{'over everybody':<22}{'within spend deciles':<22}verdict"
    for verdict in section["verdicts"]:
        attacked = verdict["attacked"]
        cells = ("-", "-")
        if attacked is not None:
            cells = (interval_text(attacked["overall"]), interval_text(attacked["within"]))
        told = "passed" if verdict["passed"] else "FAILED" + ("" if attacked else f", {verdict['why']}")
        yield f"  {verdict['what']:<22}{verdict['attribute']:<12}{cells[0]:<22}{cells[1]:<22}{told}"
    yield from _leaks(section["verdicts"])
    if any(not verdict["passed"] for verdict in section["verdicts"]):
        yield "  What failed is neither promoted nor told."
        yield from _ways(section["way_out"]) if "way_out" in section else _look_for_one()


def interval_text(interval: Mapping[str, float]) -> str:
    """Return an estimate with its interval.

    >>> interval_text({"value": 0.5, "low": 0.4, "high": 0.6})
    '0.500 [0.400, 0.600]'
    """
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _leaks(verdicts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield, of services that failed, the features that tell most by themselves."""
    for verdict in verdicts:
        if verdict["passed"] or not verdict.get("telling") or not verdict["what"].startswith("service:"):
            continue
        alone = ", ".join(f"{name} ({auc:.2f})" for name, auc in verdict["telling"])
        yield f"  {verdict['what']} tells {verdict['attribute']} most by {alone}"


def _look_for_one() -> Iterator[str]:
    yield "  `custos inference check` looks for the fewest features to put under `withhold:` in the descriptor."


def _ways(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the search for a way out found, and what to do with it."""
    for way in told["ways"]:
        names, many = ", ".join(way["services"]), f"{len(way['withhold'])} of {way['may_withhold']}"
        if way["passes"]:
            cut = "" if way["ended"] else "; the search stopped there, fewer may do"
            yield f"  {names} would pass without {many} features that may be withheld ({way['attacks']} attacks{cut}):"
            yield f"    {way['why']}"
        elif not way["may_withhold"]:
            yield f"  {names} can't pass by withholding: no column of it is a feature that `withhold:` may list."
        else:
            yield f"  {names} can't pass by withholding, not even without all {way['may_withhold']} that may be:"
            yield f"    {way['why']}"
    if not told["ways"]:
        yield "  Nothing to withhold was looked for: no service failed that could be tested."
    if any(way["passes"] for way in told["ways"]):
        yield "  Put this into the descriptor, then `custos run`: models learn without it, and are attacked again."
        yield f"    withhold: [{', '.join(told['withhold'])}]"
        yield "  It was found by looking at these people; of others it may tell more, so withhold more to be safe."
