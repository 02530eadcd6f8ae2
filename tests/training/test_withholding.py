"""What to withhold so that the inference gate passes: what leaks, verified by the gate; or an honest no."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from training import withholding
from training.inference_gate import GateLimits, examine
from training.withholding import MOST_ATTACKS, way_out

from .test_inference_gate import shop_of

WIDE = GateLimits(most=0.6, most_upper=0.72)
"""Wide enough for few people, whom an attack takes half a second."""
NOISE = tuple(f"noise_{number}" for number in range(3))


def leaky(people: int = 300) -> tuple[pa.Table, pa.Table]:
    """Two columns that each give the flag away among three that tell nothing."""
    published, evidence = shop_of(people, leak=2.0)
    draw, flag = np.random.default_rng(1), evidence["infant"].to_numpy().astype(float)
    for name in NOISE:
        published = published.append_column(name, pa.array(draw.normal(size=people)))
    return published.append_column("echo", pa.array(-2 * flag + draw.normal(size=people))), evidence


def test_what_leaks_is_withheld_and_nothing_else() -> None:
    published, evidence = leaky()
    shown: list[tuple[str, int, int]] = []
    optional = {"telling", "echo", *NOISE}
    way = way_out(published, evidence, ["infant"], optional, limits=WIDE, progress=lambda *done: shown.append(done))
    assert (set(way.withhold), way.passes, way.ended) == ({"telling", "echo"}, True, True)
    again = examine("it", published.drop_columns(list(way.withhold)), evidence, "infant", WIDE)
    assert again.passed
    assert way.why == f"infant: {again.why}"
    assert shown == [("attacks", at, MOST_ATTACKS) for at in range(1, way.attacks + 1)]
    assert way.attacks < len(optional) + 4


def test_every_attribute_has_to_pass() -> None:
    published, evidence = leaky()
    other = np.random.default_rng(5).random(300) < 0.3
    published = published.drop_columns(["echo", *NOISE]).append_column("other_tells", pa.array(2.0 * other))
    both = evidence.append_column("health", pa.array(other))
    way = way_out(published, both, ["health", "infant"], {"telling", "other_tells"}, limits=WIDE)
    assert set(way.withhold) == {"telling", "other_tells"}
    assert {part.split(":")[0] for part in way.why.split("; ")} >= {"health", "infant"}


def test_what_withholding_cannot_mend_is_said() -> None:
    published, evidence = leaky()
    kept = way_out(published, evidence, ["infant"], {"telling", *NOISE}, limits=WIDE)  # `echo` has to stay
    assert (kept.withhold, kept.passes, kept.attacks) == ((), False, 1)
    assert "AUC within spend deciles" in kept.why
    few = evidence.set_column(1, "infant", pa.array(np.arange(300) < 7))
    found = way_out(published, few, ["infant"], {"telling", "echo"}, limits=WIDE)
    assert not found.passes
    assert "7 flagged people are too few to bound it" in found.why
    nothing = way_out(published, evidence, ["infant"], {"elsewhere"}, limits=WIDE)
    assert (nothing.passes, nothing.attacks, nothing.why) == (False, 0, "no column of it may be withheld")
    alone = way_out(published.drop_columns(["spent"]), few, ["infant"], {"telling", "echo", *NOISE}, limits=WIDE)
    assert (alone.passes, alone.may_withhold) == (False, 1 + len(NOISE))  # one column stays, or nothing is published


def test_a_search_cut_short_says_so_and_what_it_found_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    published, evidence = leaky()
    monkeypatch.setattr(withholding, "MOST_ATTACKS", 3)
    way = way_out(published, evidence, ["infant"], {"telling", "echo", *NOISE}, limits=WIDE)
    assert (way.passes, way.ended, way.attacks) == (True, False, 3)
    assert {"telling", "echo"} <= set(way.withhold)
    assert examine("it", published.drop_columns(list(way.withhold)), evidence, "infant", WIDE).passed
