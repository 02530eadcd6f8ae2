"""What the last run did, kept stage by stage in the home and told as lines or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from mlproject.pipelines.verdicts import gate_lines, interval_text
from mlproject.report_file import read_report
from mlproject.stages import Stages
from mlproject.state import write_json
from privacy.counted import counted
from privacy.durable import locked
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed

if TYPE_CHECKING:
    from mlproject.wiring import House
    from training.registry import ChampionRef

__all__ = [
    "attack_lines",
    "champion_of",
    "home_status",
    "make_report",
    "marked_told",
    "metric_table",
    "no_champion",
    "record",
    "report_lines",
    "required_champion",
]

ATTACKED: Final = ("auc", "tpr_at_1_percent_fpr", "advantage")
"""What is told of an attack on membership."""


def record(house: House, section: str, content: Mapping[str, Any] | Stages, *, merge: bool = False) -> None:
    """Keep one section of the report; stages replace their own earlier entry, `merge` keeps the section's rest."""
    with locked(house.paths.report.with_suffix(".lock")):
        try:
            report = read_report(house.paths.report)
        except EnvironmentFailed:
            report = {}  # damaged: what was just done must not fail for it
        _put(report, section, content, merge=merge)
        write_json(house.paths.report, report)


def _put(report: dict[str, Any], section: str, content: Mapping[str, Any] | Stages, *, merge: bool) -> None:
    if isinstance(content, Stages):
        kept = {entry["name"]: entry for entry in report.get("stages", [])}
        for measured in content.done:
            kept.pop(measured.name, None)
            entry = asdict(measured)
            kept[measured.name] = {
                "name": entry["name"],
                "seconds": round(measured.seconds, 2),
                "peak_mb": round(measured.peak_mb),
            }
        report["stages"] = list(kept.values())
    else:
        report[section] = {**report.get(section, {}), **content} if merge else dict(content)


def make_report(house: House) -> dict[str, Any]:
    """Return the report; the champions are read from the registry as they stand now."""
    house.permit("report.read", "report")
    report = read_report(house.paths.report)
    if not report:
        _ = house.state  # says so where nothing was ingested yet
        remedy = "every stage records itself anew when it runs again"
        raise EnvironmentFailed("the report is gone", where=str(house.paths.report), remedy=remedy)
    if "dataset" not in report:  # the file was lost after the ingest, and later stages began it anew
        state = house.state
        report["dataset"] = {"name": state.dataset, **state.to_dict()}
    report["consents"] = len(house.consents) if house.paths.consents.exists() else 0
    report["lawful_bases"] = {purpose: basis.value for purpose, basis in house.lawful_bases().items()}
    for target, model in report.get("models", {}).items():
        model.update(_champion_now(house, target))
    return report


def _champion_now(house: House, target: str) -> dict[str, Any]:
    """Return what the registry says of a target's champion, or why nothing can be said of it now."""
    try:
        champion = champion_of(house, target)
        if champion is None:
            return {"champion": None, "champion_metrics": {}}
        now = {"version": champion.version, "design": champion.design}
        return {"champion": now, "champion_metrics": dict(house.registry.champion_metrics(champion))}
    except (CheckFailed, EnvironmentFailed) as error:
        return {"champion": None, "champion_metrics": {}, "trouble": str(error)}


def champion_of(house: House, target: str) -> ChampionRef | None:
    """Return the champion as the registry has it now, None before there was one.

    Raises:
        EnvironmentFailed: the registry can't be read, or lost the champion that the last report tells of.
    """
    paths = house.paths
    found = house.registry.champion(target) if paths.mlflow_database.exists() else None
    if found is not None:
        return found
    told = read_report(paths.report).get("models", {}).get(target, {}).get("champion")
    if told:
        what = f"the registry lost {target} version {told['version']}, which was champion"
        remedy = f"restore it from its backup, or run `custos train {target}`"
        raise EnvironmentFailed(what, where=str(paths.mlflow_database), remedy=remedy)
    return None


def required_champion(house: House, target: str) -> ChampionRef:
    """Return the champion; BadInput where there is none, which says whether one waits and for what."""
    found = champion_of(house, target)
    if found is None:
        raise no_champion(house, target)
    return found


def no_champion(house: House, target: str) -> BadInput:
    """Return what to raise or tell where there is no champion; a home without a registry has none yet."""
    if house.paths.mlflow_database.exists():
        return house.registry.no_champion(target)
    return BadInput(f"there is no champion of {target} yet", remedy=f"custos train {target}")


def report_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the report as lines for a person."""
    dataset = report["dataset"]
    yield f"Dataset {dataset['name']}, events {dataset['first_event'][:10]} to {dataset['last_event'][:10]}"
    for name, table in report.get("tables", {}).items():
        bad = sum(table["quarantined"].values())
        told = f", {marked_told(table['marked'], table['marked_by'])}" if table.get("marked") else ""
        yield f"  {name:<14} {table['rows_in']:>10,} in {table['kept']:>10,} kept {bad:>7,} quarantined{told}"
    yield from report.get("quality", {}).get("breaches", [])
    if "features" in report:
        built = report["features"]
        days = ", ".join(cutoff[:10] for cutoff in built["cutoffs"])
        size = f"{counted(built['columns'], 'column')}, {counted(built['rows'], 'row')}"
        yield f"Features: {size}, as of {built['as_of'][:10]}"
        yield f"  cut-offs {days}"
    for target, model in report.get("models", {}).items():
        yield ""
        yield from metric_table(target, model)
    if "inference" in report:
        yield ""
        yield from gate_lines(report["inference"])
    if "membership" in report:
        yield ""
        yield from attack_lines(report["membership"], report.get("models", {}))
    bases = report.get("lawful_bases", {})
    if bases:
        yield ""
        yield "Lawful bases: " + ", ".join(f"{purpose} {basis}" for purpose, basis in bases.items())
        kept = report.get("consents", 0)
        whom = "whoever consented" if kept else "nobody: a table `consents` fills the ledger"
        yield f"Consents on record: {kept:,}; purposes whose basis is consent are served {whom}."
    yield ""
    for stage in report.get("stages", []):
        yield f"  {stage['name']:<34} {stage['seconds']:>7.1f} s {stage['peak_mb']:>6,} MB"


def marked_told(marked: int, by_attribute: Mapping[str, int]) -> str:
    """Tell how many lines were left out because of what they would tell.

    >>> marked_told(1234, {"infant": 1200, "health": 40})
    '1,234 marked lines left out (health 40, infant 1,200)'
    """
    by = ", ".join(f"{name} {count:,}" for name, count in sorted(by_attribute.items()))
    return f"{marked:,} marked lines left out ({by})"


def metric_table(target: str, model: Mapping[str, Any]) -> Iterator[str]:
    """Yield a model's out-of-time metrics beside every baseline's, a line each."""
    champion = model["champion"]
    now = f"champion version {champion['version']} ({champion['design']})" if champion else "no champion yet"
    if model.get("trouble"):
        now = f"the champion can't be told: {model['trouble']}. When it was trained"
    yield f"{target}: {now}. {model['message']}"
    for note in model.get("notes", ()):
        yield f"  {note}"
    names = list(model["metrics"])
    widths = {name: max(10, len(name) + 2) for name in names}
    yield "  " + f"{'out of time':<16}" + "".join(f"{name:>{widths[name]}}" for name in names)
    rows = {"champion": model["champion_metrics"], f"tested {model['tested']['design']}": model["metrics"]}
    if rows["champion"] in ({}, model["metrics"]):
        del rows["champion"]  # there is none, or it is what was tested, refitted
    for label, metrics in {**rows, **model["baselines"]}.items():
        cells = (f"{metrics[name]:.4g}" if metrics.get(name) is not None else "-" for name in names)
        line = "".join(f"{cell:>{widths[name]}}" for name, cell in zip(names, cells, strict=True))
        yield f"  {label:<16}{line}"


def attack_lines(section: Mapping[str, Any], models: Mapping[str, Any]) -> Iterator[str]:
    """Yield what membership inference gained, a model a line, beside guessing, and what the figures mean."""
    yield "Membership in the training set, attacked by shadow models (LiRA), with 95 % intervals"
    yield f"  {'model':<34}{'AUC':<22}{'TPR at 1 % FPR':<22}largest advantage"
    for target, told in section.items():
        figures = "".join(f"{interval_text(told['lira'][name]):<22}" for name in ATTACKED).rstrip()
        yield f"  {target + ' version {} ({})'.format(told['version'], told['design']):<34}{figures}"
        guesses = "".join(f"{told['guessing'][name]['value']:<22.3f}" for name in ATTACKED).rstrip()
        yield f"  {'  guessing':<34}{guesses}"
    for target, told in section.items():
        right = 100 * told["lira"]["auc"]["value"]
        yield (
            f"  {target}: shown one person it was trained on and one it wasn't, the attack picks the right one "
            f"{right:.0f} times in 100; a coin 50."
        )
        champion = models.get(target, {}).get("champion")
        if champion and champion["version"] != told["version"]:
            yield f"  {target} version {champion['version']} is champion since: `custos risk membership {target}`"


def home_status(house: House) -> dict[str, Any]:
    """Return what the home holds, in a few words."""
    paths = house.paths
    held: dict[str, Any] = {"home": str(paths.root)}
    try:
        state = house.state
    except BadInput:
        if paths.state.exists():
            raise
        return {**held, "dataset": "none yet"}
    held["dataset"] = state.dataset
    held["events"] = f"{state.first_event.date()} to {state.last_event.date()}"
    held["as_of"] = state.as_of.date().isoformat() if state.as_of else "not built"
    for target in ("churn", "clv"):
        try:
            champion = champion_of(house, target)
            held[target] = f"version {champion.version} ({champion.design})" if champion else "no champion"
        except EnvironmentFailed as error:
            held[target] = str(error)
    return held
