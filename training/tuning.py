"""The one door to Optuna: a resumable study over regularisation, grown fold by fold in step and pruned.

A study is named after target, dataset digest and seed, so other data never resumes it. The sampler is seeded
anew for every trial with seed + finished trials: an interrupted study continues with the draws it would have made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Final

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from privacy.errors import BadInput, EnvironmentFailed
from training.databases import ensure_whole, file_of, reason_of
from training.models.boosting import FoldedBoosters, Folds, Hyperparameters

__all__ = ["StudyRequest", "Tuned", "tune"]

_MOST_ROUNDS: Final = 200
_STEP: Final = 10
_REPORT_EVERY: Final = 20
"""Rounds between looks at the held-out loss, and between reports to the pruner, which cost database round trips."""
_PATIENCE: Final = 30
_DEFAULT: Final = "default"
_ROUNDS: Final = "rounds"
_LAST_TABLE: Final = "alembic_version"
"""Optuna stamps its schema's version once every table is made."""
_SPACE_VERSION: Final = 1
"""Raise it when the search space, the default or the objective changes: older studies must not be resumed."""


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """What a study is about and where it is kept (an SQLAlchemy URL)."""

    target: str
    digest: str
    url: str
    trials: int
    seed: int

    @property
    def name(self) -> str:
        """The study's name; the same data, target and seed give the same one."""
        return f"{self.target}-{self.digest[:16]}-s{self.seed}-v{_SPACE_VERSION}"


@dataclass(frozen=True, slots=True)
class Tuned:
    """The default and the best setting, each with the rounds cross-validation found and its held-out loss."""

    default: Hyperparameters
    default_rounds: int
    default_loss: float
    best: Hyperparameters
    best_rounds: int
    best_loss: float
    history: tuple[tuple[int, str, float | None], ...]
    study: str
    resumed: bool


def tune(data: Folds, request: StudyRequest, on_trial: Callable[[int, int], None] | None = None) -> Tuned:
    """Run (or finish) a study and return its default and best settings.

    Guarantees: one worker, so equal data, seed and trials give an equal answer, however many trials the stored
    study holds beyond them; the default is trial one and is never pruned; trials left running by a killed
    process are marked failed.

    Raises:
        BadInput: fewer than one trial.
        EnvironmentFailed: the study's database can't be used.
    """
    if request.trials < 1:
        raise BadInput(f"{request.trials} trials were asked for", remedy="use at least 1")
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    for library in ("alembic", "sqlalchemy"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # what fails is told once, by the error
    default = Hyperparameters.default(data.target, len(data.label))
    try:
        study, resumed = _open(request, default)
        with closing(FoldedBoosters(data)) as boosters:
            while (done := len(_finished(study))) < request.trials:
                _one_trial(study, boosters, request.seed, done)
                if on_trial:
                    on_trial(done + 1, request.trials)
        return _summary(study, default, request.trials, resumed)
    except (SQLAlchemyError, OSError, optuna.exceptions.StorageInternalError) as error:
        remedy = "free space and run again; a damaged one may be removed, it only holds trials"
        place = str(file_of(request.url) or "")
        raise EnvironmentFailed(
            f"the study's database failed: {reason_of(error)}", where=place, remedy=remedy
        ) from None


def _open(request: StudyRequest, default: Hyperparameters) -> tuple[optuna.Study, bool]:
    ensure_whole(request.url, _LAST_TABLE, lambda url: RDBStorage(url).engine.dispose())
    study = optuna.create_study(
        study_name=request.name,
        storage=RDBStorage(request.url),
        load_if_exists=True,
        direction="minimize",
        pruner=MedianPruner(n_startup_trials=3, n_warmup_steps=_REPORT_EVERY),
    )
    for ghost in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(ghost.number, state=TrialState.FAIL)
    live = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.WAITING))
    if not any(trial.user_attrs.get(_DEFAULT) for trial in live):
        study.enqueue_trial(asdict(default), user_attrs={_DEFAULT: True})
    return study, bool(_finished(study))


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _one_trial(study: optuna.Study, boosters: FoldedBoosters, seed: int, done: int) -> None:
    study.sampler = TPESampler(seed=seed + done)
    trial = study.ask()
    loss, rounds = _grow(trial, boosters, seed)
    if loss is None:
        study.tell(trial, state=TrialState.PRUNED)
        return
    trial.set_user_attr(_ROUNDS, rounds)
    study.tell(trial, loss)


def _grow(trial: Trial, boosters: FoldedBoosters, seed: int) -> tuple[float | None, int]:
    """Boost all folds until the mean loss stops falling; None when the pruner gives up on the trial."""
    growing = boosters.start(_suggest(trial), seed)
    best, best_rounds = float("inf"), 0
    for rounds in range(_STEP, _MOST_ROUNDS + 1, _STEP):
        loss = boosters.grow(growing, _STEP)
        if loss < best:
            best, best_rounds = loss, rounds
        if rounds - best_rounds >= _PATIENCE:
            break
        if rounds % _REPORT_EVERY:
            continue
        trial.report(loss, rounds)
        if not trial.user_attrs.get(_DEFAULT) and trial.should_prune():
            return None, rounds
    return best, best_rounds


def _suggest(trial: Trial) -> Hyperparameters:
    return Hyperparameters(
        num_leaves=trial.suggest_int("num_leaves", 3, 24, log=True),
        min_data_in_leaf=trial.suggest_int("min_data_in_leaf", 5, 400, log=True),
        lambda_l2=trial.suggest_float("lambda_l2", 1.0, 300.0, log=True),
        feature_fraction=trial.suggest_float("feature_fraction", 0.15, 0.6),
        bagging_fraction=trial.suggest_float("bagging_fraction", 0.5, 1.0),
    )


def _summary(study: optuna.Study, default: Hyperparameters, trials: int, resumed: bool) -> Tuned:
    # A longer job may have gone on with the same study; what it found must not change a shorter one's answer.
    finished = sorted(_finished(study), key=lambda trial: trial.number)[:trials]
    complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
    first = next(trial for trial in complete if trial.user_attrs.get(_DEFAULT))
    best = min(complete, key=lambda trial: (trial.value, trial.number))
    history = tuple((number, trial.state.name.lower(), trial.value) for number, trial in enumerate(finished))
    return Tuned(
        default=default,
        default_rounds=int(first.user_attrs[_ROUNDS]),
        default_loss=float(first.value or 0.0),
        best=Hyperparameters(**best.params),
        best_rounds=int(best.user_attrs[_ROUNDS]),
        best_loss=float(best.value or 0.0),
        history=history,
        study=study.study_name,
        resumed=resumed,
    )
