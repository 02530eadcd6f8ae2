"""Column masks of a policy: any mask of the registry, read with its parameters, and refused where it can't be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from privacy.classification import Purpose, Role
from privacy.errors import BadInput
from privacy.masking import MASKS
from privacy.policy import Policy, Principal, built_in_policy
from privacy.policy_explain import explain
from privacy.policy_matrix import matrix_lines, matrix_of

ANALYST = Principal("ana", Role.ANALYST, Purpose.RETENTION)
TYPES = {
    "churn.probability": pa.float64(), "churn.band": pa.string(), "clv.value": pa.float64(), "clv.band": pa.string(),
    "service:churn_v1.recency_days": pa.float64(), "service:churn_v1.spend_84": pa.float64(),
}  # fmt: skip
PARAMETERS: dict[str, dict[str, Any]] = {"constant": {"value": "withheld"}, "band": {"edges": [0.1, 0.9]}}


def stated(mask: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A rule by which analysts are told churn's exact number through `mask`."""
    rule = {"name": "mine", "to": ["analyst"], "actions": ["predict"], "resources": ["model:churn"]}
    return {**rule, "column_mask": {**mask, "match": {"prediction": "exact"}}, **more}


def document(*rules: dict[str, Any], tags: dict[str, Any] | None = None) -> dict[str, Any]:
    """The built-in policy with `rules` in place of its own mask."""
    body = yaml.safe_load(built_in_policy().read_text("utf-8"))
    body["policies"] = [rule for rule in body["policies"] if "column_mask" not in rule] + list(rules)
    body["tags"] |= tags or {}
    return body


def load(folder: Path, *rules: dict[str, Any], tags: dict[str, Any] | None = None, known: bool = True) -> Policy:
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(document(*rules, tags=tags), allow_unicode=True), "utf-8")
    return Policy.load(path, types=TYPES if known else None)


@pytest.mark.parametrize("name", sorted(MASKS))
def test_every_mask_of_the_registry_can_be_named(name: str, tmp_path: Path) -> None:
    policy = load(tmp_path, stated({"fn": name, **PARAMETERS.get(name, {})}), known=False)
    (mask,) = policy.decide(ANALYST, "predict", "model:churn").masks.values()
    assert type(mask) is MASKS[name]


@pytest.mark.parametrize(
    ("mask", "shown"),
    [
        ({"fn": "band"}, "band"),
        ({"fn": "band", "edges": [0.3, 0.6]}, "band {edges: [0.3, 0.6]}"),
        ({"fn": "rounded", "decimals": 1}, "rounded {decimals: 1}"),
        ({"fn": "rounded"}, "rounded {decimals: 0}"),
        ({"fn": "redact"}, "redact"),
        ({"fn": "constant", "value": "不告知\n"}, 'constant {value: "不告知\\n"}'),
    ],
)
def test_what_was_stated_is_shown_with_its_parameters(mask: dict[str, Any], shown: str, tmp_path: Path) -> None:
    policy = load(tmp_path, stated(mask))
    made = explain(policy, ANALYST, "predict", "model:churn")
    assert f"  masked: churn.probability by {shown} (mine)" in list(made.lines())
    given = {"parameters": {**MASKS[mask["fn"]](**{k: v for k, v in mask.items() if k != "fn"}).given}}
    told = {"fn": mask["fn"], **(given if "{" in shown else {}), "rules": ["mine"]}
    assert made.to_dict()["masks"] == {"churn.probability": told}
    [cell] = [
        cell
        for cell in matrix_of(policy)
        if (cell.action, cell.column, cell.role, cell.purpose)
        == ("predict", "churn.probability", Role.ANALYST, Purpose.RETENTION)
    ]
    assert (cell.outcome, cell.rules) == (f"mask:{shown}", ("mine",))
    lines = list(matrix_lines(matrix_of(policy)))
    assert any(f"mask:{mask['fn']} " in line for line in lines)
    assert (f"  churn.probability mask:{shown} (mine)" in lines) == ("{" in shown)


@pytest.mark.parametrize(
    ("rule", "said", "remedy"),
    [
        (stated({"fn": "blur"}), "policy mine: column_mask: mask blur is unknown", "use address, age_band, band"),
        (stated({"fn": "phon"}), "policy mine: column_mask: mask phon is unknown", "did you mean phone?"),
        (stated({"fn": ["band"]}), "mask (no word) is unknown", "use address"),
        (stated({}), "mask (no word) is unknown", "use address"),
        (stated({"fn": "rounded", "digits": 1}), "mask rounded has no parameter digits", "it has decimals"),
        (stated({"fn": "rounded", "decimals": "1"}), "decimals of mask rounded must be a whole number from -6", "line"),
        (stated({"fn": "rounded", "decimals": 1.0}), "decimals of mask rounded must be a whole number from -6", "line"),
        (stated({"fn": "rounded", "decimals": True}), "decimals of mask rounded must be a whole number", "line"),
        (stated({"fn": "constant"}), "mask constant needs value", "give a text of at most 100 characters"),
        (stated({"fn": "band", "edges": []}), "edges of mask band must be a rising list of 1 to 100 numbers", "line"),
        (stated({"fn": "band", "edges": [0.5, 0.1]}), "edges of mask band must be a rising list", "line"),
        (stated({"fn": "band", "edges": [float("nan")]}), "edges of mask band must be a rising list", "line"),
        (stated({"fn": "redact", "first": 1}), "mask redact has no parameter first", "it has no parameters"),
        (stated({"fn": "phone"}), "mine: churn.probability: mask phone can't read a column of double", "another mask"),
        (stated({"fn": "month"}), "mine: churn.probability: mask month can't read a column of double", "another mask"),
        (
            stated({"fn": "partial", "first": 2}, resources=["model:*"]),
            "mask partial can't read a column of double, and 1 more",
            "`custos policy check` lists them",
        ),
        (
            stated({"fn": "band"}, actions=["features.read"], resources=["model:*"]),
            "the answers of features.read are masked by their service, not by model",
            "write service:*",
        ),
        (
            stated({"fn": "band"}, actions=["features.read", "predict"], resources=["model:*"]),
            "the answers of features.read, predict are masked by their model and service, not by model alone",
            "write model:* and service:*",
        ),
        (
            stated({"fn": "band"}, actions=["features.read"], resources=["service:churn_v1"]),
            "column_mask matches the tags of no field of service:churn_v1",
            "tag the field",
        ),
    ],
)
def test_a_mask_that_cannot_be_is_one_clear_error(rule: dict[str, Any], said: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        load(tmp_path, rule)
    told = str(refused.value)
    assert said in told
    assert remedy in told
    path = tmp_path / "policy.yaml"
    line = int(told.partition(f"{path}, line ")[2].partition(")")[0])
    begin = max(at for at, text in enumerate(path.read_text("utf-8").splitlines(), 1) if text.startswith("- "))
    assert line >= begin


def test_the_line_of_an_unusable_parameter_is_its_own(tmp_path: Path) -> None:
    own = """
  - name: mine
    to: [analyst]
    actions: [predict]
    resources: ["model:*"]
    column_mask:
      match: {prediction: exact}
      fn: rounded
      decimals: 9
"""
    text = built_in_policy().read_text("utf-8") + own
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(BadInput, match=f"line {len(text.splitlines())}\\)"):
        Policy.load(tmp_path / "policy.yaml")


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("churn.probabilty", "there is no field churn.probabilty.*did you mean churn.probability"),
        ("service:churn_v1.recency", "there is no field service:churn_v1.recency.*did you mean service:churn_v1.recen"),
        ("vault:main.names", "vault:main.names is no field.*write it as churn.probability, or service:churn_v1"),
        ("service:churn_v1", "is no field"),
        (":x.y", "is no field"),
    ],
)
def test_a_tag_of_no_field_is_refused(tag: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        load(tmp_path, tags={tag: {"prediction": "exact"}})


def test_fields_of_models_and_services_unknown_here_may_be_tagged(tmp_path: Path) -> None:
    tags = {"uplift.effect": {"prediction": "exact"}, "service:own_v1.age": {"prediction": "exact"}}
    assert set(load(tmp_path, tags=tags).tags) >= set(tags)


def test_masks_that_differ_leave_nothing(tmp_path: Path) -> None:
    tenths, thirds = stated({"fn": "rounded", "decimals": 1}), stated({"fn": "band", "edges": [0.3]}, name="other")
    made = load(tmp_path, tenths, thirds).decide(ANALYST, "predict", "model:churn")
    assert {field: str(mask) for field, mask in made.masks.items()} == {"churn.probability": "redact"}
    assert made.masked_by == {"churn.probability": ("mine", "other")}
    alike = load(tmp_path, tenths, {**tenths, "name": "again"}).decide(ANALYST, "predict", "model:churn")
    assert {str(mask) for mask in alike.masks.values()} == {"rounded {decimals: 1}"}
    assert alike.masked_by == {"churn.probability": ("again", "mine")}


def test_features_are_masked_where_they_are_read_and_nowhere_else(tmp_path: Path) -> None:
    tags = {"service:churn_v1.recency_days": {"detail": "day"}}
    rule = stated({}, to=["admin"], actions=["features.read"], resources=["service:*"])
    rule["column_mask"] = {"fn": "band", "edges": [30, 90], "match": {"detail": "day"}}
    policy = load(tmp_path, rule, tags=tags)
    admin = Principal("a", Role.ADMIN, Purpose.RETENTION)
    made = policy.decide(admin, "features.read", "service:churn_v1")
    assert (made.outcome, [*made.masks]) == ("mask", ["service:churn_v1.recency_days"])
    for action in ("score", "predict", "train", "count", "attack"):
        assert policy.decide(admin, action, "service:churn_v1").masks == {}
    assert policy.decide(admin, "features.read", "service:clv_v1").masks == {}
    columns = {cell.column for cell in matrix_of(policy) if cell.action == "features.read"}
    assert {"service:churn_v1.recency_days", "service:churn_v1", "service:*"} <= columns
    with pytest.raises(BadInput, match=r"mask band needs edges: service:churn_v1.recency_days has no bands of its own"):
        load(tmp_path, {**rule, "column_mask": {"fn": "band", "match": {"detail": "day"}}}, tags=tags)
