"""Which stored parquet file is damaged: looked for once something failed to read them, or by who asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from privacy.errors import EnvironmentFailed

__all__ = ["EngineFailed", "damage_told", "rows_of"]


class EngineFailed(EnvironmentFailed):
    """An engine beside this process failed: perhaps because of a damaged file, perhaps not."""


@contextmanager
def damage_told(what: str, root: Path, remedy: str, files: Callable[[], Iterable[Path]]) -> Iterator[None]:
    """Raise EnvironmentFailed, naming the file, where reading `files` fails in the block, whoever reads them.

    What the system refused for another reason, such as a full disk, passes through.
    """
    try:
        yield
    except (duckdb.Error, pa.ArrowException, ArithmeticError, OSError, EngineFailed) as error:
        for file in files():
            if how := _damage(file):
                raise EnvironmentFailed(f"a file of the {what} is {how}", where=str(file), remedy=remedy) from None
        if isinstance(error, EngineFailed) or (isinstance(error, OSError) and error.errno is not None):
            raise
        kind = type(error).__name__
        raise EnvironmentFailed(f"the {what} can't be read ({kind})", where=str(root), remedy=remedy) from None


def rows_of(file: Path) -> int:
    """Count the rows of a parquet file by reading each, a batch at a time, its pages' checksums included.

    ArrowException or OSError where it is damaged or gone.
    """
    with pq.ParquetFile(file, page_checksum_verification=True) as opened:
        return sum(batch.num_rows for batch in opened.iter_batches())


def _damage(file: Path) -> str:
    if not file.exists():
        return "gone"
    try:
        rows_of(file)
    except (pa.ArrowException, OSError):
        return "damaged"
    return ""
