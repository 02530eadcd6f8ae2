"""The quality page in a real browser, wide and narrow: no text is cut, pale or fetched, whatever is in it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from html import escape, unescape
from pathlib import Path
from typing import Any

from features.quality.page import page
from features.quality.told import Card

from .test_quality_page import card

WIDTHS = (400, 1280)
SOURCE = "实付金额（元）"
LONG = "a_column_named_by_somebody_who_likes_long_names_that_say_it_all"
MEASURE = """
const luminance = colour => {
  const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
  const [r, g, b] = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const look = frame => {
  const inside = frame.contentDocument, view = frame.contentWindow;
  inside.querySelectorAll("details").forEach(each => { each.open = true; });
  const found = {width: view.innerWidth, scrolled: inside.documentElement.scrollWidth, cut: [], pale: [], texts: 0,
    fetched: view.performance.getEntriesByType("resource").length, source: 0};
  const back = luminance(view.getComputedStyle(inside.body).backgroundColor);
  const walker = inside.createTreeWalker(inside.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement, range = inside.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect(), svg = parent.closest("svg"), head = parent.closest("thead");
    if (!node.data.trim() || !box.width || head && view.getComputedStyle(head).position === "absolute") continue;
    found.texts += 1;
    const around = svg ? svg.getBoundingClientRect() : {left: 0, right: view.innerWidth};
    if (box.left < around.left - 0.5 || box.right > around.right + 0.5) found.cut.push(node.data);
    const style = view.getComputedStyle(parent), front = luminance(svg ? style.fill : style.color);
    if ((Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05) < 7 || front > back) found.pale.push(node.data);
    if (node.data.includes("SOURCE")) found.source = box.width;
  }
  return found;
};
addEventListener("load", () => {
  document.body.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(look));
});
"""


def cards(ingests: int) -> list[Card]:
    """Ingests with what may not fit: large counts, long and Chinese names, breaches, bounds, tables of few."""
    made = []
    for day in range(1, ingests + 1):
        told = card(day, 1 - day / 97, outcome="stopped" if day % 5 == 0 else "kept").model_dump()
        table = told["tables"]["transactions"]
        table["rows"]["rows"] = 987_654_321 + day
        table["asked"] = {"least": {"validity": 0.999}, "min_rows": 900_000_000, "max_age_days": 30}
        table["columns"] |= {
            "paid": {"scores": {"completeness": {"value": 0.98765, "bound": "at least"}}, "source": SOURCE},
            LONG: {"scores": {}, "source": LONG.replace("_", "-"), "outliers": {"rows": None}},
        }
        told["tables"] |= {"products": {"rows": {"rows": None}}, LONG: {"rows": {"rows": 9_999 + day}}}
        made.append(Card.model_validate(told))
    return made


def looked_at(chromium: str, pages: list[str], folder: Path) -> list[dict[str, Any]]:
    """Measure pages in frames of WIDTHS, all folds open."""
    frames = "".join(
        f'<iframe width="{width}" height="3000" style="border:0" srcdoc="{escape(each)}"></iframe>'
        for each in pages
        for width in WIDTHS
    )
    script = MEASURE.replace("SOURCE", SOURCE)
    (folder / "frames.html").write_text(f'<meta charset="utf-8"><body>{frames}<script>{script}</script>', "utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'user'}"]
    place = (folder / "frames.html").as_uri()
    shown = subprocess.run([*command, "--dump-dom", place], capture_output=True, check=True, timeout=60)
    body = re.search(r"<body>(.*)</body>", shown.stdout.decode(), re.DOTALL)
    assert body
    found: list[dict[str, Any]] = json.loads(unescape(body[1]))
    return found


def test_no_text_is_cut_or_pale_and_nothing_is_fetched(
    debian_package: Callable[[str, str], str], tmp_path: Path
) -> None:
    chromium = debian_package("chromium", "chromium")
    found = looked_at(chromium, [page(cards(ingests)) for ingests in (1, 2, 12)], tmp_path)
    assert [each["width"] for each in found] == [*WIDTHS] * 3
    for each in found:
        assert each["texts"] > 40
        assert each["scrolled"] <= each["width"]
        assert (each["cut"], each["pale"], each["fetched"]) == ([], [], 0)
        assert each["source"] > 7 * 10  # seven characters, each about as wide as it is high
