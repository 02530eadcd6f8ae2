"""The page, the lines and the file that scorecards become."""

from __future__ import annotations

import json
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest

from features.quality.history import QualityHistory
from features.quality.page import page
from features.quality.told import Breach, Card, card_lines, table_card
from mlproject.pipelines.lookup import online_table
from tests.shops import shop_document

from .scored import hand_made, line, metered, person


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
    for told in ("97.00 %", "40.00 %", "2026-01-02 08:00</th>", "fewer than 5", "stopped"):
        assert told in text, told
    assert "2 ingests, last 97.00 %" in page([card(1, 1.0), card(2, 0.97)])


def test_one_ingest_is_no_trend_but_a_bar_beside_what_is_asked() -> None:
    asked = {"least": {"validity": 0.95}, "min_rows": 900, "max_age_days": 30}
    first = card(1, 0.97).model_dump()
    first["tables"]["transactions"]["asked"] = asked
    outline = Outline(text := page([Card.model_validate(first)]))
    [drawn] = [attributes for tag, attributes in outline.tags if tag == "svg"]  # a number of rows or days is no share
    assert drawn["aria-labelledby"] == "transactions-validity-t transactions-validity-d"
    widths = {attributes["class"]: float(attributes["width"] or 0) for tag, attributes in outline.tags if tag == "rect"}
    assert widths["fill "] == pytest.approx(0.97 * 260, abs=0.1)
    [line] = [attributes for tag, attributes in outline.tags if tag == "line"]
    assert float(line["x1"] or 0) == pytest.approx(0.95 * 260, abs=0.1)
    for told in ("asked: at least 95 %", "asked: at least 900 rows", "asked: at most 30 days", "Not measured: compl"):
        assert told in text, told
    assert "<polyline" not in text
    assert "Every ingest" not in text
    two = page([Card.model_validate(first), Card.model_validate(card(2, 0.98).model_dump())])
    assert two.count("<polyline") == 3
    assert "Every ingest" in two


def test_few_rows_are_told_nowhere_not_even_to_screen_readers() -> None:
    cards = []
    for day, rows in ((1, None), (2, 1_000), (3, 2_000), (4, None)):
        told = card(day, 0.5).model_dump()["tables"]["transactions"] | {"rows": {"rows": rows}, "age_days": None}
        tables = {"transactions": told, "products": {"rows": {"rows": None}}}
        cards.append(Card.model_validate(card(day, 0.5).model_dump() | {"tables": tables}))
    outline = Outline(text := page(cards))
    spoken = [value for _, attributes in outline.tags for name, value in attributes.items() if name.startswith("aria")]
    assert not [value for value in spoken if re.search(r"\d", value or "")]
    volume = text[text.index("<span>volume, rows</span>") :].split("</figure>")[0]
    assert re.findall(r"<(?:title|desc)[^>]*>([^<]*)<", volume) == [
        "transactions: volume, rows", "4 ingests, last fewer than 5", "2026-01-02: 1,000", "2026-01-03: 2,000",
    ]  # fmt: skip
    products = text[text.index("<h2>products</h2>") :].split("</section>")[0]
    assert "svg" not in products
    assert products.count("fewer than 5") == 2 + len(cards)  # in the line below the name, the figure, every ingest


def test_a_column_is_told_by_the_name_that_its_source_gives_it(tmp_path: Path) -> None:
    document = shop_document()
    columns = document["tables"]["transactions"]["columns"]
    columns["till"] = {"from": "收银员", "sensitivity": "behavioural"}
    rows = [{**line(day=day), "收银员": "till-1"} for day in range(8)]
    found = metered(hand_made(tmp_path, rows, [person()], document))
    assert (found.sources["till"], found.sources["product_id"]) == ("收银员", "stock")
    assert "quantity" not in found.sources
    told = Card.model_validate(card(1, 1.0).model_dump() | {"tables": {"transactions": table_card(found, 5)}})
    assert ">till (收银员)</th>" in page([told])


def test_a_card_reads_in_lines() -> None:
    lines = list(card_lines(card(2, 0.97)))
    assert lines[0] == "corner_shop, 2026-01-02 08:00 UTC, kept; counts of fewer than 5 rows are not told"
    assert lines[2] == "transactions: 1,002 rows, fewer than 5 returned, newest 2 days old"
    assert lines[4].split() == ["the", "table", "-", "97.00", "%", "-", "-", "-", "-"]


def cells(text: str) -> int:
    """How wide a terminal shows a text: two cells a wide character."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def test_lines_stay_aligned_below_chinese_and_long_names() -> None:
    told = card(2, 0.97).model_dump()
    table = told["tables"]["transactions"]
    scores = {"validity": {"value": 0.97}}
    table["columns"] = {
        name: {"scores": scores, "source": source, "outliers": {"rows": 7}}
        for name, source in (("amount", "实付金额（元）"), ("a_name_that_is_longer_than_the_others", ""), ("x", "ﾃｽﾄ"))
    }
    rows = list(card_lines(Card.model_validate(told)))[3:]
    assert "amount (实付金额（元）) " in rows[2]
    assert len({cells(row.split("97.00 %")[0]) for row in rows[1:]}) == 1
    assert len({cells(row) for row in (rows[0], *rows[2:])}) == 1
    answer = [
        {"customer": token, "status": "ok", "features": {"city": city, "recency_days": 3.0}}
        for token, city in (("a", "上海市浦东新区"), ("b", "Berlin"))
    ]
    assert len({cells(line) for line in list(online_table(answer))[2:]}) == 1


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
