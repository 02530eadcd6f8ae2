"""MLflow's tracking door: one run a job, with everything a reader needs and nothing of a person or the host.

Runs are made by the client rather than the fluent API: that one adds user name and script path as tags, and
inside `mlflow run` would look for the project's run in the home's store.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag
from mlflow.environment_variables import MLFLOW_SQLALCHEMYSTORE_POOLCLASS
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from privacy.errors import EnvironmentFailed
from training.databases import ensure_whole, reason_of

if TYPE_CHECKING:
    # Who only asks for a champion needs no plots and no models.
    from matplotlib.figure import Figure

    from training.models import CustomerModel

__all__ = ["EXPERIMENT_TABLE", "JobRun", "Tracker", "pointed_at", "store_client", "store_errors"]

_LOADER: Final = "training.models.pyfunc"
_PINNED: Final = ("lightgbm", "mlflow", "numpy", "pandas", "scikit-learn", "scipy")
_DIGITS: Final = 6
_NOTE: Final = "mlflow.note.content"
"""The tag that MLflow shows as a description."""
EXPERIMENT_TABLE: Final = "experiments"
"""MLflow adds its default experiment once every table is made: a database without any is unfinished."""
_EXPERIMENTS: Final = {
    "churn": "Will a customer who bought lately stop? One run a training job, tested on the latest windows.",
    "clv": "What will a customer spend within the horizon? One run a training job, tested on the latest window.",
}


class Tracker:
    """Where runs go: an absolute tracking URI and an absolute folder for artifacts."""

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self.tracking_uri, self._artifacts = tracking_uri, artifact_root

    @contextmanager
    def run(self, target: str, name: str, tags: Mapping[str, str]) -> Iterator[JobRun]:
        """Open the run of one job; it ends FINISHED, or FAILED when the block raises.

        One job at a time (the home's lock): runs that still stand as running were killed, and are shown as such.
        """
        with store_errors("tracking store"):
            client = store_client(self.tracking_uri)
            experiment = self._experiment(client, target)
            _bury_killed(client, experiment)
            made = client.create_run(experiment, run_name=name, tags=dict(tags))
        status = "FAILED"
        try:
            yield JobRun(client, self.tracking_uri, made.info.run_id)
            status = "FINISHED"
        finally:
            with store_errors("tracking store"):
                client.set_terminated(made.info.run_id, status)

    def link(self, project_uri: str, project_run: str, run_id: str) -> None:
        """Leave, on the run that `mlflow run` made in its own store, where the job's run is."""
        note = f"The job's run is {run_id} in the home's store; `custos mlflow` opens it."
        with store_errors("tracking store of the MLflow project"):
            client = store_client(project_uri)
            client.set_tag(project_run, "custos.run_id", run_id)
            client.set_tag(project_run, _NOTE, note)

    def amend(self, run_id: str, tags: Mapping[str, str], note: str) -> None:
        """Say on a finished run what was found out about its model since; `note` replaces its description."""
        with store_errors("tracking store"):
            client = store_client(self.tracking_uri)
            for name, value in {**tags, _NOTE: note}.items():
                client.set_tag(run_id, name, value)

    def _experiment(self, client: MlflowClient, target: str) -> str:
        found = client.get_experiment_by_name(target)
        if found is not None:
            return str(found.experiment_id)
        place = self._artifacts / target
        place.mkdir(parents=True, exist_ok=True)
        tags = {_NOTE: _EXPERIMENTS[target], "mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(target, artifact_location=place.as_uri(), tags=tags))


class JobRun:
    """An open run; every method writes at once."""

    def __init__(self, client: MlflowClient, tracking_uri: str, run_id: str) -> None:
        self._client, self._uri, self.run_id = client, tracking_uri, run_id

    def batch(
        self,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        history: Sequence[tuple[int, str, float | None]],
    ) -> None:
        """Log parameters, rounded metrics, tags and the loss of every finished trial in one call."""
        now = int(time.time() * 1000)
        points = [Metric(name, round(value, _DIGITS), now, 0) for name, value in metrics.items()]
        points += [
            Metric("trial/loss", round(loss, _DIGITS), now, step)
            for step, state, loss in history
            if state == "complete" and loss is not None
        ]
        with store_errors("tracking store"):
            self._client.log_batch(
                self.run_id,
                metrics=points,
                params=[Param(name, str(value)) for name, value in params.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )

    def describe(self, tags: Mapping[str, str], note: str) -> None:
        """Tag the run, and show `note` as its description."""
        self.batch({}, {}, {**tags, _NOTE: note}, ())

    def dataset(self, name: str, digest: str, service: str, context: str, columns: Sequence[str]) -> None:
        """Log which data was used: name, own digest of all rows, feature service and columns, but no row."""
        schema = {"mlflow_colspec": [{"type": "double", "name": column, "required": True} for column in columns]}
        made = Dataset(
            name=name,
            digest=digest[:36],
            source_type="feast",
            source=json.dumps({"feature_service": service}),
            schema=json.dumps(schema),
        )
        with store_errors("tracking store"):
            self._client.log_inputs(self.run_id, [DatasetInput(made, [InputTag("mlflow.data.context", context)])])

    def figures(self, figures: Mapping[str, Figure]) -> None:
        """Store pictures under `plots/`."""
        with store_errors("artifact store"):
            for name, figure in figures.items():
                self._client.log_figure(self.run_id, figure, f"plots/{name}")

    def text(self, name: str, text: str) -> None:
        """Store a text file."""
        with store_errors("artifact store"):
            self._client.log_text(self.run_id, text, name)

    def document(self, name: str, content: Mapping[str, object]) -> None:
        """Store a JSON file."""
        self.text(name, json.dumps(content, indent=1, sort_keys=True) + "\n")

    def model(self, name: str, model: CustomerModel) -> str:
        """Store a model as a pyfunc without pickle, code or example rows, and return its URI."""
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema

        inputs = Schema([ColSpec("double", column) for column in model.feature_names])
        signature = ModelSignature(inputs, Schema([ColSpec("double")]))
        with (
            tempfile.TemporaryDirectory() as scratch,
            store_errors("artifact store"),
            pointed_at(self._uri),
            mlflow.start_run(run_id=self.run_id, nested=True),
            warnings.catch_warnings(),
        ):
            model.save(Path(scratch) / "model")
            # MLflow asks for an input example; ours would be somebody's row.
            warnings.simplefilter("ignore", UserWarning)
            logged = mlflow.pyfunc.log_model(
                name=name,
                loader_module=_LOADER,
                data_path=str(Path(scratch) / "model"),
                signature=signature,
                pip_requirements=[f"{package}=={version(package)}" for package in _PINNED],
            )
        return str(logged.model_uri)


def store_client(tracking_uri: str) -> MlflowClient:
    """Return a client of a store; a SQLite file that isn't there, or was never finished, is made whole first."""
    for library in ("mlflow", "alembic", "sqlalchemy"):
        # On a full disk they tell it in hundreds of lines; the one line is ours.
        logging.getLogger(library).setLevel(logging.CRITICAL)
    # A pooled connection would go on reading a file that was deleted or replaced meanwhile.
    MLFLOW_SQLALCHEMYSTORE_POOLCLASS.set("NullPool")  # type: ignore[no-untyped-call]
    with store_errors("tracking store"):
        ensure_whole(tracking_uri, EXPERIMENT_TABLE, _make_store)
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _make_store(tracking_uri: str) -> None:
    # Any first call makes all the tables and an experiment "Default", where nothing of ours would ever be.
    MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri).delete_experiment("0")


def _bury_killed(client: MlflowClient, experiment: str) -> None:
    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))


@contextmanager
def pointed_at(tracking_uri: str) -> Iterator[None]:
    """Let MLflow's module-level functions, which take no address, talk to this store meanwhile."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Turn what MLflow, its database or its disk raise into one line; their texts may quote addresses or values."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        remedy = "free space or mend it as `custos doctor` says, then run the command again"
        raise EnvironmentFailed(f"the MLflow {what} failed: {reason_of(error)}", remedy=remedy) from None
