"""The built-in policy, cell by cell: what each role may do to what for which purpose, written out by hand."""

from __future__ import annotations

import itertools

import pytest

from privacy.classification import Purpose, Role
from privacy.policy import Policy, Principal
from privacy.policy_matrix import gap_lines, gaps_of, matrix_lines, matrix_of

POLICY = Policy.load()
PURPOSES = (*Purpose, None)
RESOURCES = (
    "dataset:x", "service:churn_v1", "service:clv_v1", "service:profile_v1", "service:insight_v1",
    "service:engagement_v1", "service:x",
    "model:churn", "model:clv", "model:x", "vault", "access", "audit", "report", "metrics", "keyring",
)  # fmt: skip
READ_PEOPLE = ("materialize", "train", "score", "predict", "features.read", "attack", "count")
ACTIONS = (*READ_PEOPLE, "ingest", "push", "build", "promote", "identify", "erase", "grant", "audit.read",
           "report.read", "metrics.read", "keys.manage", "keys.read", "inference.test")  # fmt: skip

ALL = " ".join(name for name in RESOURCES if name.startswith(("service:", "model:")))

# A allow, M allow with the exact number masked, D deny, . gap.
# Seven letters: retention, value, marketing, service, research, compliance, no purpose.
# Roles that are not named have what stands before `else`, or a gap; no block, all gaps. Whoever reads people for
# marketing is denied, as marketing rests on consent.
BY_HAND = f"""
ingest: dataset:x {ALL}
    AAAAAAA admin
push: dataset:x
    AAAAAAA admin crm_service
build: dataset:x {ALL}
    AAAAAAA admin data_scientist
inference.test: dataset:x
    AAAAAAA admin data_scientist privacy_officer
materialize: dataset:x {ALL}
    AADAAAA admin data_scientist
    ..D.... else
train: dataset:x
    AADAAAA admin data_scientist
    ..D.... else
train: service:churn_v1 service:clv_v1 service:engagement_v1 service:x model:churn model:clv model:x
    AADAAAA admin data_scientist
    DDDDDDD privacy_officer auditor
    ..D.... else
promote: dataset:x
    AAAAAAA admin data_scientist
promote: {ALL}
    AAAAAAA admin data_scientist
    DDDDDDD privacy_officer auditor
score: service:churn_v1 model:churn
    ADDDDD. admin data_scientist
    DDDDDDD privacy_officer auditor
    .DDDDD. else
score: service:clv_v1 model:clv
    AADDDD. admin data_scientist
    DDDDDDD privacy_officer auditor
    ..DDDD. else
score: service:engagement_v1 service:x model:x
    DDDDDDD privacy_officer auditor
    ..D.... else
features.read: service:churn_v1 model:churn
    ADDDDD. admin data_scientist
    DDDDDDD privacy_officer auditor
    .DDDDD. else
features.read: service:clv_v1 model:clv
    AADDDD. admin data_scientist
    DDDDDDD privacy_officer auditor
    ..DDDD. else
features.read: service:engagement_v1
    AAD.... admin data_scientist
    DDDDDDD privacy_officer auditor
    ..D.... else
features.read: service:x model:x
    DDDDDDD privacy_officer auditor
    ..D.... else
attack: dataset:x {ALL}
    AADAAAA admin data_scientist privacy_officer
    ..D.... else
count: service:churn_v1 model:churn
    ADDDDD. admin data_scientist analyst marketer privacy_officer
    .DDDDD. else
count: service:clv_v1 model:clv
    AADDDD. admin data_scientist analyst marketer privacy_officer
    ..DDDD. else
count: service:engagement_v1 service:x model:x
    ..D.... else
features.read: service:profile_v1
    DDDDAD. admin data_scientist
    DDDDDDD privacy_officer auditor
    DDDD.D. else
features.read: service:insight_v1
    DADDDD. admin data_scientist analyst marketer
    DDDDDDD privacy_officer auditor
    D.DDDD. else
train: service:profile_v1 service:insight_v1
    DDDDDDD else
score: service:profile_v1 service:insight_v1
    DDDDDDD else
predict: service:profile_v1 service:insight_v1
    DDDDDDD else
predict: service:churn_v1
    ADDDDD. admin data_scientist crm_service analyst marketer
    DDDDDDD privacy_officer auditor
predict: model:churn
    ADDDDD. admin data_scientist crm_service
    MDDDDD. analyst marketer
    DDDDDDD privacy_officer auditor
predict: service:clv_v1
    AADDDD. admin data_scientist crm_service analyst marketer
    DDDDDDD privacy_officer auditor
predict: model:clv
    AADDDD. admin data_scientist crm_service
    MMDDDD. analyst marketer
    DDDDDDD privacy_officer auditor
predict: service:engagement_v1 service:x model:x
    DDDDDDD privacy_officer auditor
    ..D.... else
identify: vault
    AAAAAA. privacy_officer admin
    DDDDDDD else
erase: vault
    AAAAAAA privacy_officer admin
    DDDDDDD else
grant: access
    AAAAAAA admin
audit.read: audit
    AAAAAAA auditor privacy_officer admin
report.read: report
    AAAAAAA admin data_scientist analyst marketer privacy_officer auditor
metrics.read: metrics
    AAAAAAA auditor admin
keys.manage: keyring
    AAAAAAA admin
keys.read: keyring
    AAAAAAA auditor privacy_officer admin
"""


def by_hand() -> dict[tuple[str, str], dict[str, str]]:
    blocks: dict[tuple[str, str], dict[str, str]] = {}
    own: list[dict[str, str]] = []
    for line in BY_HAND.strip().splitlines():
        first, *words = line.split()
        if not line.startswith(" "):
            own = [blocks.setdefault((first.rstrip(":"), resource), {}) for resource in words]
        for block in own if line.startswith(" ") else ():
            block |= dict.fromkeys(words, first)
    return blocks


@pytest.mark.parametrize("action", ACTIONS)
def test_every_cell_is_as_written_by_hand(action: str) -> None:
    blocks = by_hand()
    letters = {"allow": "A", "mask": "M", "deny": "D", "gap": "."}
    for resource, role in itertools.product(RESOURCES, Role):
        block = blocks.get((action, resource), {})
        expected = block.get(role, block.get("else", "..D...." if action in READ_PEOPLE else "......."))
        made = [POLICY.decide(Principal("p", role, purpose), action, resource) for purpose in PURPOSES]
        assert "".join(letters[each.outcome] for each in made) == expected, (action, resource, role)
        for each in made:
            exact = {"model:churn": "churn.probability", "model:clv": "clv.value"}.get(resource, "")
            assert [*map(str, each.masks.values())] == (["band"] if each.outcome == "mask" else [])
            assert set(each.masks) <= {exact}
            assert each.filters == ()
            assert bool(each.rules) == (each.outcome != "gap")


def test_the_printed_matrix_holds_the_same() -> None:
    cells = matrix_of(POLICY)
    blocks = by_hand()
    letters = {"A": "allow", "D": "deny", ".": "gap"}
    for cell in cells:
        action, column = cell.action, cell.column.replace(":*", ":x")
        resource = f"model:{column.partition('.')[0]}" if ":" not in column and "." in column else column
        block = blocks.get((action, resource), {})
        row = block.get(cell.role, block.get("else", "..D...." if action in READ_PEOPLE else "......."))
        letter = row[PURPOSES.index(cell.purpose)]
        banded = column in ("churn.probability", "clv.value")
        assert cell.outcome == ({"M": "mask:band" if banded else "allow"} | letters)[letter], cell
    per_action = {"ingest": 1, "push": 1, "build": 1, "materialize": 1, "train": 9, "promote": 3, "score": 11,
                  "predict": 11, "features.read": 6, "attack": 10, "count": 9, "identify": 1, "erase": 1,
                  "grant": 1, "audit.read": 1, "report.read": 1,
                  "metrics.read": 1, "keys.manage": 1, "keys.read": 1,
                  "inference.test": 1}  # fmt: skip
    assert len(cells) == 49 * sum(per_action.values())
    assert {(cell.action, cell.column) for cell in cells} >= {("predict", "clv.band"), ("score", "service:*")}


def test_the_matrix_is_read_line_by_line() -> None:
    lines = list(matrix_lines(matrix_of(POLICY)))
    at = lines.index("  churn.probability")
    own = Role.DATA_SCIENTIST, Role.CRM_SERVICE, Role.ADMIN
    assert lines[at + 1].split() == [f"{own[0]},", f"{own[1]},", own[2], "allow", *["deny"] * 5, "gap"]
    assert lines[at + 2].split() == ["analyst,", "marketer", "mask:band", *["deny"] * 5, "gap"]
    assert lines[at + 3].split() == ["privacy_officer,", "auditor", *["deny"] * 7]
    assert max(map(len, lines)) <= 140


def test_the_gaps_are_told_apart() -> None:
    cells = matrix_of(POLICY)
    gaps = gaps_of(cells)
    assert sum(len(gap["purposes"]) for gap in gaps) == sum(cell.outcome == "gap" for cell in cells)  # type: ignore[arg-type]
    assert {"action": "identify", "column": "vault", "role": "admin", "purposes": [None]} in gaps
    told = list(gap_lines(cells))
    assert "  identify        vault: privacy_officer, admin without a purpose" in told
    assert "  report.read     report: crm_service for any purpose" in told
    assert not [line for line in told if line.split()[0] == "erase"]
