"""What a descriptor says of one person's several ids: which columns hold them, and how far they are believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from privacy.classification import LinkKind, Sensitivity
from privacy.errors import BadInput

from .strict import PLACE, Strict

if TYPE_CHECKING:
    from privacy.link_rules import LinkRules

    from .tables import Table

__all__ = ["Identity", "check_identity", "identifying", "link_rules"]


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Place = Annotated[str, Field(pattern=PLACE)]
Value = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]


class Identity(Strict):
    """The rules by which customers who share an id become one person; the columns say `identifies`."""

    weak: tuple[LinkKind, ...] = (LinkKind.DEVICE,)
    shared_by: int = Field(default=3, ge=2, le=20)
    largest: int = Field(default=10, ge=2, le=1000)
    unique: tuple[Place, ...] = ()
    junk: Mapping[LinkKind, Annotated[tuple[Value, ...], Field(min_length=1)]] = Field(default_factory=dict)
    region: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")


def identifying(table: Table) -> dict[str, LinkKind]:
    """The columns of `table` that hold ids of the person besides the subject, and of which kind."""
    return {name: column.identifies for name, column in table.columns.items() if column.identifies is not None}


def link_rules(identity: Identity) -> LinkRules:
    """The rules as `privacy` takes them, what is declared junk in the spelling of its kind."""
    import pyarrow as pa  # the descriptor stays light to import

    from privacy.link_ids import normalised
    from privacy.link_rules import LinkRules

    region, junk = identity.region or "", {}
    for kind, values in identity.junk.items():
        read = normalised(pa.array(values, pa.string()), kind, region).to_pylist()
        junk[kind] = frozenset(
            spelt if spelt is not None else value.lower() for spelt, value in zip(read, values, strict=True)
        )
    return LinkRules(frozenset(identity.weak), identity.shared_by, identity.largest, region, junk)


def check_identity(
    identity: Identity, tables: Mapping[str, Table], where: str, *, declared: bool
) -> Iterator[BadInput]:
    """Yield what can't be meant: ids of nobody, of the subject itself, or kept open; rules about nothing.

    `declared` says whether the descriptor has an `identity` at all.
    """
    kinds: set[LinkKind] = set()
    for name, table in tables.items():
        for column, kind in identifying(table).items():
            kinds.add(kind)
            yield from _column_faults(f"column '{name}.{column}'", table, column, where)
    if declared and not kinds:
        remedy = "say identifies: account, card, device, email or phone of a column"
        yield BadInput("identity: no column identifies anybody", where=where, remedy=remedy)
        return
    if LinkKind.PHONE in kinds and identity.region is None:
        what = "identity: a column identifies by phone, and no 'region' says whose numbers lack a country code"
        yield BadInput(what, where=where, remedy="such as identity: {region: CN}")
    if identity.region is not None and identity.region not in _regions():
        yield BadInput("identity: unknown 'region'", where=where, remedy="use a code of ISO 3166-1, such as CN or GB")
    for kind in identity.junk.keys() - kinds:
        yield BadInput(f"identity.junk: no column identifies by {kind}", where=where, remedy="leave it out")
    for place in identity.unique:
        yield from _unique_faults(place, tables, where)


def _column_faults(what: str, table: Table, column: str, where: str) -> Iterator[BadInput]:
    role, declared = table.role_of(column), table.columns[column]
    if table.subject is None:
        yield BadInput(f"{what} identifies nobody: its table has no subject", where=where, remedy="leave it out")
    elif role == "subject":
        yield BadInput(f"{what} identifies itself: it is the subject", where=where, remedy="leave 'identifies' out")
    elif role != "key" and declared.sensitivity is not Sensitivity.DIRECT_IDENTIFIER:
        yield BadInput(f"{what} identifies people, so it must be a direct_identifier or a key", where=where)
    elif table.kind_of(column) not in {None, "string", "int"}:
        yield BadInput(f"{what} identifies people, so it must be a string or an int", where=where)


def _unique_faults(place: str, tables: Mapping[str, Table], where: str) -> Iterator[BadInput]:
    name, _, column = place.partition(".")
    if name not in tables or column not in tables[name].columns:
        remedy = "list it in the table, or mend the name"
        yield BadInput(f"identity.unique: there is no column '{place}'", where=where, remedy=remedy)
    elif tables[name].subject is None or tables[name].role_of(column) == "subject":
        what = f"identity.unique: '{place}' is nothing that two customers could have alike"
        yield BadInput(what, where=where, remedy="name a column that tells of a customer, such as a birth date")


def _regions() -> frozenset[str]:
    from phonenumbers import SUPPORTED_REGIONS  # its tables take a while to load

    return frozenset(SUPPORTED_REGIONS)
