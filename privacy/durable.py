"""Files that are whole or absent: write beside, sync, then rename; one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from privacy.errors import BadInput, EnvironmentFailed

__all__ = ["ReplacedFile", "expanded", "locked", "read_bytes", "write_beside"]


class ReplacedFile:
    """A file that other processes replace, read again only when it was; `what` is what an error calls it.

    >>> import tempfile
    >>> file, read = ReplacedFile(Path(tempfile.mkdtemp()) / "list", "the list"), []
    >>> file.reload(read.append), write_beside(file.path, b"one"), file.reload(read.append), file.reload(read.append)
    (False, None, True, True)
    >>> read
    [b'one']
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self._what = path, what
        self._stamp: tuple[int, int, int] | None = None

    @property
    def taken(self) -> bool:
        """Whether its bytes were ever taken."""
        return self._stamp is not None

    def reload(self, take: Callable[[bytes], object]) -> bool:
        """Give `take` the bytes unless it has taken them; False where there is no file.

        Bytes that `take` raises an error for aren't taken: it is given them again. EnvironmentFailed when they can't
        be read.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return False
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            take(read_bytes(self.path, self._what) or b"")
            self._stamp = stamp
        return True


def write_beside(path: Path, *data: bytes | memoryview, mode: int = 0o600, read_back: bool = False) -> None:
    """Put the parts of `data` at `path` so that a reader sees the old bytes or the new ones, never some of them.

    The directory is made when missing; with `read_back` the new file is read again before it takes the old one's
    place. Raises EnvironmentFailed when the disk refuses; the old file stays.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(data)
            file.flush()
            os.fsync(file.fileno())
        if read_back and temporary.read_bytes() != b"".join(data):
            raise OSError(errno.EIO, "what was written does not read back")
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or "input/output error"
        raise EnvironmentFailed(
            f"cannot write: {reason}",
            where=str(path),
            remedy="free space or mend the permissions, then rerun",
        ) from None


def read_bytes(path: Path, what: str) -> bytes | None:
    """The bytes of `path`, or None when it doesn't exist; EnvironmentFailed when it can't be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise EnvironmentFailed(f"cannot read {what}: {reason}", where=str(path)) from None


def expanded(path: Path) -> Path:
    """`path` with a leading `~` or `~user` made that user's folder; BadInput when there is no such user."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise BadInput("there is no user of this name here", where=str(path), remedy="write the path out") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the advisory lock of `path` (a file of its own, kept empty) across processes and threads."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise EnvironmentFailed(f"cannot lock: {reason}", where=str(path)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        owner = os.getpid()
        try:
            yield
        finally:
            if os.getpid() == owner:  # closing isn't enough where a fork has copied the descriptor
                fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)  # releases it too, also when the process dies


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
