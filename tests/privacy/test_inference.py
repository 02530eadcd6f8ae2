"""Words in two languages, marks, and questions that are refused by name and audited."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.audit import AuditLog
from privacy.classification import Purpose, Role
from privacy.errors import Refused
from privacy.inference import RULE, Firewall, Marks, canonical
from privacy.keyring import Keyring
from privacy.kms import LocalKms
from privacy.policy import Principal
from privacy.sensitive_words import lexicons, named_in

ASKED = {
    "infant_buyers": "infant",
    "孕婴人群": "infant",
    "新生儿家庭": "infant",
    "NewbornFamilies": "infant",
    "new-born parents": "infant",
    "pregnancyScore": "infant",
    "ＢＡＢＹ diapers": "infant",
    "n.e.w.b.o.r.n": "infant",
    "ínfant": "infant",
    "b\u20ddaby": "infant",
    "new mothers": "infant",
    "宝妈人群": "infant",
    "diabetics": "health",
    "糖尿病患者": "health",
    "ramadan_shoppers": "religion",
    "清真食品": "religion",
    "condom-buyers": "intimate",
    "避孕": "intimate",
}
FREE = ("churn_v1", "clv_v1", "value", "retention", "baby carrots", "information", "产品", "grape", "tagine", "spring")
PRINCIPAL = Principal("tester", Role.ADMIN, Purpose.RETENTION)


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    keyring = Keyring.create(tmp_path / "keyring.json", LocalKms(passphrase="correct horse"))
    return AuditLog(tmp_path / "audit", keyring)


def last(tmp_path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((tmp_path / "audit" / "events.jsonl").read_text().splitlines()[-1])
    return found


@pytest.mark.parametrize(("asked", "attribute"), ASKED.items())
def test_asking_for_it_is_refused_by_name_and_audited(
    audit: AuditLog, tmp_path: Path, asked: str, attribute: str
) -> None:
    with pytest.raises(Refused, match=f"{attribute}.*{RULE}") as raised:
        Firewall(audit).require(PRINCIPAL, "features.read", asked)
    assert asked not in str(raised.value)
    event = last(tmp_path)
    assert (event["outcome"], event["rule"], event["resource"]) == ("deny", RULE, f"inference:{attribute}")
    assert asked not in json.dumps(event, ensure_ascii=False)


@pytest.mark.parametrize("asked", FREE)
def test_what_names_nothing_sensitive_passes(audit: AuditLog, asked: str) -> None:
    Firewall(audit).require(PRINCIPAL, "features.read", [asked])


def test_what_the_law_does_not_protect_is_refused_where_it_is_marked(audit: AuditLog) -> None:
    Firewall(audit).require(PRINCIPAL, "segment", ["wine club"])
    with pytest.raises(Refused, match="alcohol"):
        Firewall(audit, lambda: ("alcohol",)).require(PRINCIPAL, "segment", ["loyal", "wine club"])


def test_every_word_is_found_and_no_exception_of_its_own_list() -> None:
    for attribute in lexicons():
        assert named_in(attribute) == (attribute,) or attribute in named_in(attribute)
    assert named_in("baby corn") == ()
    assert named_in("baby corn and baby wipes") == ("infant",)


@given(st.text(alphabet="abcdefgh _-.:婴孕病酒XYZ\u200b\u00ad", max_size=30))
def test_any_text_can_be_held_against_the_words(text: str) -> None:
    found = named_in(text, disguised=True)
    assert set(found) <= set(lexicons())
    assert ("infant" in found) >= any(mark in text for mark in "婴孕")


def test_marks_are_compared_without_case_width_or_blanks() -> None:
    marks = Marks({"infant": {"kind": frozenset(canonical(pa.array(["Ｄｉａｐｅｒｓ"])).to_pylist())}})
    batch = pa.RecordBatch.from_pydict({"kind": pa.array(["diapers ", "DIAPERS", "diaper", None, ""])})
    assert marks.of(batch)["infant"].tolist() == [True, True, False, False, False]


def test_numbers_are_marked_as_they_are_written() -> None:
    marks = Marks({"infant": {"product_id": frozenset({"42"})}})
    assert marks.of(pa.RecordBatch.from_pydict({"product_id": [42, 7, None]}))["infant"].tolist() == [
        True,
        False,
        False,
    ]
    empty = pa.RecordBatch.from_pydict({"product_id": pa.array([], pa.int64())})
    assert marks.of(empty)["infant"].tolist() == []
