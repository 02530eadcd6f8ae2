"""What a check of a descriptor against its data finds: shares and counts, never a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from privacy.counted import counted
from privacy.errors import BadInput, CustosError

__all__ = ["CheckReport", "Finding", "Level", "of_error"]

Level = Literal["error", "warning", "note"]
_PLACE: Final = re.compile(r"(?:column|references|names|generalise|:) '([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)'")
_TABLE: Final = re.compile(r"(?:[Tt]able|of) '([A-Za-z_]\w*)'")


@dataclass(frozen=True)
class Finding:
    """One thing found: an `error` is refused or makes results wrong, a `warning` leaves rows out, a `note` is to know.

    `table` is empty for the descriptor as a whole, `column` for a table as a whole; `count` of `of` rows or values.
    `declared` says that it stands in the descriptor, whatever the data are.
    """

    table: str
    column: str
    level: Level
    code: str
    what: str
    remedy: str = ""
    count: int | None = None
    of: int | None = None
    declared: bool = False

    def line(self) -> str:
        """Return it as one line.

        >>> Finding("customers", "phone", "warning", "missing", "missing", "fill it", 1, 8).line()
        'warning  phone: missing in 1 of 8 (12.5 %); fill it'
        """
        place = f"{self.column}: " if self.column else ""
        counted = "" if self.count is None else f" in {self.count:,}"
        if self.count is not None and self.of:
            counted += f" of {self.of:,} ({self.count / self.of:.1%})".replace("%", " %")
        return f"{self.level:<8} {place}{self.what}{counted}" + (f"; {self.remedy}" if self.remedy else "")


def of_error(error: CustosError, code: str, table: str = "", column: str = "", *, declared: bool = False) -> Finding:
    """Return what an error tells as a finding, at the place it names unless one is given."""
    place, named = _PLACE.search(error.what), _TABLE.search(error.what)
    if not table and place:
        table, column = place[1], place[2]
    elif not table and named:
        table = named[1]
    where = f" ({error.where})" if error.where and not declared else ""
    return Finding(table, column, "error", code, f"{error.what}{where}", error.remedy, declared=declared)


@dataclass
class CheckReport:
    """Everything that was found, and how many rows of each table were looked at (None: it couldn't be read)."""

    name: str
    where: str
    rows: dict[str, int | None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def status(self) -> int:
        """0: nothing is wrong; 1: the data don't fit; 2: the descriptor itself can't be used."""
        errors = [finding for finding in self.findings if finding.level == "error"]
        if any(finding.declared for finding in errors):
            return BadInput.exit_status
        return int(bool(errors))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        findings = [asdict(finding) for finding in self._ordered()]
        return {
            "dataset": self.name,
            "descriptor": self.where,
            "rows": self.rows,
            "findings": findings,
            "status": self.status,
        }

    def lines(self) -> Iterator[str]:
        """Return it to be read, by table; the last line says what it comes to."""
        yield f"{self.where} ({self.name})"
        groups: dict[str, list[Finding]] = {"": [], **{name: [] for name in self.rows}}
        for finding in self._ordered():
            groups.setdefault(finding.table, []).append(finding)
        for table, findings in groups.items():
            if table:
                rows = self.rows.get(table)
                yield f"{table}: not read" if rows is None else f"{table}: {counted(rows, 'row')}"
            for finding in findings:
                yield f"  {finding.line()}"
        yield _summary(self.findings, self.status)

    def _ordered(self) -> list[Finding]:
        rank: Mapping[str, int] = {"error": 0, "warning": 1, "note": 2}
        return sorted(dict.fromkeys(self.findings), key=lambda each: rank[each.level])


def _summary(findings: Sequence[Finding], status: int) -> str:
    counts = {level: sum(finding.level == level for finding in set(findings)) for level in ("error", "warning", "note")}
    told = ", ".join(counted(count, level) for level, count in counts.items() if count)
    if status == BadInput.exit_status:
        return f"{told}: the descriptor can't be used as it is"
    if status:
        return f"{told}: the data don't fit the descriptor"
    return f"{told}: it can be run" if told else "nothing found: it can be run"
