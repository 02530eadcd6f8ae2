"""BG/NBD and Gamma-Gamma against published figures, simulated customers and the textbook formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from scipy.optimize import check_grad
from scipy.special import hyp2f1

from privacy.errors import BadInput
from training.models import btyd
from training.models.btyd import BgNbd, GammaGamma, PurchaseHistory

PUBLISHED = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)
CDNOW = Path(__file__).parents[4] / "shared" / "data" / "cdnow.parquet"


def history(*rows: tuple[float, float, float, float]) -> PurchaseHistory:
    return PurchaseHistory(*np.array(rows, dtype=float).T)


def log_likelihood(model: BgNbd, seen: PurchaseHistory) -> float:
    rows = np.column_stack([seen.repeats, seen.last, seen.age])
    loss, _ = btyd._bgnbd_loss(np.log(list(model.to_dict().values())), rows, np.ones(len(rows)))
    return -loss * len(rows)


def test_published_conditional_expectation() -> None:
    found = PUBLISHED.expected_orders(history((2, 30.43, 38.86, 0)), 39.0)
    assert found[0] == pytest.approx(1.226, abs=5e-4)


@pytest.mark.parametrize("row", [(0, 0, 20, 0), (1, 5, 30, 0), (7, 25, 38, 0), (29, 38, 38.86, 0)])
def test_rewritten_expectation_equals_the_textbook_formula(row: tuple[float, float, float, float]) -> None:
    x, last, age, _ = row
    t, (r, alpha, a, b) = 39.0, (0.243, 4.414, 0.793, 2.426)
    tail = ((alpha + age) / (alpha + age + t)) ** (r + x) * hyp2f1(r + x, b + x, a + b + x - 1, t / (alpha + age + t))
    odds = (a / (b + x - 1)) * ((alpha + age) / (alpha + last)) ** (r + x) if x else 0.0
    textbook = (a + b + x - 1) / (a - 1) * (1 - tail) / (1 + odds)
    assert PUBLISHED.expected_orders(history(row), t)[0] == pytest.approx(textbook, rel=1e-10)


def test_frequent_buyers_do_not_overflow() -> None:
    found = BgNbd(1.1, 6.0, 1.0, 30.0).expected_orders(history((5000, 361, 361, 0), (5000, 10, 361, 0)), 360.0)
    assert np.isfinite(found).all()
    assert found[0] > 1000
    assert found[1] == pytest.approx(0.0, abs=1e-6)


def test_likelihood_of_one_customer_by_hand() -> None:
    # x = 0: L = (alpha / (alpha + T))^r, for B(a, b + 0) / B(a, b) = 1.
    assert log_likelihood(PUBLISHED, history((0, 0, 10, 0))) == pytest.approx(0.243 * np.log(4.414 / 14.414))


@pytest.mark.parametrize("logs", [(-0.5, 1.5, -0.3, 0.9), (1.0, 1.0, -2.0, 2.0)])
def test_gradients(logs: tuple[float, ...]) -> None:
    rows = np.array([[0, 0, 9], [1, 2, 9], [4, 8.5, 9], [12, 3, 7]], dtype=float)
    counts = np.array([3.0, 1.0, 2.0, 1.0])
    at = np.array(logs)
    orders = [lambda p, i=i: btyd._bgnbd_loss(p, rows, counts)[i] for i in (0, 1)]
    assert check_grad(orders[0], orders[1], at) < 1e-5
    spend = [lambda p, i=i: btyd._spend_loss(p, rows[1:, [0, 2]])[i] for i in (0, 1)]
    assert check_grad(spend[0], spend[1], at[:3]) < 1e-5


def test_parameters_are_recovered_from_simulated_customers() -> None:
    random = np.random.default_rng(1)
    rows = []
    for _ in range(6000):
        rate, drop = random.gamma(0.8, 1 / 5.0), random.beta(1.0, 3.0)
        age, now, x, last = 40.0, 0.0, 0, 0.0
        while (now := now + random.exponential(1 / rate)) < age:
            x, last = x + 1, now
            if random.random() < drop:
                break
        mean = random.gamma(6.0 * max(x, 1), 1 / random.gamma(4.0, 1 / 15.0)) / max(x, 1)
        rows.append((x, last, age, mean if x else 0.0))
    seen = history(*rows)
    orders, value = BgNbd.fit(seen), GammaGamma.fit(seen)
    assert orders.r == pytest.approx(0.8, rel=0.15)
    assert orders.alpha == pytest.approx(5.0, rel=0.2)
    assert orders.a / (orders.a + orders.b) == pytest.approx(0.25, abs=0.06)
    assert log_likelihood(orders, seen) >= log_likelihood(BgNbd(0.8, 5.0, 1.0, 3.0), seen)
    assert value.p * value.gamma / (value.q - 1) == pytest.approx(6 * 15 / 3, rel=0.08)


def test_cdnow_cohort_is_near_the_published_sample() -> None:
    if not CDNOW.exists():
        pytest.skip("shared/data/cdnow.parquet is not part of the repository")
    rows = pd.read_parquet(CDNOW)
    end = pd.Timestamp("1997-10-01")
    days = rows[rows["ts"] < end].drop_duplicates(["customer_id", "ts"]).groupby("customer_id")["ts"]
    orders, first, latest = days.count(), days.min(), days.max()
    weeks = [(latest - first).dt.days / 7, (end - first).dt.days / 7]
    found = BgNbd.fit(PurchaseHistory(orders.to_numpy() - 1.0, *[w.to_numpy() for w in weeks], np.zeros(len(orders))))
    # Published for a tenth of this cohort; the sample's standard errors are about this wide.
    for name, published in PUBLISHED.to_dict().items():
        assert found.to_dict()[name] == pytest.approx(published, rel=0.1)


def test_expected_value_by_hand_and_without_repeat_orders() -> None:
    model = GammaGamma(p=6.25, q=3.74, gamma=15.44)
    found = model.expected_value(history((0, 0, 9, 0), (0, 0, 9, np.nan), (2, 5, 9, 50.0)))
    assert found[0] == found[1] == pytest.approx(6.25 * 15.44 / 2.74)
    assert found[2] == pytest.approx((6.25 * 15.44 + 6.25 * 2 * 50) / (12.5 + 2.74))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(1, 2, 9, 5.0)] * 9, "9 customers"),
        ([(0, 0, 9, 0.0)] * 50, "0 with a second order"),
    ],
)
def test_too_little_to_fit_is_refused(rows: list[tuple[float, float, float, float]], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        BgNbd.fit(history(*rows))


def test_spend_needs_positive_values() -> None:
    with pytest.raises(BadInput, match="0 customers with repeat orders of positive value"):
        GammaGamma.fit(history(*[(3, 5, 9, -1.0)] * 30))


@pytest.mark.parametrize("row", [(-1, 0, 9, 0), (1, 10, 9, 0), (np.nan, 0, 9, 0)])
def test_impossible_histories_are_refused(row: tuple[float, float, float, float]) -> None:
    with pytest.raises(BadInput, match="1 of 1 purchase histories"):
        history(row)


@pytest.mark.parametrize(
    ("r", "alpha", "a", "b"),
    [(1.2, 30.0, 462.5, 8103.0), (1.0, 2.0, 300.0, 4000.0), (0.5, 10.0, 8103.0, 8103.0), (0.243, 4.414, 0.793, 2.426)],
)
@pytest.mark.parametrize("horizon", [28.0, 112.0, 365.0])
def test_expected_orders_are_right_where_drop_out_hardly_varies(
    r: float, alpha: float, a: float, b: float, horizon: float
) -> None:
    """Against the expectation over p ~ Beta(a, b + x) integrated adaptively; young and frequent customers alike."""
    x, age = np.array([0.0, 0.0, 1.0, 5.0, 80.0]), np.array([2.0, 400.0, 13.0, 100.0, 365.0])
    last = np.where(x > 0, 0.9 * age, 0.0)
    told = BgNbd(r, alpha, a, b).expected_orders(PurchaseHistory(x, last, age, np.ones(5)), horizon)
    for i in range(5):
        at_most = stats.beta(a, b + x[i]).ppf(1 - 1e-12)

        def orders(p: float, i: int = i) -> float:
            return (
                stats.beta(a, b + x[i]).pdf(p) * -np.expm1(-(r + x[i]) * np.log1p(p * horizon / (alpha + age[i]))) / p
            )

        alive = integrate.quad(orders, 0, at_most, limit=500, points=[at_most / 50, at_most / 3])[0]
        ratio = ((alpha + age[i]) / (alpha + last[i])) ** (r + x[i])
        odds = a / (b + x[i] - 1) * ratio if x[i] else 0.0
        assert told[i] == pytest.approx(alive / (1 + odds), rel=1e-4)
