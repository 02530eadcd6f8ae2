"""Transforms on Spark: the same expressions, on a session that encrypts what it spills and leaves nothing behind.

Nothing here imports Spark before a connection is opened.
"""

from __future__ import annotations

import atexit
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pyarrow as pa

from privacy.errors import EnvironmentFailed

from .damage import EngineFailed

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.pyspark import Backend
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["FIXED", "Spark", "SparkConnection"]

LEAST_JAVA: Final = 17
FIXED: Final[Mapping[str, str]] = {
    # Shuffle, spill and cached blocks are encrypted on disk, and what the driver hands over never touches it.
    "spark.io.encryption.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.catalogImplementation": "in-memory",
    # An executor's message may quote the row that it failed at.
    "spark.executor.syncLogLevel.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.eventLog.enabled": "false",
}
"""What settings can't change: nobody reads a person's row in Spark's files, pages or logs."""
DEFAULTS: Final[Mapping[str, str]] = {
    "spark.driver.memory": "2g",
    "spark.sql.autoBroadcastJoinThreshold": "64m",
    # What was frozen is freed when the driver collects its garbage.
    "spark.cleaner.periodicGC.interval": "5min",
}
LOCAL: Final[Mapping[str, str]] = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
}
"""Of a session within this machine: no port is open to others, and a shop isn't parted more than it has cores."""
LOGGERS: Final = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")
"""PySpark's own, which write whole messages of failed statements to standard error."""
CLUSTER: Final[Mapping[str, str]] = {"spark.authenticate": "true", "spark.network.crypto.enabled": "true"}
"""Of a session whose executors are elsewhere: rows, and the key of what is spilled, travel encrypted."""
SILENT: Final = """rootLogger.level = off
rootLogger.appenderRef.nowhere.ref = nowhere
appender.nowhere.type = Null
appender.nowhere.name = nowhere
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = off
"""


@dataclass(frozen=True)
class Spark:
    """Spark at `master`, with more settings of Spark's own in `conf`; `java` is the program that runs it.

    The process has one session, started with the first connection and stopped at its end. One that runs already is
    used, if it encrypts what it writes.
    """

    name: ClassVar[str] = "spark"
    master: str = "local[*]"
    conf: Mapping[str, str] = field(default_factory=dict)
    java: str = "java"

    @contextmanager
    def connect(self) -> Iterator[SparkConnection]:
        """Open a session of its own names and tables; EnvironmentFailed where Spark isn't there or fails."""
        session = self.session().newSession()
        import ibis
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        try:
            connection = SparkConnection(ibis.pyspark.connect(session), session)
            try:
                yield connection
            finally:
                connection.forget()
        except (PySparkException, Py4JError, ConnectionError) as error:
            raise EngineFailed(f"Spark failed: {_kind(error)}", where=self.master, remedy=_REMEDY) from None

    def session(self) -> SparkSession:
        """Return the process's session, started now if there is none."""
        try:
            from py4j.protocol import Py4JError
            from pyspark.errors import PySparkException
            from pyspark.sql import SparkSession
        except ImportError:
            raise EnvironmentFailed("Spark isn't installed", remedy="pip install custos[spark]") from None
        session = SparkSession.getActiveSession()
        if session is None:
            self._require_java()
            scratch = Path(tempfile.mkdtemp(prefix="custos-spark-"))
            atexit.register(shutil.rmtree, scratch, ignore_errors=True)
            try:
                session = self._started(SparkSession.builder, scratch)
            except (PySparkException, Py4JError) as error:
                what = f"Spark didn't start: {_kind(error)}"
                raise EnvironmentFailed(what, where=self.master, remedy=_REMEDY) from None
            atexit.register(session.stop)
        if session.sparkContext.getConf().get("spark.io.encryption.enabled") != "true":
            what, remedy = "the Spark session of this process doesn't encrypt its files", "stop it first"
            raise EnvironmentFailed(what, where=str(session.sparkContext.master), remedy=remedy)
        return session

    def settings(self, folder: Path) -> dict[str, str]:
        """Return all settings of a session that may write into a `folder` of this machine."""
        place = LOCAL if self.master.startswith("local") else CLUSTER
        own = {"spark.master": self.master, "spark.sql.warehouse.dir": (folder / "warehouse").as_uri()}
        return {**own, **DEFAULTS, **place, **self.conf, **FIXED}

    def offline_store(self, folder: Path) -> Mapping[str, Any]:
        """Return how Feast's own offline store is configured: it takes the process's session, or starts its like."""
        return {"type": "spark", "spark_conf": self.settings(folder)}

    def _started(self, builder: Any, scratch: Path) -> SparkSession:
        logs = scratch / "log4j2.properties"
        logs.write_text(SILENT)
        java = f"{self.conf.get(_JAVA_OPTIONS, '')} -Dlog4j2.configurationFile={logs.as_uri()}".strip()
        builder = builder.appName("custos").config("spark.local.dir", str(scratch))
        for key, value in {**self.settings(scratch), _JAVA_OPTIONS: java}.items():
            builder = builder.config(key, value)
        session: SparkSession = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")  # the executors' too
        for quoting in LOGGERS:
            logging.getLogger(quoting).disabled = True
        # Where executors run Python, they run this one: another may lack what the driver has.
        session.sparkContext.pythonExec = self.conf.get("spark.pyspark.python", sys.executable)
        return session

    def _require_java(self) -> None:
        program, remedy = shutil.which(self.java), f"install Java {LEAST_JAVA}, or set JAVA_HOME to it"
        if program is None:
            raise EnvironmentFailed(f"Spark needs Java {LEAST_JAVA}, and there is none", where=self.java, remedy=remedy)
        told = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
        version = re.search(r'version "(?:1\.)?(\d+)', told)
        if version is None or int(version[1]) < LEAST_JAVA:
            found = f"Java {version[1]}" if version else "another program"
            raise EnvironmentFailed(f"Spark needs Java {LEAST_JAVA}, this is {found}", where=program, remedy=remedy)


class SparkConnection:
    """A `Connection` to a Spark session; `spark` is the session, with names of its own."""

    def __init__(self, backend: Backend, session: SparkSession) -> None:
        self.backend, self.spark = backend, session
        self._names: set[str] = set()

    def read_parquet(self, files: Sequence[Path], name: str) -> ir.Table:
        """Return the files as a view; executors read them, each at the same path as here."""
        reader = self.spark.read.option("mergeSchema", "true")
        return self._named(reader.parquet(*(f"file://{file}" for file in files)), name)

    def place(self, table: pa.Table, name: str) -> ir.Table:
        """Return an Arrow table, handed to the executors in encrypted pieces."""
        return self._named(self.spark.createDataFrame(table), name)

    def freeze(self, expression: ir.Table, name: str) -> ir.Table:
        """Compute `expression` once, into the executors' memory and their encrypted disks.

        A cached table would stand a lost executor, but every later statement would be planned with all that led to it.
        """
        return self._named(self._frame(expression).localCheckpoint(), name)

    def read(self, expression: ir.Table) -> pa.Table:
        """Return the result of `expression`, which the driver's memory must hold."""
        # Ibis's own way leads through pandas, where a null makes doubles of integers; and it takes Spark's moments,
        # which are in the session's zone, for ones without a zone.
        told = expression.schema().to_pyarrow()
        moments = {field.name: pa.timestamp("us", "UTC") for field in told if pa.types.is_timestamp(field.type)}
        schema = pa.schema([(field.name, moments.get(field.name, field.type)) for field in told])
        return self._frame(expression).toArrow().cast(schema)

    def stream(self, expression: ir.Table, rows: int) -> Iterable[pa.RecordBatch]:
        """Return the result in batches; all of it comes to the driver first."""
        return self.read(expression).to_batches(max_chunksize=rows)

    def forget(self) -> None:
        """Drop every table; Spark frees the rows of those that were frozen."""
        for name in self._names:
            self.spark.catalog.dropTempView(name)

    def _frame(self, expression: ir.Table) -> DataFrame:
        return self.spark.sql(self.backend.compile(expression))

    def _named(self, frame: DataFrame, name: str) -> ir.Table:
        frame.createOrReplaceTempView(name)
        self._names.add(name)
        return self.backend.table(name)


_JAVA_OPTIONS: Final = "spark.driver.extraJavaOptions"
_REMEDY: Final = "see docs/scale.md on what Spark needs; `engine: duckdb` needs none of it"


def _kind(error: Exception) -> str:
    """Say what kind of failure it is: a message of Spark's may quote the row that it failed at."""
    from py4j.protocol import Py4JError

    condition, java = getattr(error, "getCondition", lambda: None)(), getattr(error, "java_exception", None)
    if java is not None:
        with suppress(Py4JError):  # not every error of Java's has a condition
            condition = condition or java.getCondition()
    return condition or (type(error).__name__ if java is None else java.getClass().getSimpleName())
