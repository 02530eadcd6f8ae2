"""One entry of a policy file: its keys and their lines, its words checked, and a rule made of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import yaml

from privacy.classification import Purpose, Role
from privacy.errors import BadInput
from privacy.masking import MASKS, mask_of
from privacy.masks._base import Mask
from privacy.policy_rules import ACTIONS, FILTERED, KINDS, MASKED, NAMED, Effect, Finding, RowFilter, Rule

__all__ = ["Entry", "did_you_mean", "one_of", "read_rule", "shown"]

_KEYS: Final = (
    "name", "why", "to", "except", "purposes", "actions", "resources", "forbid", "column_mask", "row_filter"
)  # fmt: skip
_LONGEST: Final = 60
_COMPARISONS: Final = ("equals", "in", "at_least", "at_most")
_NAME: Final = re.compile(r"\w[\w .-]{0,79}")  # names are written to the log, several with commas between them
_RESOURCE: Final = re.compile(r"([a-z]+)(?::(\*|[^\s*:,]+))?")


class Entry:
    """A mapping of the file, what to call it, and where to note its faults; `broken` once it has one.

    `fields` is empty, and a fault noted, where the file has something else than a mapping.
    """

    def __init__(self, value: object, node: yaml.Node | None, label: str, notes: list[Finding], line: int = 0) -> None:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        self.fields: Mapping[Any, Any] = value if isinstance(value, dict) else {}
        self.label, self.broken, self.line = label, False, line or _line(node)
        self._nodes = {str(key.value): held for key, held in pairs}
        self._lines = {str(key.value): _line(key) for key, _ in pairs}
        self._notes = notes
        if not isinstance(value, dict):
            self.fault("", f"{label} must be a mapping", "write it as `key: value` lines")

    def fault(self, key: object, what: str, remedy: str = "") -> None:
        """Note an error at the line of `key`, or of the entry."""
        self.broken = True
        self._notes.append(Finding("error", self._lines.get(str(key), self.line), what, remedy))

    def only(self, keys: Iterable[str]) -> None:
        """Note every key that isn't among `keys`."""
        known = [str(key) for key in keys]
        for key in self.fields:
            if key not in known:
                self.fault(key, f"{self.label}: unknown key {shown(key)}", did_you_mean(key, known))

    def entry(self, key: object) -> Entry:
        """The mapping under `key`."""
        label = f"{self.label}: {key}" if self.label != "the policy" else str(key)
        node, line = self._nodes.get(str(key)), self._lines.get(str(key), self.line)
        made = Entry(self.fields.get(key), node, label, self._notes, line)
        self.broken |= made.broken
        return made

    def entries(self, key: str) -> list[Entry]:
        """The mappings listed under `key`, maybe none."""
        node = self._nodes.get(key)
        nodes = node.value if isinstance(node, yaml.SequenceNode) else []
        items = [] if self.fields.get(key) == [] else self.items(key)
        return [
            Entry(item, nodes[at] if at < len(nodes) else None, f"policy {at + 1}", self._notes)
            for at, item in enumerate(items)
        ]

    def items(self, key: str) -> list[object]:
        """The list under `key`; empty, and noted, if there is none."""
        value = self.fields.get(key)
        if not isinstance(value, list) or not value:
            self.fault(key, f"{self.label}: a list is missing under `{key}`", "write it as [a, b]")
            return []
        return value

    def word(self, key: str, allowed: Iterable[str], noun: str) -> str | None:
        """The word under `key`, if it is allowed; None, and noted, otherwise."""
        return self._allowed(key, self.fields.get(key), allowed, noun)

    def words(self, key: str, allowed: Iterable[str], noun: str) -> list[str]:
        """The allowed ones of the words listed under `key`; the others are noted."""
        found = (self._allowed(key, item, allowed, noun) for item in self.items(key))
        return [word for word in found if word is not None]

    def _allowed(self, key: str, value: object, allowed: Iterable[str], noun: str) -> str | None:
        known = [str(word) for word in allowed]
        if isinstance(value, str) and value in known:
            return str(value)
        self.fault(key, f"{self.label}: {noun} {shown(value)} is unknown", did_you_mean(value, known))
        return None


def _line(node: yaml.Node | None) -> int:
    return node.start_mark.line + 1 if node else 0


def read_rule(entry: Entry) -> Rule | None:
    """The rule an entry states; None when something is wrong with it, which the entry notes."""
    if entry.broken:
        return None
    name = entry.fields.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        fault = "has no name" if not name else "has a name of other signs than letters, digits, space, . _ and -"
        entry.fault("name", f"{entry.label} {fault}", "name it; decisions and the audit log tell the name")
        return None
    entry.label = f"policy {name}"
    entry.only(_KEYS)
    why = entry.fields.get("why", "")
    if not isinstance(why, str):
        entry.fault("why", f"{entry.label}: `why` must be text")
    effect = _effect(entry)
    roles = _roles(entry, effect)
    purposes = None
    if "purposes" in entry.fields:
        purposes = frozenset(Purpose(word) for word in entry.words("purposes", tuple(Purpose), "purpose"))
    actions = frozenset(entry.words("actions", tuple(ACTIONS), "action"))
    resources = _resources(entry)
    mask, match = _column_mask(entry) if effect == "mask" else (None, {})
    row_filter = _row_filter(entry, name) if effect == "filter" else None
    if entry.broken:
        return None
    _check_effect(entry, effect, actions, resources)
    rule = Rule(name, effect, roles, purposes, actions, resources, entry.line, " ".join(str(why).split()))
    return replace(rule, mask=mask, match=match, row_filter=row_filter)


def _effect(entry: Entry) -> Effect:
    forbid = entry.fields.get("forbid", False)
    if not isinstance(forbid, bool):
        entry.fault("forbid", f"{entry.label}: forbid must be true or false")
    stated: list[Effect] = ["forbid"] if forbid else []
    stated += ["mask"] if "column_mask" in entry.fields else []
    stated += ["filter"] if "row_filter" in entry.fields else []
    if len(stated) > 1:
        what = f"{entry.label}: it can only do one of forbid, column_mask and row_filter"
        entry.fault("", what, "write a rule for each")
    return stated[0] if stated else "permit"


def _roles(entry: Entry, effect: Effect) -> frozenset[Role]:
    if "to" not in entry.fields and effect == "permit":
        entry.fault("", f"{entry.label}: a permit must name roles under `to`", one_of(Role))
        return frozenset()
    named = entry.words("to", tuple(Role), "role") if "to" in entry.fields else [*Role]
    excepted = entry.words("except", tuple(Role), "role") if "except" in entry.fields else []
    for role in excepted:
        if role not in named:
            entry.fault("except", f"{entry.label}: role {role} is excepted, but not named under `to`")
    roles = frozenset(Role(role) for role in named) - {Role(role) for role in excepted}
    if not roles and not entry.broken:
        entry.fault("except", f"{entry.label}: no role is left")
    return roles


def _resources(entry: Entry) -> tuple[str, ...]:
    patterns = []
    for pattern in entry.items("resources"):
        shape = _RESOURCE.fullmatch(pattern) if isinstance(pattern, str) else None
        if shape is None:
            what = f"{entry.label}: resource {shown(pattern)} is neither kind, kind:name nor kind:*"
            entry.fault("resources", what, f"the kind is {one_of(KINDS)}")
        elif shape[1] not in KINDS:
            entry.fault("resources", f"{entry.label}: unknown resource {shown(pattern)}", did_you_mean(shape[1], KINDS))
        elif shape[1] not in NAMED and shape[2] not in (None, "*"):
            entry.fault("resources", f"{entry.label}: there is one {shape[1]} only", f"write {shape[1]}")
        else:
            patterns.append(shape[0])
    return tuple(patterns)


def _check_effect(entry: Entry, effect: Effect, actions: frozenset[str], resources: tuple[str, ...]) -> None:
    """What nobody asks is never decided, and a mask or filter where nobody applies it protects nobody."""
    kinds = {pattern.partition(":")[0] for pattern in resources}
    reach = {"mask": MASKED, "filter": dict.fromkeys(FILTERED, "service")}.get(effect)
    if reach is not None:
        done = "masked" if effect == "mask" else "filtered"
        for action in sorted(actions - set(reach)):
            what = f"{entry.label}: the answers of {action} are not {done}"
            entry.fault("actions", what, f"name only {one_of(sorted(reach))}; forbid the others")
        wanted = {reach[action] for action in actions & set(reach)}
        if wanted and kinds != wanted:  # each action has its kind, and each kind its action
            others = ", ".join(sorted(kinds - wanted)) or f"{one_of(kinds)} alone"
            by = f"{done} by their {' and '.join(sorted(wanted))}, not by {others}"
            what = f"{entry.label}: the answers of {', '.join(sorted(actions))} are {by}"
            entry.fault("resources", what, f"write {' and '.join(f'{kind}:*' for kind in sorted(wanted))}, or names")
        return
    for action in sorted(actions):
        if not kinds & set(ACTIONS[action]):
            what = f"{entry.label}: {action} is never asked of {', '.join(sorted(kinds))}"
            entry.fault("actions", what, f"it is asked of {one_of(ACTIONS[action])}")
    for kind in sorted(kinds):
        if not any(kind in ACTIONS[action] for action in actions):
            what = f"{entry.label}: {kind} is never asked for {', '.join(sorted(actions))}"
            entry.fault("resources", what, "leave it out")


def _column_mask(entry: Entry) -> tuple[Mask | None, Mapping[str, str]]:
    stated = entry.entry("column_mask")
    mask = _mask(stated) if stated.word("fn", MASKS, "mask") else None
    match = stated.fields.get("match")
    fits = isinstance(match, dict) and match and all(isinstance(wanted, str | int) for wanted in match.values())
    if not fits:
        stated.fault("match", f"{entry.label}: column_mask must match tags", "such as match: {prediction: exact}")
    entry.broken |= stated.broken
    wanted = match if isinstance(match, dict) else {}
    return mask, MappingProxyType({str(tag): str(value) for tag, value in wanted.items()})


def _mask(stated: Entry) -> Mask | None:
    """The mask of the registry, with the parameters that stand beside its name."""
    spec = {str(key): value for key, value in stated.fields.items() if key != "match"}
    try:
        return mask_of(spec, own_bands=True)
    except BadInput as error:
        known = MASKS[spec["fn"]].parameters
        wrong = (key for key, value in spec.items() if key != "fn" and not (key in known and known[key].fits(value)))
        stated.fault(next(wrong, "fn"), f"{stated.label}: {error.what}", error.remedy)
        return None


def _row_filter(entry: Entry, rule: str) -> RowFilter | None:
    stated = entry.entry("row_filter")
    stated.only(("column", *_COMPARISONS))
    column = stated.fields.get("column")
    if not isinstance(column, str) or not column:
        stated.fault("column", f"{entry.label}: row_filter names no column", "such as column: lifetime_orders")
    given = [key for key in _COMPARISONS if key in stated.fields]
    if not stated.broken and (not given or (len(given) > 1 and given != ["at_least", "at_most"])):
        what = f"{entry.label}: row_filter needs one comparison, or at_least with at_most"
        stated.fault("", what, one_of(_COMPARISONS))
    listed = stated.items("in") if "in" in given else [stated.fields[key] for key in given]
    for value in listed:
        if not _finite(value):
            stated.fault(given[0], f"{entry.label}: row_filter compares with numbers only")
    entry.broken |= stated.broken
    if stated.broken:
        return None
    values = tuple(float(str(value)) for value in listed)
    if given[0] in ("equals", "in"):
        return RowFilter(rule, str(column), one_of=values)
    least = values[0] if "at_least" in given else None
    most = values[-1] if "at_most" in given else None
    if least is not None and most is not None and least > most:
        entry.fault("row_filter", f"{entry.label}: row_filter lets nobody pass: at_least is above at_most")
    return RowFilter(rule, str(column), least=least, most=most)


def _finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**1023  # neither infinite nor NaN


def shown(value: object) -> str:
    """A value of the file as one short line of a message.

    >>> shown("admn"), shown([1, 2])
    ('admn', '(no word)')
    """
    if not isinstance(value, str | int | float):
        return "(no word)"  # a list may hold itself many times over
    line = " ".join(str(value).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The remedy for an unknown word.

    >>> did_you_mean("retension", ["retention", "value"])
    'did you mean retention?'
    """
    words = [str(each) for each in known]
    near = difflib.get_close_matches(shown(word).lower(), words, 1, 0.7)
    return f"did you mean {near[0]}?" if near else f"use {one_of(words) or 'none'}"


def one_of(words: Iterable[str]) -> str:
    """The words as a list to choose from.

    >>> one_of(["b", "a", "c"])
    'a, b or c'
    """
    *first, last = sorted(str(word) for word in words) or [""]
    return f"{', '.join(first)} or {last}" if first else last
