"""Generated policies, as documents, and every case that they can tell apart."""

from __future__ import annotations

import itertools
from typing import Any

import yaml
from hypothesis import strategies as st

from privacy.classification import LawfulBasis, Purpose, Role
from privacy.policy import Policy, Principal
from privacy.policy_file import parse_policy

TAGS = {
    "churn.probability": {"prediction": "exact", "model": "churn"},
    "churn.band": {"prediction": "banded"},
    "clv.value": {"prediction": "exact"},
    "clv.band": {"prediction": "banded"},
}
PATTERNS = {
    "dataset": ["dataset:*", "dataset:shop"],
    "service": ["service:*", "service:churn_v1", "service:clv_v1"],
    "model": ["model:*", "model:churn", "model:clv", "model"],
    "vault": ["vault", "vault:*"],
    "audit": ["audit"],
    "report": ["report"],
}
KINDS = {
    "ingest": ["dataset"], "materialize": ["dataset"], "train": ["service", "model"], "promote": ["model"],
    "score": ["service", "model"], "predict": ["service", "model"], "features.read": ["service"],
    "identify": ["vault"], "erase": ["vault"], "audit.read": ["audit"], "report.read": ["report"],
}  # fmt: skip
RESOURCES = ("dataset:shop", "dataset:other", "service:churn_v1", "service:clv_v1", "service:other", "model:churn",
             "model:clv", "model:other", "vault", "audit", "report")  # fmt: skip
ASKED = tuple(itertools.product(KINDS, RESOURCES))
PLAUSIBLE = tuple(each for each in ASKED if each[1].partition(":")[0] in KINDS[each[0]])
PRINCIPALS = tuple(Principal("p", role, purpose) for role in Role for purpose in (None, *Purpose))


def some(words: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(words), min_size=1, max_size=len(words), unique=True)


@st.composite
def rules(draw: st.DrawFn, name: str, effect: str | None = None) -> dict[str, Any]:
    """One rule that a policy may hold."""
    effect = effect or draw(st.sampled_from(["permit", "permit", "forbid", "mask", "filter"]))
    rule: dict[str, Any] = {"name": name}
    if effect == "permit" or draw(st.booleans()):
        rule["to"] = draw(some([role.value for role in Role]))
        if len(rule["to"]) > 1 and draw(st.booleans()):
            rule["except"] = draw(some(rule["to"][:-1]))
    elif draw(st.booleans()):
        rule["except"] = draw(some([role.value for role in Role][:-1]))
    if draw(st.booleans()):
        rule["purposes"] = draw(some([purpose.value for purpose in Purpose]))
    able = {"mask": ["predict", "score"], "filter": ["features.read", "predict", "score"]}.get(effect, list(KINDS))
    rule["actions"] = draw(some(able))
    if effect in ("mask", "filter"):
        rule["resources"] = draw(some(PATTERNS["model" if effect == "mask" else "service"]))
    else:
        chosen = [draw(some([p for kind in KINDS[action] for p in PATTERNS[kind]])) for action in rule["actions"]]
        rule["resources"] = sorted({pattern for patterns in chosen for pattern in patterns})
    if effect == "forbid":
        rule["forbid"] = True
    if effect == "mask":
        match = draw(st.sampled_from([{"prediction": "exact"}, {"prediction": "banded"}]))
        mask = draw(st.sampled_from([{"fn": "band"}, {"fn": "redact"}, {"fn": "band", "edges": [1, 2]}]))
        rule["column_mask"] = {**mask, "match": match}
    if effect == "filter":
        rule["row_filter"] = {"column": draw(st.sampled_from(["orders", "spend"])), **draw(comparisons())}
    return rule


def comparisons() -> st.SearchStrategy[dict[str, Any]]:
    number = st.integers(-3, 3) | st.sampled_from([0.5, -1.25])
    return st.one_of(
        number.map(lambda value: {"equals": value}),
        st.lists(number, min_size=1, max_size=4).map(lambda values: {"in": values}),
        number.map(lambda value: {"at_least": value}),
        number.map(lambda value: {"at_most": value}),
        st.tuples(number, number).map(lambda pair: {"at_least": min(pair), "at_most": max(pair)}),
    )


@st.composite
def documents(draw: st.DrawFn, largest: int = 9) -> dict[str, Any]:
    """A whole policy: up to `largest` rules, any lawful bases."""
    count = draw(st.integers(1, largest))
    bases = st.sampled_from([LawfulBasis.CONSENT.value, *[LawfulBasis.LEGITIMATE_INTEREST.value] * 3])
    return {
        "version": 1,
        "purposes": {purpose.value: {"lawful_basis": draw(bases)} for purpose in Purpose},
        "tags": TAGS,
        "policies": [draw(rules(f"rule-{number}")) for number in range(count)],
    }


def policy_of(document: dict[str, Any]) -> Policy:
    return Policy(parse_policy(yaml.safe_dump(document, sort_keys=False).encode(), "policy.yaml").usable())
