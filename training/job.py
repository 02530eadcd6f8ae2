"""One training job: fetch, fit baselines, tune, test out of time, judge, refit, register, promote."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version

from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from training import gates
from training.candidates import Bench, Candidate, Tested
from training.dataset import CutoffPlan, Snapshots, Task, TrainingGateway, fetch, plan_cutoffs
from training.evaluation import evaluate
from training.gates import GateThresholds, Verdict, best_baseline, judge
from training.messages import BASELINE, CHALLENGER, KEPT, PROMOTED, Made, message, setting_note, version_note
from training.models import CustomerModel, try_out
from training.records import JobFacts, record
from training.registry import ChampionRef, Registry
from training.tracking import JobRun, Tracker
from training.tuning import StudyRequest, Tuned, tune

__all__ = ["Promotion", "TrainRequest", "TrainResult", "metrics_of", "promote", "train"]

Progress = Callable[[str, int, int], None]


def _silent(_stage: str, _done: int, _total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class TrainRequest:
    """What to train, for whom, on which history; `tags` carry lineage (keyset, policy, code version)."""

    task: Task
    principal: object
    service: str
    dataset: str
    first_event: datetime
    as_of: datetime
    trials: int = 20
    seed: int = 7
    promote: bool = True
    thresholds: GateThresholds = field(default_factory=GateThresholds)
    tags: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = _silent


@dataclass(frozen=True)
class TrainResult:
    """What came of a job; `metrics` and `verdicts` belong to the candidate of `design` in `tested_version`.

    `outcome` is `promoted`, `challenger` (waiting for promotion), `incumbent_kept` or `baseline`. `version` is what
    serves or waits because of this job: a refit on all closed windows, or the candidate itself if it failed.
    `notes` say which setting was chosen, what each version made is, and whether the former champion was lost.
    `champion_metrics` are those of the champion's design, of whichever run tested it (empty: there is none).
    """

    target: str
    outcome: str
    message: str
    notes: tuple[str, ...]
    version: int
    tested_version: int
    design: str
    champion: ChampionRef | None
    champion_metrics: Mapping[str, float]
    metrics: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    verdicts: tuple[Verdict, ...]
    plan: CutoffPlan
    run_id: str
    digest: str
    seconds: float


@dataclass(frozen=True)
class Promotion:
    """What `promote` did: the champion now, and whether it changed."""

    champion: ChampionRef
    changed: bool
    verdicts: tuple[Verdict, ...]


def train(
    request: TrainRequest, gateway: TrainingGateway, tracker: Tracker, registry: Registry, study_url: str
) -> TrainResult:
    """Run one job and leave the registry with a champion, if at all possible a better one.

    With `request.promote` off, no alias but `challenger` moves: what would serve waits for `promote`.

    Raises:
        BadInput: the history or the population can't carry a model; says what is needed.
        EnvironmentFailed: a store failed; the champion is untouched.
    """
    started = time.monotonic()
    task, say = request.task, request.progress
    say("features", 0, 1)
    plan = plan_cutoffs(task, request.first_event, request.as_of)
    data = fetch(gateway, request.principal, request.service, task, plan)
    say("features", 1, 1)
    lineage = _lineage(request, data)
    name = f"as of {request.as_of:%Y-%m-%d}, seed {request.seed}, {request.trials} trials"
    with tracker.run(task.target, name, lineage) as run:
        tested = _test(request, plan, data, study_url)
        say("logging", 0, 1)
        facts = JobFacts(task, request.dataset, request.service, f"{request.as_of:%Y-%m-%d}", request.trials, lineage)
        record(run, facts, plan, data, tested)
        say("logging", 1, 1)
        say("registering", 0, 1)
        made = _register(run, request, registry, plan, data, tested)
        champion = registry.champion(task.target)
        told = message(made.outcome, tested.candidate.model.name, tested.verdicts, champion)
        notes = (tested.setting, *data.notes, version_note(task.target, made, tested), *made.lost)
        run.describe({"outcome": made.outcome}, "\n\n".join((told, *notes)))
        say("registering", 1, 1)
        return TrainResult(
            target=task.target,
            outcome=made.outcome,
            message=told,
            notes=notes,
            version=made.version,
            tested_version=made.tested,
            design=tested.candidate.model.name,
            champion=champion,
            champion_metrics=metrics_of(registry, champion),
            metrics=tested.metrics,
            baselines=tested.baselines,
            verdicts=tested.verdicts,
            plan=plan,
            run_id=run.run_id,
            digest=data.train.digest,
            seconds=time.monotonic() - started,
        )


def promote(target: str, registry: Registry, thresholds: GateThresholds | None = None) -> Promotion:
    """Judge the waiting challenger again and make it champion.

    Without one, the champion stays, which is fine: asking twice is not an error. A baseline that waits because
    nothing serves yet is not judged: the gates are made of it.

    Raises:
        CheckFailed: a gate says no; names each that does.
        BadInput: nothing was trained yet.
        EnvironmentFailed: the files of the version that would serve are gone.
    """
    waiting, champion = registry.challenger(target), registry.champion(target)
    if waiting is None:
        if champion is None:
            raise BadInput(f"there is no model of {target} to promote", remedy=f"custos train {target}")
        registry.load(champion)
        return Promotion(champion, False, ())
    registry.load(waiting)
    if waiting.tags.get("gates") == BASELINE and _incumbent(registry, target)[0] is None:
        registry.crown(target, waiting.version)
        return Promotion(waiting, True, ())
    told = registry.evaluation(waiting)
    verdicts = judge(target, told["metrics"], told["baselines"], thresholds)
    if not gates.passed(verdicts):
        failed = "; ".join(verdict.text() for verdict in verdicts if not verdict.passed)
        what = f"{target} version {waiting.version} is not promoted: {failed}"
        raise CheckFailed(what, remedy="train on more history, or look at the run in MLflow")
    registry.crown(target, waiting.version)
    return Promotion(waiting, True, verdicts)


def _test(request: TrainRequest, plan: CutoffPlan, data: Snapshots, study_url: str) -> Tested:
    """Fit on the training cut-offs, tune inside them, and measure everything on the test windows."""
    target, say = request.task.target, request.progress
    say("baselines", 0, 1)
    bench = Bench(target, data.train, data.purchases_train, plan.train[-1], plan.horizon_days)
    models = bench.baselines()
    baselines = {name: _measure(target, data, model) for name, model in models.items()}
    say("baselines", 1, 1)
    say("tuning", 0, request.trials)
    study = StudyRequest(target, data.train.digest, study_url, request.trials, request.seed)
    tuned = tune(bench.folds, study, lambda done, total: say("tuning", done, total))
    say("fitting", 0, 1)
    candidates, setting = _candidates(request, data, bench, tuned)
    say("fitting", 1, 1)
    found: list[Tested] = []
    for candidate in candidates:
        rivals = [other for other in candidates if other is not candidate]
        others = baselines | {rival.model.name: _measure(target, data, rival.model) for rival in rivals}
        metrics = _measure(target, data, candidate.model)
        verdicts = judge(target, metrics, others, request.thresholds)
        fallback: dict[str, CustomerModel] = models | {rival.model.name: rival.model for rival in rivals}
        found.append(Tested(candidate, metrics, fallback, others, verdicts, tuned, setting))
        if gates.passed(verdicts):
            return found[-1]
    return found[0]


def _candidates(request: TrainRequest, data: Snapshots, bench: Bench, tuned: Tuned) -> tuple[list[Candidate], str]:
    """The boosted design, at the tuned setting only if that beats the default out of time; then its rival.

    With them, how the setting was chosen.
    """
    target = request.task.target
    with ThreadPoolExecutor(max_workers=2) as threads:
        # Each fit is single-threaded and independent, so two at a time change nothing but the wait.
        default = threads.submit(bench.boosted, tuned.default, tuned.default_rounds, request.seed)
        best = threads.submit(bench.boosted, tuned.best, tuned.best_rounds, request.seed, "tuned")
        chosen, other = default.result(), best.result()
    by_default, by_best = (_measure(target, data, candidate.model) for candidate in (chosen, other))
    if gates.beats(target, by_best, by_default):
        chosen = other
    note = setting_note(target, tuned, chosen.setting, by_default, by_best)
    rival = bench.challenger()
    return ([chosen] if rival is None else [chosen, rival]), note


def _measure(target: str, data: Snapshots, model: CustomerModel) -> dict[str, float]:
    return evaluate(target, data.test.label, model.predict(data.test.frame))


def _register(
    run: JobRun, request: TrainRequest, registry: Registry, plan: CutoffPlan, data: Snapshots, tested: Tested
) -> Made:
    """Register what was tested and, if it may serve, its refit, complete before any alias points at it."""
    target = request.task.target
    passed = gates.passed(tested.verdicts)
    state = "passed" if passed else "failed"
    incumbent, lost = _incumbent(registry, target)
    candidate = _version(run, registry, tested.candidate.model, {"stage": "candidate", "gates": state})
    if passed:
        refit = _bench(request, plan, data).again(tested.candidate, request.seed)
        version = _version(run, registry, refit, {"stage": "refit", "gates": state, "refit_of": str(candidate)})
        if not request.promote:
            registry.challenge(target, version)
            return Made(candidate, candidate, version, CHALLENGER, lost)
        registry.drop_challenger(target)
        registry.crown(target, version)
        return Made(candidate, candidate, version, PROMOTED, lost)
    registry.challenge(target, candidate)
    if incumbent is not None:
        return Made(candidate, candidate, candidate, KEPT)
    name = best_baseline(target, tested.baselines)
    first = _version(run, registry, tested.models[name], {"stage": "baseline", "gates": BASELINE})
    served = _bench(request, plan, data).named(name)
    version = _version(run, registry, served, {"stage": "refit", "gates": BASELINE, "refit_of": str(first)})
    if not request.promote:
        registry.challenge(target, version)
        return Made(candidate, first, version, CHALLENGER, lost)
    registry.crown(target, version)
    return Made(candidate, first, version, BASELINE, lost)


def _incumbent(registry: Registry, target: str) -> tuple[ChampionRef | None, tuple[str, ...]]:
    """Return the champion; one whose model no longer loads is none, and the note says why."""
    champion = registry.champion(target)
    if champion is None:
        return None, ()
    try:
        registry.load(champion)
    except (BadInput, EnvironmentFailed) as error:
        return None, (f"former champion: version {champion.version} no longer counts, as {error.what}",)
    return champion, ()


def metrics_of(registry: Registry, champion: ChampionRef | None) -> Mapping[str, float]:
    """Return the champion's metrics, none where there is no champion or its run is gone."""
    if champion is None:
        return {}
    try:
        return registry.champion_metrics(champion)
    except (CheckFailed, EnvironmentFailed):
        # An incumbent whose run somebody deleted still serves; this job is done and must not fail for it.
        return {}


def _bench(request: TrainRequest, plan: CutoffPlan, data: Snapshots) -> Bench:
    return Bench(request.task.target, data.closed, data.purchases_closed, plan.closed[-1], plan.horizon_days)


def _version(run: JobRun, registry: Registry, model: CustomerModel, tags: Mapping[str, str]) -> int:
    try_out(model)  # what the service would refuse must not become champion
    uri = run.model(f"{model.name}-{tags['stage']}", model)
    note = f"{model.name} ({tags['stage']}), gates: {tags['gates']}."
    return registry.register(model.target, uri, run.run_id, {"design": model.name, **tags}, note)


def _lineage(request: TrainRequest, data: Snapshots) -> dict[str, str]:
    return {
        "code.version": version("custos"),
        "dataset": request.dataset,
        "dataset.digest": data.train.digest,
        "feature_service": request.service,
        "seed": str(request.seed),
        "stage": "training",
        "as_of": f"{request.as_of:%Y-%m-%d}",
        **request.tags,
    }
