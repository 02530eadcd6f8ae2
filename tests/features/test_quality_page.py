"""The page, the lines and the file that scorecards become."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

from features.quality.history import QualityHistory
from features.quality.page import page
from features.quality.told import Breach, Card, card_lines


class Outline(HTMLParser):
    """The tags of a page, which must all be closed, with their attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def card(day: int, share: float, *, outcome: str = "kept", dataset: str = "corner_shop") -> Card:
    breach = Breach(table="transactions", column="", dimension="validity", found="<b>", wanted="1", on_breach="stop")
    told = {"rows": {"rows": 1_000 + day}, "age_days": day, "returns": {"rows": None}}
    told |= {
        "scores": {"validity": {"value": share}},
        "columns": {"amount": {"scores": {"validity": {"value": share}}}},
    }
    made = {"moment": f"2026-01-{day:02d}T08:00:00+00:00", "dataset": dataset, "digest": "0" * 64, "k": 5}
    made |= {"outcome": outcome, "tables": {"transactions": told}}
    return Card.model_validate(made | {"breaches": [breach] if outcome == "stopped" else []})


def test_the_page_needs_nothing_and_says_in_words_what_it_draws() -> None:
    text = page([card(1, 1.0), card(2, 0.97), card(3, 0.4, outcome="stopped")])
    outline = Outline(text)
    names = {attributes["id"] for _, attributes in outline.tags if "id" in attributes}
    drawn = [attributes for tag, attributes in outline.tags if tag == "svg"]
    assert len(drawn) == 3  # validity, the age and the rows; nothing else was measured
    for attributes in drawn:
        assert attributes["role"] == "img"
        assert set((attributes["aria-labelledby"] or "").split()) <= names
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in outline.tags}
    assert not [1 for _, attributes in outline.tags if {"src", "href", "onclick"} & attributes.keys()]
    assert "http" not in text.replace("http-equiv", "")
    assert "<b>" not in text
    for told in ("97.00 %", "40.00 %", "2026-01-02 08:00</th>", "fewer than 5", "stopped", "prefers-color-scheme:dark"):
        assert told in text, told
    assert "2 ingests, last 97.00 %" in page([card(1, 1.0), card(2, 0.97)])


def test_a_card_reads_in_lines() -> None:
    lines = list(card_lines(card(2, 0.97)))
    assert lines[0] == "corner_shop, 2026-01-02 08:00 UTC, kept; counts of fewer than 5 rows are not told"
    assert lines[2] == "transactions: 1,002 rows, fewer than 5 returned, newest 2 days old"
    assert lines[4].split() == ["the", "table", "-", "97.00", "%", "-", "-", "-", "-"]


def test_the_history_is_lines_that_stay_as_they_were(tmp_path: Path) -> None:
    history = QualityHistory(tmp_path / "quality.jsonl")
    for day in (1, 2, 3):
        before = (tmp_path / "quality.jsonl").read_bytes() if day > 1 else b""
        history.append(card(day, 1.0, outcome="stopped" if day == 3 else "kept"))
        assert (tmp_path / "quality.jsonl").read_bytes().startswith(before)
    assert [json.loads(line)["tables"]["transactions"]["age_days"] for line in
            (tmp_path / "quality.jsonl").read_text().splitlines()] == [1, 2, 3]  # fmt: skip
    assert history.rows_before() == {"transactions": 1_002}
    assert (tmp_path / "quality.jsonl").stat().st_mode & 0o077 == 0
