"""Buy till you die: BG/NBD for how many orders, Gamma-Gamma for how much each.

Sources: Fader, Hardie and Lee (2005), "Counting your customers" the easy way, Marketing Science 24(2), eq. 6
and 10; Fader and Hardie (2013), The Gamma-Gamma model of monetary value. The hypergeometric term is rewritten
with Euler's transformation (DLMF 15.8.1), which keeps it near 1 instead of overflowing for frequent buyers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaincinv, digamma, gammaln, hyp2f1

from privacy.errors import BadInput

__all__ = ["BgNbd", "GammaGamma", "PurchaseHistory"]

_LOG_BOUND: Final = 9.0
_STARTS: Final = ((0.0, 0.0, -1.0, 1.0), (-1.0, -1.0, 0.0, 0.0), (1.0, 1.0, -2.0, 2.0))
_SPEND_STARTS: Final = ((1.0, 1.0, 0.0), (0.0, 0.5, 1.0), (2.0, 1.5, 2.0))
_FEWEST: Final = 10
_NODES: Final = 64
_MOST_ODDS: Final = 700.0
"""Log of the greatest odds of having gone that a float64 holds; beyond it the answer is zero anyway."""


@dataclass(frozen=True, slots=True)
class PurchaseHistory:
    """The sufficient statistics of a group of customers, one entry each.

    `repeats` is the number of orders after the first, `last` the age at the latest order and `age` the time since
    the first (both in the same unit), `mean_value` the mean value of the repeat orders (ignored without any).
    """

    repeats: np.ndarray
    last: np.ndarray
    age: np.ndarray
    mean_value: np.ndarray

    def __post_init__(self) -> None:
        bad = ~((self.repeats >= 0) & (self.last >= 0) & (self.age >= self.last - 1e-9))
        if bad.any():
            raise BadInput(
                f"{int(bad.sum())} of {len(bad)} purchase histories are impossible or empty",
                remedy="repeat orders and ages must be at least 0, and no order later than the cut-off",
            )


@dataclass(frozen=True, slots=True)
class BgNbd:
    """Fitted BG/NBD: purchase rate ~ Gamma(r, alpha), drop-out ~ Beta(a, b) after each order.

    >>> model = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)   # published for CDNOW, weeks
    >>> one = [np.array([v]) for v in (2.0, 30.43, 38.86, 0.0)]
    >>> round(float(model.expected_orders(PurchaseHistory(*one), 39.0)[0]), 3)
    1.226
    """

    r: float
    alpha: float
    a: float
    b: float

    @classmethod
    def fit(cls, history: PurchaseHistory) -> BgNbd:
        """Fit by maximum likelihood on the distinct (repeats, last, age), each weighted by its count.

        Raises:
            BadInput: fewer than ten customers, or nobody ever came back.
        """
        if len(history.repeats) < _FEWEST or not (history.repeats > 0).any():
            raise BadInput(
                f"BG/NBD can't be fitted: {len(history.repeats)} customers, "
                f"{int((history.repeats > 0).sum())} with a second order",
                remedy=f"at least {_FEWEST} customers and one repeat order are needed",
            )
        scale = float(history.age.mean()) or 1.0
        stacked = np.column_stack([history.repeats, history.last / scale, history.age / scale])
        rows, counts = np.unique(stacked, axis=0, return_counts=True)
        r, alpha, a, b = _best(lambda logs: _bgnbd_loss(logs, rows, counts), _STARTS)
        return cls(r=r, alpha=alpha * scale, a=a, b=b)

    def expected_orders(self, history: PurchaseHistory, horizon: float) -> np.ndarray:
        """Return the orders expected within `horizon` from now, per customer (Fader et al. 2005, eq. 10)."""
        x, last, age = history.repeats, history.last, history.age
        numerator = _orders_if_alive(self, x, age, horizon)
        odds = np.zeros(len(x))
        again = x > 0
        ratio = np.log(self.alpha + age[again]) - np.log(self.alpha + last[again])
        odds[again] = self.a / (self.b + x[again] - 1.0) * np.exp(np.minimum((self.r + x[again]) * ratio, _MOST_ODDS))
        return np.maximum(numerator / (1.0 + odds), 0.0)

    def to_dict(self) -> dict[str, float]:
        """Return the four parameters."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """Fitted Gamma-Gamma: order value ~ Gamma(p, rate), rate ~ Gamma(q, gamma) between customers."""

    p: float
    q: float
    gamma: float

    @classmethod
    def fit(cls, history: PurchaseHistory) -> GammaGamma:
        """Fit by maximum likelihood on customers with repeat orders of positive mean value.

        Raises:
            BadInput: fewer than ten such customers.
        """
        with np.errstate(invalid="ignore"):
            usable = (history.repeats > 0) & (history.mean_value > 0)
        if int(usable.sum()) < _FEWEST:
            raise BadInput(
                f"Gamma-Gamma can't be fitted: {int(usable.sum())} customers with repeat orders of positive value",
                remedy=f"at least {_FEWEST} are needed",
            )
        x, value = history.repeats[usable], history.mean_value[usable]
        scale = float(value.mean())
        rows = np.column_stack([x, value / scale])
        p, q, gamma = _best(lambda logs: _spend_loss(logs, rows), _SPEND_STARTS)
        return cls(p=p, q=q, gamma=gamma * scale)

    def expected_value(self, history: PurchaseHistory) -> np.ndarray:
        """Return the mean order value expected of each customer; without repeat orders, the population's."""
        with np.errstate(invalid="ignore"):
            known = (history.repeats > 0) & (history.mean_value > 0)
        px = self.p * np.where(known, history.repeats, 0.0)
        total = self.p * np.where(known, history.repeats * np.nan_to_num(history.mean_value), 0.0)
        return (self.p * self.gamma + total) / np.maximum(px + self.q - 1.0, 1e-3)

    def to_dict(self) -> dict[str, float]:
        """Return the three parameters."""
        return asdict(self)


def _orders_if_alive(model: BgNbd, x: np.ndarray, age: np.ndarray, horizon: float) -> np.ndarray:
    """The orders expected of somebody still buying: eq. 10 before its denominator.

    Euler's transformation (DLMF 15.8.1) keeps the hypergeometric term near 1 for frequent buyers. Where it overflows,
    as when hardly any drop-out varies (large a and b), the same expectation over p ~ Beta(a, b + x) is integrated:
    the mean of (1 - (1 + p t / (alpha + T))^-(r + x)) / p, by Gauss and Legendre over the quantiles of p.
    """
    # At a = 1 the formula is 0/0; a step of 1e-5 is far below what data can tell.
    a, b, r = (model.a if abs(model.a - 1.0) > 1e-5 else 1.0 + 1e-5), model.b, model.r
    z = horizon / (model.alpha + age + horizon)
    with np.errstate(over="ignore", invalid="ignore"):
        tail = (1.0 - z) ** (a - 1.0) * hyp2f1(a + b - 1.0 - r, a - 1.0, a + b + x - 1.0, z)
        found = (a + b + x - 1.0) / (a - 1.0) * (1.0 - tail)
    lost = ~np.isfinite(found)
    if lost.any():
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        p = betaincinv(a, b + x[lost, None], (nodes[None, :] + 1.0) / 2.0)
        growth = np.log1p(p * (horizon / (model.alpha + age[lost, None])))
        found[lost] = (-np.expm1(-(r + x[lost, None]) * growth) / p) @ weights / 2.0
    return found


def _best(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], starts: tuple[tuple[float, ...], ...]
) -> tuple[float, ...]:
    bounds = [(-_LOG_BOUND, _LOG_BOUND)] * len(starts[0])
    found = [
        minimize(loss, np.array(start), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12})
        for start in starts
    ]
    usable = [result for result in found if np.isfinite(result.fun)]
    if not usable:
        raise BadInput("the purchase model has no finite likelihood on this data")
    return tuple(float(value) for value in np.exp(min(usable, key=lambda result: result.fun).x))


def _bgnbd_loss(logs: np.ndarray, rows: np.ndarray, counts: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean negative log likelihood (Fader et al. 2005, eq. 6) and its gradient by the logarithms of r, alpha, a, b."""
    r, alpha, a, b = np.exp(logs)
    x, last, age = rows.T
    again = x > 0
    front = gammaln(r + x) - gammaln(r) + r * logs[1]
    front += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    alive = -(r + x) * np.log(alpha + age)
    bx = np.where(again, b + x - 1.0, 1.0)
    gone = np.where(again, logs[2] - np.log(bx) - (r + x) * np.log(alpha + last), -np.inf)
    both = np.logaddexp(alive, gone)
    w = np.exp(gone - both)
    common = digamma(a + b) - digamma(a + b + x)
    by_r = digamma(r + x) - digamma(r) + logs[1] - (1 - w) * np.log(alpha + age) - w * np.log(alpha + last)
    by_alpha = r / alpha - (r + x) * ((1 - w) / (alpha + age) + w / (alpha + last))
    by_a = common + w / a
    by_b = common + digamma(b + x) - digamma(b) - w / bx
    total = counts.sum()
    gradient = np.array([counts @ part for part in (by_r, by_alpha, by_a, by_b)]) * np.exp(logs)
    return -float(counts @ (front + both)) / total, -gradient / total


def _spend_loss(logs: np.ndarray, rows: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean negative log likelihood and its gradient by the logarithms of p, q, gamma."""
    p, q, gamma = np.exp(logs)
    x, value = rows.T
    px, spent = p * x, gamma + x * value
    likelihood = gammaln(px + q) - gammaln(px) - gammaln(q) + q * logs[2]
    likelihood += (px - 1.0) * np.log(value) + px * np.log(x) - (px + q) * np.log(spent)
    by_p = x * (digamma(px + q) - digamma(px) + np.log(value) + np.log(x) - np.log(spent))
    by_q = digamma(px + q) - digamma(q) + logs[2] - np.log(spent)
    by_gamma = q / gamma - (px + q) / spent
    gradient = np.array([by_p.mean(), by_q.mean(), by_gamma.mean()]) * np.exp(logs)
    return -float(likelihood.mean()), -gradient
