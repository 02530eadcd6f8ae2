"""How good the data are: the scorecards that every ingest left, told as lines, JSON or a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlproject.report_file import read_report
from privacy.durable import write_beside
from privacy.errors import BadInput, EnvironmentFailed

if TYPE_CHECKING:
    from features.quality.told import Breach, Card
    from mlproject.wiring import House

__all__ = ["breach_lines", "history_lines", "score_tags", "scorecards", "table_scores", "write_page"]


def scorecards(house: House) -> list[Card]:
    """Return the scorecard of every ingest, oldest first; BadInput where there was none yet."""
    from features.quality.history import QualityHistory

    house.permit("report.read", "report")
    cards = QualityHistory(house.paths.quality).cards()
    if not cards:
        what, where = "this home has no quality scorecard yet", str(house.paths.root)
        raise BadInput(what, where=where, remedy="`custos ingest DATASET` makes one")
    return cards


def breach_lines(breaches: Sequence[Breach]) -> Iterator[str]:
    """Yield what an ingest that goes on says of each breach."""
    for breach in breaches:
        yield f"Mind: {breach.line()} (`custos quality` tells more)"


def table_scores(card: Card) -> dict[str, Any]:
    """Return what the report keeps of a scorecard: the score of every table and dimension."""
    scores = {
        name: {dimension: score.model_dump() for dimension, score in table.scores.items()}
        for name, table in card.tables.items()
    }
    return {"outcome": card.outcome, "k": card.k, "tables": scores}


def score_tags(house: House) -> dict[str, str]:
    """Return, for a training's run, the scores of each table that it learned from, as the report tells them."""
    from features.quality.told import Score, score_text

    try:
        tables = read_report(house.paths.report).get("quality", {}).get("tables", {})
    except EnvironmentFailed:
        return {}  # a damaged report keeps nobody from training
    return {
        f"quality.{name}": ", ".join(
            f"{each} {score_text(Score.model_validate(score))}" for each, score in told.items()
        )
        for name, told in tables.items()
        if told
    }


def history_lines(cards: Sequence[Card]) -> Iterator[str]:
    """Yield a line for every ingest and table, oldest first."""
    from features.datasets.measured import DIMENSIONS
    from features.quality.told import score_text, told_rows

    wide = max([13, *(len(name) for card in cards for name in card.tables)]) + 1
    heads = "".join(f"{each:>14}" for each in ("rows", *DIMENSIONS))
    yield f"{'ingest (UTC)':<18}{'outcome':<9}{'table':<{wide}}{heads}"
    for card in cards:
        for name, table in card.tables.items():
            cells = "".join(f"{score_text(table.scores.get(dimension)):>14}" for dimension in DIMENSIONS)
            moment = card.moment[:16].replace("T", " ")
            yield f"{moment:<18}{card.outcome:<9}{name:<{wide}}{told_rows(table.rows, card.k):>14}{cells}"


def write_page(house: House, cards: Sequence[Card], path: Path) -> None:
    """Write the page of the scorecards, whole or not at all, outside the home."""
    from features.quality.page import page
    from mlproject.pipelines.score import check_out

    check_out(house, path, option="--html", formats=("", ".html", ".htm"))

    write_beside(path, page(cards).encode())
