"""One YAML file describes a shop: what each column means and how sensitive it is.

The descriptor is the only place that names source columns; what it omits is never read.
"""

from __future__ import annotations

import hashlib
import zoneinfo
from importlib import resources
from pathlib import Path
from typing import Final

from pydantic import Field, PrivateAttr, ValidationError

from privacy.classification import Sensitivity
from privacy.durable import expanded
from privacy.errors import BadInput
from privacy.strict_yaml import UnreadableYaml, read_document

from .anonymity import check_anonymity
from .inference import Inference, check_inference, check_withheld
from .tables import Name, Strict, Table
from .targets import Targets

__all__ = ["Descriptor", "load_descriptor"]

TABLES: Final = ("transactions", "customers", "products", "interactions", "consents")
REQUIRED: Final = ("order_id", "ordered_at", "amount")
USABLE: Final = frozenset({Sensitivity.BEHAVIOURAL, Sensitivity.NON_PERSONAL})
SLOW_SHOP_HORIZON_DAYS: Final = 60
MOMENTS: Final = {"transactions": {"created"}, "interactions": {"happened_at", "created"}}


class Descriptor(Strict):
    """A shop: its tables, its clock, its currency, what must not be inferred and what to predict."""

    name: Name
    subject: Name
    time_zone: str = "UTC"
    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    description: str = ""
    tables: dict[str, Table]
    inference: Inference = Field(default_factory=dict)
    withhold: tuple[Name, ...] = ()
    targets: Targets
    _base_dir: Path = PrivateAttr(default_factory=Path)

    def model_post_init(self, _context: object) -> None:
        """Tell each part what it must know of the whole."""
        for name, table in self.tables.items():
            table._name, table._subject = name, self.subject
        for target in (self.targets.churn, self.targets.clv):
            target._zone = self.time_zone

    @property
    def base_dir(self) -> Path:
        """The folder that relative sources start from."""
        return self._base_dir

    @property
    def slow(self) -> bool:
        """Whether customers come so seldom that windows are months, not weeks."""
        return self.targets.churn.horizon_days > SLOW_SHOP_HORIZON_DAYS

    @property
    def profile_k(self) -> int | None:
        """The k that what is told of people must keep; None where their quasi-identifiers are not told."""
        customers = self.tables.get("customers")
        return None if customers is None or customers.anonymity is None else customers.anonymity.k

    def digest(self) -> str:
        """Return the SHA-256 of the meaning of this descriptor, 64 hex digits."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()


def builtin_names() -> list[str]:
    """List the descriptors that ship with Custos.

    >>> "complete_journey" in builtin_names()
    True
    """
    files = resources.files("features.datasets").iterdir()
    return sorted(item.name.removesuffix(".yaml") for item in files if item.name.endswith(".yaml"))


def load_descriptor(name_or_path: str) -> Descriptor:
    """Read a built-in descriptor by name, or any descriptor by the path of its YAML file.

    Raises BadInput naming the table and column of whatever is missing, unknown or wrong.

    >>> load_descriptor("complete_journey").currency
    'USD'
    """
    builtins = builtin_names()
    if name_or_path in builtins:
        path = Path(str(resources.files("features.datasets"))) / f"{name_or_path}.yaml"
    else:
        path = expanded(Path(name_or_path)).absolute()
        if path.suffix not in {".yaml", ".yml"} or not path.is_file():
            raise BadInput(f"no dataset '{name_or_path}'", remedy=f"give a YAML file or one of: {', '.join(builtins)}")
    try:
        loaded, _ = read_document(path.read_bytes())
    except UnreadableYaml as error:
        where = f"{path.name}, line {error.line}" if error.line else path.name
        raise BadInput(f"the descriptor {error.why}", where=where, remedy="mend the file") from None
    except OSError:
        raise BadInput("the descriptor can't be read", where=path.name, remedy="mend its permissions") from None
    return parse_descriptor(loaded, path.parent, path.name)


def parse_descriptor(loaded: object, base_dir: Path, where: str) -> Descriptor:
    """Turn the loaded YAML into a checked Descriptor; `where` names it in messages."""
    if not isinstance(loaded, dict):
        raise BadInput("the descriptor is not a mapping", where=where)
    try:
        descriptor = Descriptor.model_validate(loaded)
    except ValidationError as error:
        raise BadInput(_one_line(error), where=where, remedy="mend the descriptor") from None
    descriptor._base_dir = base_dir
    _check_tables(descriptor, where)
    _check_moments(descriptor, where)
    check_inference(descriptor.inference, descriptor.tables, where)
    check_withheld(descriptor.withhold, where, slow=descriptor.slow)
    return descriptor


def _one_line(error: ValidationError) -> str:
    first, *rest = error.errors(include_url=False, include_context=False, include_input=False)
    place = [str(part) for part in first["loc"] if part != "[key]"]
    kind, message = first["type"], first["msg"].removeprefix("Value error, ")
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
    return what + (f" (and {len(rest)} more)" if rest else "")


def _check_tables(descriptor: Descriptor, where: str) -> None:
    if descriptor.time_zone not in zoneinfo.available_timezones():
        remedy = "use a name such as Europe/Berlin"
        raise BadInput(f"unknown time_zone '{descriptor.time_zone}'", where=where, remedy=remedy)
    if "transactions" not in descriptor.tables:
        raise BadInput("the descriptor has no table 'transactions'", where=where)
    for name, table in descriptor.tables.items():
        if name not in TABLES:
            raise BadInput(f"unknown table '{name}'", where=where, remedy=f"tables are {', '.join(TABLES)}")
        if table.event_column is not None and table.event_column not in table.columns:
            raise BadInput(f"table '{name}' has no column '{table.event_column}'", where=where)
        if table.subject is None and name != "products":
            raise BadInput(f"table '{name}' has no column '{descriptor.subject}', the subject", where=where)
        if table.subject and table.columns[table.subject].sensitivity is not Sensitivity.DIRECT_IDENTIFIER:
            raise BadInput(
                f"column '{name}.{table.subject}' must be a direct_identifier: it names the person",
                where=where,
            )
        check_anonymity(table, where)
    lines = descriptor.tables["transactions"]
    for column in REQUIRED:
        if column not in lines.columns:
            raise BadInput(f"table 'transactions' has no column '{column}'", where=where)
        if lines.columns[column].sensitivity not in USABLE:
            raise BadInput(f"column 'transactions.{column}' must be behavioural or non_personal", where=where)
    if lines.kind_of("ordered_at") not in {"timestamp", "date"} or lines.kind_of("amount") not in {
        "float",
        "int",
    }:
        raise BadInput("transactions.ordered_at must be a timestamp and amount a number", where=where)


def _check_moments(descriptor: Descriptor, where: str) -> None:
    """What is compared with cut-offs must be stored, and a moment: when a row came into the books, when people met."""
    for name in descriptor.tables.keys() & MOMENTS.keys():
        table = descriptor.tables[name]
        for column in table.columns.keys() & MOMENTS[name]:
            if table.kind_of(column) != "timestamp" or table.columns[column].sensitivity not in USABLE:
                what = f"column '{name}.{column}' must be a timestamp and behavioural or non_personal"
                raise BadInput(what, where=where)
