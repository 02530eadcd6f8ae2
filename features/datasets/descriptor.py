"""One YAML file describes a shop: what each column means and how sensitive it is.

The descriptor is the only place that names source columns; what it omits is never read.
"""

from __future__ import annotations

import hashlib
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import Field, PrivateAttr, ValidationError

from privacy.classification import Sensitivity
from privacy.durable import expanded
from privacy.errors import BadInput
from privacy.strict_yaml import UnreadableYaml, read_document

from .anonymity import check_anonymity
from .consents import check_consents
from .identity import Identity, check_identity
from .inference import Inference, check_inference, check_withheld
from .quality import Quality, check_quality
from .strict import Name, Strict
from .tables import Table
from .targets import Targets

__all__ = ["Descriptor", "load_descriptor"]

TABLES: Final = ("transactions", "customers", "products", "interactions", "consents")
REQUIRED: Final = ("order_id", "ordered_at", "amount")
USABLE: Final = frozenset({Sensitivity.BEHAVIOURAL, Sensitivity.NON_PERSONAL})
SLOW_SHOP_HORIZON_DAYS: Final = 60
MOMENTS: Final = {"transactions": {"created"}, "interactions": {"happened_at", "created"}}


class Descriptor(Strict):
    """A shop: its tables, clock and currency, who is one person, what must not be inferred, how good it must be."""

    name: Name
    subject: Name
    time_zone: str = "UTC"
    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    description: str = ""
    folder: str = Field(default="", exclude=True)
    tables: dict[str, Table]
    identity: Identity = Field(default_factory=Identity)
    inference: Inference = Field(default_factory=dict)
    withhold: tuple[Name, ...] = ()
    quality: Quality = Field(default_factory=Quality)
    targets: Targets
    _base_dir: Path = PrivateAttr(default_factory=Path)
    _environment: Mapping[str, str] = PrivateAttr(default_factory=dict)

    def model_post_init(self, _context: object) -> None:
        """Tell each part what it must know of the whole."""
        for name, table in self.tables.items():
            table._name, table._subject = name, self.subject
        for target in (self.targets.churn, self.targets.clv):
            target._zone = self.time_zone

    @property
    def base_dir(self) -> Path:
        """The folder that relative sources start from: `folder`, seen from the descriptor's own."""
        return self._base_dir / expanded(Path(self.folder))

    @property
    def environment(self) -> Mapping[str, str]:
        """Where the variables are that hold the passwords of databases."""
        return self._environment

    @property
    def slow(self) -> bool:
        """Whether customers come so seldom that windows are months, not weeks."""
        return self.targets.churn.horizon_days > SLOW_SHOP_HORIZON_DAYS

    def digest(self) -> str:
        """Return the SHA-256 of the meaning of this descriptor, 64 hex digits; how good the data must be is no part."""
        return hashlib.sha256(self.model_dump_json(by_alias=True, exclude={"quality"}).encode()).hexdigest()


def builtin_names() -> list[str]:
    """List the descriptors that ship with Custos.

    >>> "complete_journey" in builtin_names()
    True
    """
    files = resources.files("features.datasets").iterdir()
    return sorted(item.name.removesuffix(".yaml") for item in files if item.name.endswith(".yaml"))


def load_descriptor(name_or_path: str, environment: Mapping[str, str] | None = None) -> Descriptor:
    """Read a built-in descriptor by name, or any descriptor by the path of its YAML file.

    `environment` holds the passwords of databases, where a source names a variable for its own.
    Raises BadInput naming the table and column of whatever is missing, unknown or wrong.

    >>> load_descriptor("complete_journey").currency
    'USD'
    """
    path = _path_of(name_or_path)
    descriptor = _parsed(_bytes_of(path), path).model_copy()
    descriptor._environment = environment or {}
    return descriptor


def read_descriptor(name_or_path: str) -> tuple[object, Path]:
    """Return what the YAML of a descriptor holds, unchecked, and where it lies.

    Raises BadInput where there is no such file, or it can't be read as YAML.
    """
    path = _path_of(name_or_path)
    return _document(_bytes_of(path), path.name), path


def _path_of(name_or_path: str) -> Path:
    builtins = builtin_names()
    if name_or_path in builtins:
        return Path(str(resources.files("features.datasets"))) / f"{name_or_path}.yaml"
    path = expanded(Path(name_or_path)).absolute()
    if path.suffix not in {".yaml", ".yml"} or not path.is_file():
        raise BadInput(f"no dataset '{name_or_path}'", remedy=f"give a YAML file or one of: {', '.join(builtins)}")
    return path


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise BadInput("the descriptor can't be read", where=path.name, remedy="mend its permissions") from None


def _document(data: bytes, name: str) -> object:
    try:
        return read_document(data)[0]
    except UnreadableYaml as error:
        where = f"{name}, line {error.line}" if error.line else name
        raise BadInput(f"the descriptor {error.why}", where=where, remedy="mend the file") from None


@lru_cache(maxsize=8)  # each push looks whether the descriptor changed, and PyYAML takes a tenth of a second
def _parsed(data: bytes, path: Path) -> Descriptor:
    return parse_descriptor(_document(data, path.name), path.parent, path.name)


def parse_descriptor(loaded: object, base_dir: Path, where: str) -> Descriptor:
    """Turn the loaded YAML into a checked Descriptor; `where` names it in messages."""
    if not isinstance(loaded, dict):
        raise BadInput("the descriptor is not a mapping", where=where)
    try:
        descriptor = Descriptor.model_validate(loaded)
    except ValidationError as error:
        raise BadInput(_one_line(error), where=where, remedy="mend the descriptor") from None
    descriptor._base_dir = base_dir
    for fault in faults(descriptor, where):
        raise fault
    return descriptor


def faults(descriptor: Descriptor, where: str) -> Iterator[BadInput]:
    """Yield what can't be meant in a descriptor whose every part is well formed; `where` names it in messages."""
    yield from _table_faults(descriptor, where)
    yield from _reference_faults(descriptor, where)
    yield from _moment_faults(descriptor, where)
    declared = "identity" in descriptor.model_fields_set
    yield from check_identity(descriptor.identity, descriptor.tables, where, declared=declared)
    for attribute, columns in descriptor.inference.items():
        yield from _refusals(check_inference, {attribute: columns}, descriptor.tables, where)
    yield from _refusals(check_quality, descriptor.quality, descriptor.tables, descriptor.subject, where)
    for name in descriptor.withhold:
        yield from _refusals(check_withheld, [name], where, slow=descriptor.slow)


def _refusals(check: Callable[..., None], *arguments: object, **named: object) -> Iterator[BadInput]:
    try:
        check(*arguments, **named)
    except BadInput as fault:
        yield fault


def _one_line(error: ValidationError) -> str:
    first, *rest = error.errors(include_url=False, include_context=False, include_input=False)
    return told(first) + (f" (and {len(rest)} more mistakes)" if rest else "")


def told(error: Any) -> str:
    """One error of pydantic's, in a line that quotes no value."""
    place = place_of(error)
    kind, message = error["type"], error["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    if place[:1] == ["tables"] and len(place) > 3 and place[2] == "columns":
        subject = f"column '{place[1]}.{place[3]}'"
        place = place[4:]
    else:
        subject = "the descriptor"
    if kind == "missing":
        what = f"{subject} has no '{'.'.join(place)}'"
    elif kind == "extra_forbidden":
        what = f"{subject} has an unknown key '{'.'.join(place)}'"
    else:
        what = f"{subject}: {'.'.join(place) + ': ' if place else ''}{message[:1].lower()}{message[1:]}"
    return what


def place_of(error: Any) -> list[str]:
    """Return where an error of pydantic's is, without the marks of its own."""
    parts = [str(part) for part in error["loc"]]
    marks = {at for at, part in enumerate(parts) if part == "[key]" or parts[at - 1 : at] == ["source"]}
    return [part for at, part in enumerate(parts) if at not in marks]


def _table_faults(descriptor: Descriptor, where: str) -> Iterator[BadInput]:
    if descriptor.time_zone not in zoneinfo.available_timezones():
        remedy = "use a name such as Europe/Berlin"
        yield BadInput(f"unknown time_zone '{descriptor.time_zone}'", where=where, remedy=remedy)
    if "transactions" not in descriptor.tables:
        yield BadInput("the descriptor has no table 'transactions'", where=where)
    for name, table in descriptor.tables.items():
        if name not in TABLES:
            yield BadInput(f"unknown table '{name}'", where=where, remedy=f"tables are {', '.join(TABLES)}")
            continue
        if table.event_column is not None and table.event_column not in table.columns:
            yield BadInput(f"table '{name}' has no column '{table.event_column}'", where=where)
        if table.subject is None and name != "products":
            yield BadInput(f"table '{name}' has no column '{descriptor.subject}', the subject", where=where)
        if table.subject and table.columns[table.subject].sensitivity is not Sensitivity.DIRECT_IDENTIFIER:
            yield BadInput(
                f"column '{name}.{table.subject}' must be a direct_identifier: it names the person",
                where=where,
            )
        yield from _refusals(check_anonymity, table, where)
        yield from _refusals(check_consents, table, where)
    if "transactions" in descriptor.tables:
        yield from _line_faults(descriptor.tables["transactions"], where)


def _line_faults(lines: Table, where: str) -> Iterator[BadInput]:
    for column in REQUIRED:
        if column not in lines.columns:
            if column != lines.event_column:  # that one was told already
                yield BadInput(f"table 'transactions' has no column '{column}'", where=where)
        elif lines.columns[column].sensitivity not in USABLE:
            yield BadInput(f"column 'transactions.{column}' must be behavioural or non_personal", where=where)
    if ("ordered_at" in lines.columns and lines.kind_of("ordered_at") not in {"timestamp", "date"}) or (
        "amount" in lines.columns and lines.kind_of("amount") not in {"float", "int"}
    ):
        yield BadInput("transactions.ordered_at must be a timestamp and amount a number", where=where)


def _reference_faults(descriptor: Descriptor, where: str) -> Iterator[BadInput]:
    """Tables may point at each other, but not in a circle: nothing would be there to begin with."""
    pointed: dict[str, set[str]] = {}
    for name, table in descriptor.tables.items():
        for column, declared in table.columns.items():
            if declared.references is None:
                continue
            to, _, key = declared.references.partition(".")
            if to not in descriptor.tables or key not in descriptor.tables[to].columns:
                what = f"column '{name}.{column}' references '{declared.references}', which there isn't"
                yield BadInput(what, where=where, remedy="name it as table.column")
            else:
                pointed.setdefault(name, set()).add(to)
    try:
        tuple(TopologicalSorter(pointed).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        yield BadInput(f"tables reference each other in a circle: {circle}", where=where, remedy="leave one out")


def _moment_faults(descriptor: Descriptor, where: str) -> Iterator[BadInput]:
    """What is compared with cut-offs must be stored, and a moment: when a row came into the books, when people met."""
    for name in descriptor.tables.keys() & MOMENTS.keys():
        table = descriptor.tables[name]
        for column in table.columns.keys() & MOMENTS[name]:
            if table.kind_of(column) != "timestamp" or table.columns[column].sensitivity not in USABLE:
                what = f"column '{name}.{column}' must be a timestamp and behavioural or non_personal"
                yield BadInput(what, where=where)
