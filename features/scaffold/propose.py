"""What a column is proposed to be, and what a person must decide: all that names and values do not settle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from features.source_columns import quoted
from privacy.classification import LinkKind, Purpose, Sensitivity
from privacy.counted import counted

from .contents import STRAY, share_text
from .tables import ColumnFacts, FileTable, is_order
from .words import OF_TABLE, SUBJECT, Concept, concept_of, plain

__all__ = ["ProposedColumn", "ProposedTable", "propose"]

SURE: Final = 0.8
"""From this share on, a column is what its values look like."""
LONG_TEXT: Final = 24
REPEATED: Final = 0.5
"""A category has fewer distinct values than this share of its rows."""
UNIQUE: Final = 0.97
"""HyperLogLog is a few per cent off."""
BIRTHS: Final = 0.95
NUMBERS: Final = ("int", "float")
LINKS: Final = {"EMAIL": LinkKind.EMAIL, "PHONE": LinkKind.PHONE}
"""What customers may be known by besides their id, where contents alone show it."""
HINTS: Final = {
    "transactions": ("order", "transaction", "sale", "line", "purchase", "receipt", "订单", "交易", "销售"),
    "customers": ("customer", "client", "member", "user", "people", "person", "household", "客户", "会员", "用户"),
    "products": ("product", "item", "sku", "article", "catalog", "商品", "产品"),
    "interactions": (
        *("interaction", "event", "contact", "click", "visit", "service"),
        *("互动", "工单", "联系", "客服", "来电", "接触", "服务"),
    ),
    "consents": ("consent", "permission", "opt_in", "同意", "授权"),
}
ASSIGNED: Final = ("consents", "transactions", "customers", "products", "interactions")
"""Consents first: their columns are like no others', but who has one each could be taken for the customers."""
NOBODY: Final = (
    "no column names a person (such as customer_id or 客户编号), nor a product that every row has its own of "
    "(such as product_id or 商品编号)"
)
PEOPLE: Final = (
    "it tells of people, but is neither orders (a time, and an amount or a name such as orders), nor customers (each "
    "once), nor contacts (one time, and a name such as contacts or 客服), nor consents (purpose, granted and a time)"
)
ALONE: Final = "the consent ledger keeps the customer, purpose, granted and at alone"
ADVICE: Final = {
    "kind": "campaign, coupon, service and web count; for others write sql, such as \"'service'\" where all are",
    "purpose": f"wanted is one of {', '.join(Purpose)}; translate yours in sql",
    "returned": "returns are negative amounts; where this marks them, write amount as sql, such as "
    "case when {column} = '是' then -... else ... end",
    "granted": "wanted is yes or no; translate yours in sql, such as {column} = '是'",
}
"""What to do with columns whose own words Custos doesn't know."""


@dataclass(frozen=True)
class ProposedColumn:
    """One line of the draft; without a sensitivity a person must decide, and `seen` says what there is to go by.

    `identifies` is what surely would link customers who share a value: whether it should, a person must decide too.
    """

    name: str
    source: str
    sensitivity: Sensitivity | None
    seen: str
    kind: str | None = None
    sql: str | None = None
    identifies: LinkKind | None = None


@dataclass(frozen=True)
class ProposedTable:
    """One table of the draft; `name` is None where the file is none that Custos knows, `why` then says why.

    `left_out` are columns of a table that is used, each with the reason.
    """

    name: str | None
    files: FileTable
    columns: tuple[ProposedColumn, ...]
    why: str = ""
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def undecided(self) -> int:
        """How many columns a person must decide."""
        return sum(column.sensitivity is None for column in self.columns)


def propose(tables: Sequence[FileTable]) -> list[ProposedTable]:
    """Say what each table is and propose its columns; each kind of table is given once, to the likeliest."""
    roles: dict[int, str] = {}
    for role in ASSIGNED:
        scores = {at: _score(table, role) for at, table in enumerate(tables) if at not in roles}
        best = max(scores, key=lambda at: (scores[at], tables[at].rows), default=None)
        if best is not None and scores[best] > 0:
            roles[best] = role
    given = {role: tables[at].source for at, role in roles.items()}
    proposed = [_proposed(table, roles.get(at), given) for at, table in enumerate(tables)]
    order = list(HINTS)
    return sorted(proposed, key=lambda each: order.index(each.name) if each.name else len(order))


def _proposed(table: FileTable, role: str | None, given: Mapping[str, str]) -> ProposedTable:
    columns = _columns(table, role)
    if role is None:
        return ProposedTable(None, table, columns, _why(table, given))
    if role != "consents":
        return ProposedTable(role, table, columns)
    wanted = {SUBJECT.name, *(concept.name for concept in OF_TABLE[role])}
    rest = tuple((column.source, ALONE) for column in columns if column.name not in wanted)
    return ProposedTable(role, table, tuple(column for column in columns if column.name in wanted), left_out=rest)


def _why(table: FileTable, given: Mapping[str, str]) -> str:
    """Say why a file is no table of the draft."""
    if not table.rows:
        return "it has no rows"
    fits = next((role for role in ASSIGNED if _score(table, role) > 0), None)
    if fits is not None:
        why = f"it could be {fits}, which {given[fits]} is likelier"
        apart = f" (they can't be one table: {table.apart})" if table.apart else ""
        return f"{why}; files of one table have equal columns and alike names{apart}"
    return PEOPLE if any(SUBJECT.means(column.name) for column in table.columns) else NOBODY


def _score(table: FileTable, role: str) -> float:
    """How well a table fits a role; 0 where it can't be one."""
    named = ((concept_of(column.name, role), column) for column in table.columns)
    concepts = {concept.name: column for concept, column in named if concept is not None}
    subject, times = concepts.get("customer_id"), [column for column in table.columns if column.kind == "time"]
    money = {"amount", "price", "quantity"} & concepts.keys()
    name = plain(table.source) + table.source
    hint = sum(word in name for word in HINTS[role])
    if role == "transactions":
        fits = subject is not None and bool(times or "ordered_at" in concepts) and (bool(money) or hint > 0)
        return fits * (1 + len(money) + ("order_id" in concepts) + hint)
    if role == "customers":
        return (subject is not None and subject.distinct >= UNIQUE) * (1 + hint)
    if role == "products":
        key = concepts.get("product_id")
        return (subject is None and key is not None and key.distinct >= UNIQUE) * (1 + hint)
    if role == "consents":
        return (subject is not None and {"purpose", "granted", "at"} <= concepts.keys()) * (1.0 + hint)
    return (subject is not None and len(times) == 1 and hint > 0) * (1.0 + hint)


def _columns(table: FileTable, role: str | None) -> tuple[ProposedColumn, ...]:
    taken: set[str] = set()
    found = []
    for facts in table.columns:
        column = _column(facts, role, taken, has_subject=any(SUBJECT.means(each.name) for each in table.columns))
        taken.add(column.name)
        found.append(column)
    if role == "transactions":
        found = _lines(found, table)
    return tuple(found)


def _column(facts: ColumnFacts, role: str | None, taken: set[str], *, has_subject: bool) -> ProposedColumn:
    concept = concept_of(facts.name, role)
    if concept is SUBJECT and "customer_id" not in taken and facts.kind in {"int", "text"}:
        return ProposedColumn("customer_id", facts.name, Sensitivity.DIRECT_IDENTIFIER, "names the person")
    kind, share = facts.contents.strongest()
    told = "; ".join(facts.contents.told())
    name = _free(_named(facts, concept, kind if share >= SURE else "", taken), taken)
    shape = _shape(facts)
    seen = [shape, told, f"not alike in all its files: {facts.differs}" if facts.differs else ""]
    if concept is not None and concept.name in ADVICE:
        seen.append(ADVICE[concept.name].format(column=quoted(facts.name)))
    draft = ProposedColumn(name, facts.name, None, "; ".join(filter(None, seen)))
    proposed = _settled(draft, facts, concept, role, has_subject=has_subject)
    links = LINKS.get(kind) if share >= SURE and has_subject else None
    if proposed.sensitivity is Sensitivity.DIRECT_IDENTIFIER and links is not None and facts.kind in {"int", "text"}:
        proposed = replace(proposed, identifies=links)
    return proposed if proposed.sensitivity is None else replace(proposed, seen=told or shape)


def _settled(
    draft: ProposedColumn, facts: ColumnFacts, concept: Concept | None, role: str | None, *, has_subject: bool
) -> ProposedColumn:
    share = facts.contents.strongest()[1]
    if share >= SURE:
        conflict = concept is not None and concept.shape not in {"any", "time"} and concept is not SUBJECT
        return draft if conflict else replace(draft, sensitivity=Sensitivity.DIRECT_IDENTIFIER)
    if concept is None or (concept.name == "name" and not has_subject):
        return _by_type(draft, facts, role)
    if concept.shape == "any" or concept is SUBJECT:
        day = "date" if concept.name == "birth_date" and facts.kind == "time" else None
        return replace(draft, sensitivity=concept.sensitivity, kind=day)
    return _of_concept(draft, facts, concept, role)


def _of_concept(draft: ProposedColumn, facts: ColumnFacts, concept: Concept, role: str | None) -> ProposedColumn:
    """A name that keeps a column open is believed only if the column looks like it and holds nobody's details."""
    strays = max(facts.contents.part.values(), default=0.0)
    looks = {
        "number": facts.kind in NUMBERS and not facts.differs,
        "time": facts.kind == "time" and not facts.differs,
        "kind": facts.kinds == 1,
        "purpose": facts.purposes == 1,
        "answer": facts.answers == 1 and facts.filled == 1,
        "id": facts.kind in {"int", "text"} and facts.length <= LONG_TEXT,
        "category": facts.kind in {"int", "text", "boolean"}
        and facts.length <= LONG_TEXT
        and facts.distinct <= REPEATED,
    }
    if role is None or not looks.get(concept.shape) or strays > STRAY:
        return draft
    if role == "customers" and concept.name not in {"signed_up_at", "tier", "store_id", "channel"}:
        return draft
    if role == "products" and concept.shape in {"id", "category", "number"}:
        return replace(draft, sensitivity=Sensitivity.NON_PERSONAL)
    kind = "timestamp" if concept.shape == "time" and role != "transactions" else None
    kind = "float" if concept.shape == "number" else kind
    return replace(draft, sensitivity=concept.sensitivity, kind=kind)


def _by_type(draft: ProposedColumn, facts: ColumnFacts, role: str | None) -> ProposedColumn:
    """Without a name that tells, only when something happened to an order is proposed."""
    if facts.kind == "time" and facts.long_ago >= BIRTHS:
        return replace(draft, seen=f"{draft.seen}; {share_text(facts.long_ago)} lie 14 to 100 years back: birth dates?")
    if role == "transactions" and facts.kind == "time" and not facts.differs:
        return replace(draft, sensitivity=Sensitivity.BEHAVIOURAL, kind="timestamp")
    return draft


def _lines(columns: list[ProposedColumn], table: FileTable) -> list[ProposedColumn]:
    """Give the required columns their names: what only one column can be, it is."""
    facts = {column.name: column for column in table.columns}
    named = {column.name: column for column in columns if column.sensitivity is not None}
    times = [column for column in named.values() if column.kind == "timestamp" and concept_of(column.source) is None]
    if "ordered_at" not in named and len(times) == 1:
        _name(columns, times[0], "ordered_at", "the only time")
    if "order_id" not in named and "customer_id" in named:
        when = named.get("ordered_at", times[0] if len(times) == 1 else None)
        open_ids = [column for column in columns if column.sensitivity is None and facts[column.source].could_be_id]
        fitting = [
            each
            for each in open_ids
            if when is not None and is_order(table, each.source, named["customer_id"].source, when.source)
        ]
        if len(fitting) == 1:
            _name(columns, fitting[0], "order_id", "one for each person and time")
    if "amount" not in named and {"price", "quantity"} <= named.keys():
        sql = " * ".join(quoted(named[part].source) for part in ("quantity", "price"))
        columns.append(ProposedColumn("amount", "", Sensitivity.BEHAVIOURAL, "quantity times price", "float", sql))
    elif "amount" not in named:
        sums = [each for each in columns if each.sensitivity is None and facts[each.source].could_be_sum]
        if len(sums) == 1:
            _name(columns, sums[0], "amount", "the only sums", "float")
    return columns


def _name(columns: list[ProposedColumn], column: ProposedColumn, name: str, why: str, kind: str | None = None) -> None:
    sensitivity = Sensitivity.BEHAVIOURAL
    columns[columns.index(column)] = replace(
        column, name=name, kind=kind, sensitivity=sensitivity, seen=f"{column.seen}; {why}"
    )


def _shape(facts: ColumnFacts) -> str:
    kinds = {"text": "text", "int": "whole numbers", "float": "numbers", "time": "times", "boolean": "yes or no"}
    long = f" of {counted(round(facts.length), 'character')}" if facts.kind == "text" else ""
    told = f"{kinds.get(facts.kind, 'a type that must be cast')}{long}, {share_text(facts.filled)} filled"
    return f"{told}, {share_text(facts.distinct)} distinct" if facts.filled else told


def _named(facts: ColumnFacts, concept: Concept | None, kind: str, taken: set[str]) -> str:
    """Name the column as features know it, else as the source does where that has Latin letters."""
    own = plain(facts.name)
    if (
        concept is not None
        and concept.name not in taken
        and concept is not SUBJECT
        and (concept.shape != "any" or not own)
    ):
        return concept.name
    name = own or (concept.name if concept else "") or kind.lower() or f"column_{len(taken) + 1}"
    return (name if name[0].isalpha() else f"column_{name}")[:60]


def _free(name: str, taken: set[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
