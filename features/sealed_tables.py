"""Arrow tables about people in sealed files below one directory, each bound to its place, erased by person."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.ciphers import Sealer
from privacy.durable import locked, read_bytes, write_beside
from privacy.errors import CheckFailed, EnvironmentFailed
from privacy.rights import Subject

from .private_files import make_private

__all__ = ["SUFFIX", "SealedTables"]

SUFFIX: Final = ".sealed"
RESTORE: Final = "restore it, or run `custos run` on the source again, which writes it anew"


class SealedTables(ABC):
    """What the quarantine and the inference flags share; a subclass says whose a row is, and makes a SubjectStore."""

    name: ClassVar[str]
    """What a receipt calls this store."""
    bound_to: ClassVar[str]
    """What each ciphertext is bound to, before the file's place below the root."""
    keeps_empty: ClassVar[bool] = False
    """Whether a file stays when its last row is erased."""

    def __init__(self, root: Path, sealer: Sealer) -> None:
        self._root, self._sealer = root, sealer

    @abstractmethod
    def _of(self, rows: pa.Table, subject: Subject) -> pa.ChunkedArray:
        """Return a boolean per row: whether it is about the person."""

    @abstractmethod
    def _told(self, name: str, rows: pa.Table) -> list[dict[str, object]]:
        """Return rows of the file `name` (without its suffix) as an access request tells them."""

    def count(self, subject: Subject) -> int:
        """Count the person's rows."""
        return sum(pc.sum(self._of(rows, subject)).as_py() or 0 for _, rows in self._files())

    def export(self, subject: Subject) -> list[dict[str, object]]:
        """List the person's rows."""
        return [
            told
            for path, rows in self._files()
            for told in self._told(path.name.removesuffix(SUFFIX), rows.filter(self._of(rows, subject)))
        ]

    def erase(self, subject: Subject) -> int:
        """Take the person's rows out of every file; return how many went."""
        gone = 0
        if not self._root.exists():
            return gone
        with self._writing():
            for path, rows in self._files():
                mine = self._of(rows, subject)
                found = pc.sum(mine).as_py() or 0
                gone += found
                if found == rows.num_rows and not self.keeps_empty:
                    path.unlink()
                elif found:
                    self._write(path, rows.filter(pc.invert(mine)))
        return gone

    def verify(self, subject: Subject) -> int:
        """Count what remains of the person."""
        return self.count(subject)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Let nobody else write meanwhile, and remove what killed writers left beside the files."""
        make_private(self._root)
        with locked(self._root / ".lock"):
            for stale in self._root.rglob(".*.tmp"):
                stale.unlink(missing_ok=True)
            yield

    def _write(self, path: Path, rows: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        write_beside(path, self._sealer.seal(sink.getvalue().to_pybytes(), self._context(path)))

    def _read(self, path: Path) -> pa.Table | None:
        """Return what a file holds, None if there is none; EnvironmentFailed where it is damaged."""
        sealed = read_bytes(path, f"a file of the {self.name}")
        if sealed is None:
            return None
        try:
            return pa.ipc.open_stream(self._sealer.open(sealed, self._context(path))).read_all()
        except (CheckFailed, pa.ArrowException, OSError):
            what = f"a file of the {self.name} is damaged"
            raise EnvironmentFailed(what, where=str(path), remedy=RESTORE) from None

    def _files(self) -> Iterator[tuple[Path, pa.Table]]:
        for path in sorted(self._root.rglob(f"*{SUFFIX}")):
            rows = self._read(path)
            if rows is not None:
                yield path, rows

    def _context(self, path: Path) -> bytes:
        return f"{self.bound_to}/{path.relative_to(self._root).as_posix()}".encode()
