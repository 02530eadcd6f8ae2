"""Which files of a folder are one table, which only look alike, and which are left out, and why."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from features.checking.files import UTF_8, as_utf_8, header_is_data, written_in
from features.source_files import columns_of_file, format_of, matching, unequal
from privacy.counted import counted
from privacy.errors import BadInput

__all__ = ["Family", "Progress", "families", "passed_over", "unreadable"]

Progress = Callable[[str, int, int], None]
DESCRIPTORS: Final = frozenset({".yaml", ".yml"})
_OTHER: Final = "neither parquet nor csv; write it as one of these"
_DEEP: Final = "two folders down; move it up, or name its folder"
_LINK: Final = "a symbolic link, which may lead anywhere; name what it leads to, or copy it here"
_DEPTHS: Final = ("*", "*/*")


@dataclass(frozen=True)
class Family:
    """Files that are read as one table: `source` is a name or a glob, seen from the descriptor's folder.

    `apart` says in what a file differs from others with equal columns and alike names, so that it isn't one with them.
    """

    files: tuple[Path, ...]
    source: str
    apart: str = ""


def families(place: Path, folder: Path, progress: Progress) -> list[Family]:
    """Return what belongs together of a file, or of a folder and the folders in it: equal columns and alike names.

    Raises BadInput where there is nothing to read, or a file can't be read; nothing of a value is told.
    """
    files = [place] if place.is_file() else [path for path in _inside(place, _DEPTHS) if format_of([path]) is not None]
    if not files or format_of(files[:1]) is None:
        raise BadInput("there is nothing to read", where=str(place), remedy="give parquet or csv(.gz) files, no links")
    _require_utf_8(files, progress)
    groups: dict[tuple[object, ...], list[Path]] = {}
    with duckdb.connect(config={"temp_directory": ""}) as connection:
        for path in files:
            columns = _columns(connection, path)
            groups.setdefault((path.parent, format_of([path]), tuple(sorted(columns))), []).append(path)
        return [family for group in groups.values() for family in _alike(connection, group, folder)]


def passed_over(place: Path) -> list[tuple[str, str]]:
    """Return the files of a folder that are no part of a draft, seen from there, and why; hidden ones aren't told."""
    if place.is_file():
        return []
    other = [path for path in _inside(place, _DEPTHS) if format_of([path]) is None and path.suffix not in DESCRIPTORS]
    deep = [path for path in _inside(place, ("*/*/*",)) if format_of([path]) is not None]
    links = [path for path in _own(place, _DEPTHS) if path.is_symlink() and (path.is_dir() or format_of([path]))]
    told = [(path, _LINK) for path in links] + [(path, _OTHER) for path in other] + [(path, _DEEP) for path in deep]
    return [(path.relative_to(place).as_posix(), why) for path, why in told]


def _inside(place: Path, depths: Sequence[str]) -> Iterator[Path]:
    """Files so deep in a folder, sorted, without links."""
    return (path for path in _own(place, depths) if not path.is_symlink() and path.is_file())


def _own(place: Path, depths: Sequence[str]) -> Iterator[Path]:
    """What is so deep in a folder, sorted, but for hidden names and folders (a home, say) and what links lead to."""
    for path in sorted(path for depth in depths for path in place.glob(depth)):
        inside = path.relative_to(place)
        hidden = any(part.startswith(".") for part in inside.parts)
        if not hidden and not any((place / folder).is_symlink() for folder in inside.parents if folder.name):
            yield path


def _require_utf_8(files: Sequence[Path], progress: Progress) -> None:
    """Refuse all files at once that are in another encoding, so that whoever brings them converts them in one go."""
    other: list[tuple[Path, str]] = []
    for number, path in enumerate(files):
        progress("files opened", number, len(files))
        try:
            encoding = written_in(path) if format_of([path]) == "csv" else UTF_8
        except (OSError, EOFError, zlib.error) as error:
            raise unreadable(path, error) from None
        if encoding != UTF_8:
            other.append((path, encoding))
    if other:
        (path, encoding), *more = other
        what = f"{counted(len(other), 'file is', 'files are')} not UTF-8 but {encoding}"
        each = "; so each of them, and take the folder ../shop then" if more else ""
        raise BadInput(what, where=", ".join(path.name for path, _ in other), remedy=as_utf_8(path, encoding) + each)


def _columns(connection: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    try:
        columns = list(columns_of_file(connection, path))
    except (duckdb.Error, OSError, EOFError) as error:
        raise unreadable(path, error) from None
    if header_is_data(columns):
        what, remedy = "the file has no header: its first line looks like data", "put names of columns first"
        raise BadInput(what, where=path.name, remedy=remedy)
    return columns


def _alike(connection: duckdb.DuckDBPyConnection, group: Sequence[Path], folder: Path) -> Iterator[Family]:
    """Keep files together if one pattern means them and nothing else, and they can be read as one table."""
    pattern = _pattern(group)
    together = len(group) > 1 and pattern and matching(group[0].parent, pattern) == list(group)
    differing = unequal(connection, group) if together else []
    if together and not differing:
        yield Family(tuple(group), _seen_from(folder, group[0].parent / pattern))
        return
    for path in group:
        yield Family((path,), _seen_from(folder, path), differing[0] if differing else "")


def _pattern(files: Sequence[Path]) -> str:
    names = [file.name for file in files]
    before = _common(names).rstrip("0123456789")
    after = _common([name[::-1] for name in names])[::-1].lstrip("0123456789")
    return f"{before}*{after}" if before + after and not set("*?[") & set(before + after) else ""


def _common(names: Sequence[str]) -> str:
    """What all names begin with."""
    first, last = min(names), max(names)
    return first[: next((at for at, sign in enumerate(first) if last[at : at + 1] != sign), len(first))]


def _seen_from(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path.parent.resolve() / path.name, folder.resolve())).as_posix()


def unreadable(file: Path, error: Exception) -> BadInput:
    """Return what is told of a file that can't be read: its cause may quote a value, so the class of it."""
    what, remedy = f"the file can't be read ({type(error).__name__})", "check that it is whole and what its name says"
    return BadInput(what, where=file.name, remedy=remedy)
