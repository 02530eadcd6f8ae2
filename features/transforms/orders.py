"""From order lines to the exact, integer events that every family counts.

Tokens differ from home to home and an engine adds doubles in any order, so money becomes integers
of 1e-4 currency units and time whole seconds: sums are exact, features equal bit for bit anywhere.
A line counts from the instant it is dated: an order's later lines (a return under the same number)
are an event of their own and never reach back before a cut-off. Where the shop tells when a line came
into its books (`created`), a line that came later than a cut-off doesn't count there, whatever its date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import ibis
import ibis.expr.types as ir

from .vocabulary import CREATED

__all__ = [
    "CREATED",
    "DAY",
    "KEYS",
    "LEAST_TENURE_DAYS",
    "MONEY",
    "TERM",
    "Snapshots",
    "as_known",
    "categories",
    "come_late",
    "dated_cutoffs",
    "days",
    "events",
    "latecomers",
    "money",
    "seconds_of",
    "snapshots",
    "together",
]

DAY: Final = 86_400
MONEY: Final = 10_000
TERM: Final = 1_000_000
LEAST_TENURE_DAYS: Final = 14
"""Rates count at least so many days, else one purchase yesterday is a fortune a day."""
KEYS: Final = ("customer_token", "event_timestamp")


@dataclass(frozen=True)
class Snapshots:
    """What every family reads: past events of every customer at every cut-off.

    `events` has one row a (customer, cut-off, event before it): `age` in seconds, integer money
    columns, `purchase` (is it one), `number` (1 for the first purchase), `gap` in seconds.
    `categories` has (customer, cut-off, category, lines) within the longest window, or is None.
    """

    events: ir.Table
    categories: ir.Table | None


def money(column: ir.Value) -> ir.FloatingValue:
    """Turn integer money back into currency."""
    return column.cast("float64") / ibis.literal(float(MONEY), "float64")


def days(seconds: ir.Value) -> ir.FloatingValue:
    """Turn integer seconds into days."""
    return seconds.cast("float64") / ibis.literal(float(DAY), "float64")


def share(part: ir.Value, whole: ir.Value) -> ir.Value:
    """Divide as doubles; null where `whole` is not positive."""
    return (whole > 0).ifelse(part.cast("float64") / whole.cast("float64"), ibis.null("float64"))


def std(total: ir.Value, squares: ir.Value, count: ir.Value, constant: ir.Value) -> ir.Value:
    """Sample standard deviation from exact integer moments; null for one value, 0 if all are equal."""
    sums, number = total.cast("float64"), count.cast("float64")
    spread = ((squares.cast("float64") - sums * sums / number) / (number - 1)).sqrt()
    zero = ibis.literal(0.0, "float64")
    return ibis.cases((count < 2, ibis.null("float64")), (constant, zero), else_=spread)


def square(column: ir.Value) -> ir.Value:
    """Square an integer without leaving the integers."""
    wide = column.cast("decimal(19, 0)")
    return wide * wide


def _units(lines: ir.Table, name: str, part: Literal["all", "gained", "returned"] = "all") -> ir.Value:
    """Sum a money column exactly, in integer units."""
    fixed = (lines[name].cast("float64") * MONEY).round().cast("int64")
    if part == "gained":
        return _narrow(fixed.sum(where=lines.amount > 0).fill_null(0))
    if part == "returned":
        return _narrow((-fixed).sum(where=lines.amount < 0).fill_null(0))
    return _narrow(fixed.sum())


def _narrow(total: ir.Value) -> ir.Value:
    # DuckDB sums integers into 128 bits behind Ibis's back; the detour makes them 64 again.
    return total.cast("decimal(38, 0)").cast("int64")


def come_late(lines: ir.Table) -> bool:
    """Whether lines may come into the books later than they are dated."""
    return CREATED in lines.columns


def events(lines: ir.Table, keys: Sequence[str] = ("customer_token",)) -> ir.Table:
    """Fold order lines into events: the lines of one order at one instant.

    Columns: `keys`, at, second, value, gained, returned, discount, coupon, lines, purchase, number, gap,
    and, where lines come late, `known`: the instant when all of a late event was, null for the others. The first
    event of an order with a positive value is a purchase. A discount or coupon that the shop doesn't have is null.
    """
    absent = {name: ibis.null("float64") for name in ("discount", "coupon") if name not in lines.columns}
    lines = lines.mutate(**absent) if absent else lines
    known = {"known": lines[CREATED].max(where=lines[CREATED] > lines.ordered_at)} if come_late(lines) else {}
    folded = lines.group_by(*keys, "order_token", "ordered_at").agg(
        value=_units(lines, "amount"),
        gained=_units(lines, "amount", "gained"),
        returned=_units(lines, "amount", "returned"),
        discount=_units(lines, "discount"),
        coupon=_units(lines, "coupon"),
        lines=(lines.amount > 0).sum().fill_null(0).cast("int64"),
        **known,
    )
    order = ibis.window(group_by=[*(folded[key] for key in keys), folded.order_token])
    opened = folded.mutate(
        second=seconds_of(folded.ordered_at),
        purchase=(folded.ordered_at == folded.ordered_at.min().over(order)) & (folded.value > 0),
    ).drop("order_token")
    # Ties in time go by value, so that no number depends on a token.
    past = ibis.window(
        group_by=[*(opened[key] for key in keys), opened.purchase],
        order_by=[opened.ordered_at, opened.value, opened.gained, opened.lines],
    )
    numbered = opened.mutate(
        number=(ibis.row_number().over(past) + 1), gap=opened.second - opened.second.lag().over(past)
    )
    return numbered.rename(at="ordered_at")


def latecomers(lines: ir.Table) -> ir.Table:
    """Whose lines, one at least, came later than they are dated: the column customer_token, each once."""
    return lines.filter(lines[CREATED] > lines.ordered_at).select("customer_token").distinct()


def categories(lines: ir.Table, keys: Sequence[str] = ("customer_token",)) -> ir.Table | None:
    """Count purchased lines by `keys`, instant and category; None if the shop has no category."""
    if "category" not in lines.columns:
        return None
    kept = lines.filter(lines.category.notnull() & (lines.amount > 0))
    return kept.group_by(*keys, "ordered_at", "category").agg(lines=kept.count())


def snapshots(happened: ir.Table, sorts: ir.Table | None, cutoffs: ir.Table, *, longest_days: int) -> Snapshots:
    """Pair every event with every cut-off strictly after it.

    `cutoffs` has the column event_timestamp. A category counts within the last `longest_days`.
    """
    dated = dated_cutoffs(cutoffs)
    paired = happened.join(dated, [happened.at < dated.event_timestamp], how="inner")
    if sorts is None:
        return Snapshots(_aged(paired), None)
    seen = sorts.join(dated, [sorts.ordered_at < dated.event_timestamp], how="inner")
    return Snapshots(_aged(paired), _recent(seen, longest_days))


def as_known(lines: ir.Table, cutoffs: ir.Table, *, longest_days: int) -> Snapshots:
    """Fold the lines that had come at each cut-off, and only those: for shops whose lines come late.

    A purchase may be the first at one cut-off and the second at the next, when an earlier one has come, so
    events are made for each cut-off. A line without `created` came when it is dated.
    """
    dated = dated_cutoffs(cutoffs)
    moment = dated.event_timestamp
    come = lines.join(dated, [lines.ordered_at < moment, _came(lines) < moment], how="inner").drop(CREATED)
    keys = (*KEYS, "now")
    sorts = categories(come, keys)
    return Snapshots(_aged(events(come, keys)), None if sorts is None else _recent(sorts, longest_days))


def together(one: Snapshots, other: Snapshots) -> Snapshots:
    """The snapshots of two groups of people, of whom nobody is in both."""
    sorts = None
    if one.categories is not None and other.categories is not None:
        sorts = one.categories.union(other.categories.cast(one.categories.schema()).select(one.categories.columns))
    past = other.events.select(one.events.columns).cast(one.events.schema())
    return Snapshots(one.events.union(past), sorts)


def _came(lines: ir.Table) -> ir.Value:
    return ibis.coalesce(lines[CREATED], lines.ordered_at)


def seconds_of(moment: ir.Value) -> ir.Value:
    """Whole seconds since 1970: the only way of telling a moment that all engines share."""
    return moment.epoch_seconds().cast("float64").floor().cast("int64")


def dated_cutoffs(cutoffs: ir.Table) -> ir.Table:
    """Return `cutoffs` with their second as `now`."""
    return cutoffs.mutate(now=seconds_of(cutoffs.event_timestamp))


def _aged(paired: ir.Table) -> ir.Table:
    gone = [name for name in ("at", "now", "second", "known") if name in paired.columns]
    return paired.mutate(age=paired.now - paired.second).drop(*gone)


def _recent(seen: ir.Table, longest_days: int) -> ir.Table:
    recent = seen.filter(seen.now - seconds_of(seen.ordered_at) <= longest_days * DAY)
    return recent.group_by(*KEYS, "category").agg(lines=recent.lines.sum().cast("int64"))
