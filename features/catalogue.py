"""What there is to ask for: every feature, what it means, what it is for and which service holds it; also as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from privacy.errors import BadInput

from .services import SERVICES, shop_features
from .transforms.feature import ORDERS, Feature, windows_for
from .transforms.registry import every_feature, families

if TYPE_CHECKING:
    from .datasets.descriptor import Descriptor

__all__ = ["catalogue_page", "described", "listed_features", "one_feature", "overview"]

FAMILIES: Final = {
    "rfm": "Recency, frequency, money",
    "decay": "Fading with age",
    "rhythm": "Rhythm",
    "basket": "Basket",
    "lifecycle": "Life cycle",
    "insight": "Insight: bands among all customers",
    "engagement": "Engagement: of shops with `interactions`",
}


def listed_features(shop: Descriptor | None = None) -> list[dict[str, Any]]:
    """List every feature as JSON values; what a `shop` withholds or has no table for is held by no service.

    >>> listed_features()[0]["services"]
    ['churn_v1', 'clv_v1']
    """
    if shop is None:
        return [_told(feature) for feature in every_feature()]
    built = shop_features(shop)
    return [_told(feature, built=feature in built) for feature in every_feature(shop.slow)]


def one_feature(name: str, shop: Descriptor | None = None) -> dict[str, Any]:
    """Return one feature by name, as JSON values. Raises BadInput naming those that are spelt like it.

    >>> one_feature("gap_cv")["description"]
    'time between one purchase and the next, null for one purchase: standard deviation over mean'
    """
    import difflib

    told = {each["name"]: each for each in listed_features(shop)}
    if name not in told:
        near = difflib.get_close_matches(name, told, 3)
        remedy = f"did you mean {', '.join(near)}?" if near else "`custos features list` lists them"
        raise BadInput(f"there is no feature '{name}'", remedy=remedy)
    return told[name]


def overview(told: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield features as lines, a family under its heading."""
    family = None
    for each in told:
        if each["family"] != family:
            family = each["family"]
            yield f"{FAMILIES[family]} ({family})"
        held = ", ".join(each["services"]) or "not built here"
        yield f"  {each['name']:<22} {each['unit']:<14} {each['window']:<24} {held}"


def described(each: dict[str, Any]) -> Iterator[str]:
    """Yield what there is to say of one feature, a line a property."""
    for label, value in each.items():
        text = ", ".join(value) if isinstance(value, list) else value
        yield f"{label:<12} {text or '-'}"


def catalogue_page() -> str:
    """Return the catalogue as Markdown: docs/feature-catalogue.md is this text."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    fast, slow = windows_for(False), windows_for(True)
    spans = [", ".join(map(str, windows.days)) for windows in (fast, slow)]
    yield "# Feature catalogue"
    yield ""
    yield "Made from the declarations by `make catalogue`; a test fails while it is stale. `custos features list` and"
    yield "`custos features describe NAME` tell the same of a home, with the windows of its shop and what it withholds."
    yield ""
    yield "All are of rows strictly before the cut-off, and of the order, time and amount of the table `transactions`;"
    yield "what needs another column says so. A purchase is the first event of an order with a positive value; later"
    yield "lines under its number are returns or corrections. Numbers are null where they have no meaning. Every"
    yield "feature is behaviour of one person under a token (sensitivity `behavioural`): pseudonymous, not anonymous."
    yield f"Windows are {spans[0]} days, and {spans[1]} in a shop whose churn horizon is over 60 days."
    yield ""
    yield "| service | purposes | roles | people in a band, and in an answer of rows, at least |"
    yield "|---|---|---|---|"
    for service in SERVICES:
        k = service.k if service.k > 1 else "-"
        yield f"| `{service.name}` | {', '.join(service.purposes)} | {', '.join(sorted(service.roles))} | {k} |"
    for family, members in families(every_feature()).items():
        yield from ("", f"## {FAMILIES[family]}", "")
        yield "| feature | unit | window | what it is | may serve | services |"
        yield "|---|---|---|---|---|---|"
        yield from (_row(feature) for feature in members)


def _row(feature: Feature) -> str:
    told = _told(feature)
    bands = f": {'; '.join(feature.bands)}" if feature.bands else ""
    beside = [f"`{source.removeprefix('transactions.')}`" for source in feature.sources if source not in ORDERS]
    needed = f"; needs {' and '.join(beside)}" if beside else ""
    cells = [f"`{feature.name}`", feature.unit, feature.window, feature.description + needed + bands]
    return "| " + " | ".join([*cells, ", ".join(feature.purposes), ", ".join(told["services"])]) + " |"


def _told(feature: Feature, *, built: bool = True) -> dict[str, Any]:
    return {
        "name": feature.name,
        "family": feature.family,
        "type": feature.dtype,
        "unit": feature.unit,
        "window": feature.window,
        "description": feature.description,
        "bands": list(feature.bands),
        "sources": list(feature.sources),
        "sensitivity": feature.sensitivity.value,
        "level": feature.level.value,
        "use": feature.use.value,
        "purposes": [purpose.value for purpose in feature.purposes],
        "services": [service.name for service in SERVICES if built and service.holds([feature])],
    }
