"""What can be wrong with the files of a source before a row is read: absent, cut off, in another encoding, headless."""

from __future__ import annotations

import codecs
import gzip
import re
import shlex
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from features.datasets.descriptor import Descriptor
from features.datasets.tables import LOADER, Table
from features.source_files import columns_of_file, format_of, matching, unequal
from privacy.errors import BadInput
from privacy.scrubbing import scrub

from .findings import Finding, of_error

__all__ = ["as_utf_8", "header_is_data", "look_at_files", "written_in"]

BLOCK: Final = 1 << 20
PARQUET: Final = b"PAR1"
UTF_8: Final = "UTF-8"
GB_18030: Final = "probably GB 18030"
MARKS: Final = ((codecs.BOM_UTF8, UTF_8), (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))
_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9.,:/ T+-]*Z?")
_SHORT: Final = 3
_LONG: Final = 200


def look_at_files(descriptor: Descriptor, table: Table) -> tuple[list[Path] | None, list[Finding]]:
    """Return the files of `table` that can be read, None where its source is no file; and what is wrong with others."""
    if not isinstance(table.source, str) or LOADER.match(table.source):
        return None, []
    try:
        files = matching(descriptor.base_dir, table.source)
    except BadInput as error:
        return [], [of_error(error, "unreadable_glob", table.name)]
    if not files:
        what, remedy = f"no file '{table.source}'", "put it beside the descriptor, or mend the name"
        return [], [Finding(table.name, "", "error", "no_file", what, remedy)]
    if format_of(files) is None:
        what, remedy = f"can't read '{table.source}'", "give parquet, csv or csv.gz, one of them in a table"
        return [], [Finding(table.name, "", "error", "unknown_format", what, remedy)]
    with duckdb.connect(config={"temp_directory": ""}) as connection:
        found = [(file, _looked_at(connection, table.name, file)) for file in files]
        whole = [file for file, finding in found if finding is None]
        differing = unequal(connection, whole)
    findings = [finding for _, finding in found if finding is not None]
    findings += [_unequal(table.name, each) for each in differing]
    return [] if differing else whole, [*findings, *_mixed(table.name, files)]


def _looked_at(connection: duckdb.DuckDBPyConnection, table: str, file: Path) -> Finding | None:
    try:
        if file.stat().st_size == 0:
            return _broken(table, file, "is empty", "empty", "write it again, or take it away")
        if format_of([file]) == "parquet":
            with file.open("rb") as opened:
                begins = opened.read(4) == PARQUET
                opened.seek(max(0, file.stat().st_size - 4))
                ends = opened.read(4) == PARQUET
            if begins != ends:
                missing = "end" if begins else "beginning"
                return _broken(table, file, f"is cut off: its {missing} is missing", "truncated", "copy it again")
            names = columns_of_file(connection, file)
        else:
            encoding = written_in(file)
            if encoding != UTF_8:
                return _broken(table, file, f"is not UTF-8 but {encoding}", "encoding", as_utf_8(file, encoding))
            names = columns_of_file(connection, file)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return _broken(
            table, file, "is cut off or damaged: it can't be unpacked to its end", "truncated", "copy it again"
        )
    except PermissionError:
        return _broken(table, file, "may not be read", "unreadable", "mend its permissions")
    except (duckdb.Error, OSError) as error:
        return _broken(table, file, f"can't be read ({type(error).__name__})", "unreadable", "write or copy it again")
    if header_is_data(names):
        return _broken(
            table, file, "has no header: its first line looks like data", "no_header", "put names of columns first"
        )
    return None


def _broken(table: str, file: Path, what: str, code: str, remedy: str) -> Finding:
    return Finding(table, "", "error", code, f"the file '{file.name}' {what}; its rows weren't looked at", remedy)


def _unequal(table: str, what: str) -> Finding:
    remedy = "mend the files, or give each kind a table of its own"
    return Finding(table, "", "error", "unequal_columns", f"its files don't have equal columns: {what}", remedy)


def _mixed(table: str, files: Sequence[Path]) -> list[Finding]:
    """Say it once more where files of one source are written differently."""
    if len(files) < 2 or format_of(files) != "csv":
        return []
    encodings: Counter[str] = Counter()
    for file in files:
        try:
            encodings[written_in(file)] += 1
        except (EOFError, OSError, zlib.error):
            continue
    if len(encodings) < 2:
        return []
    told = ", ".join(f"{count} in {encoding}" for encoding, count in encodings.most_common())
    return [
        Finding(table, "", "error", "mixed_encodings", f"its files are written differently: {told}", "make all UTF-8")
    ]


def as_utf_8(file: Path, encoding: str) -> str:
    """Return how to write a text file that is in another encoding as UTF-8.

    >>> as_utf_8(Path("会员.csv"), GB_18030)
    "write it as UTF-8: mkdir -p ../shop; iconv -f GB18030 -t UTF-8 '会员.csv' > ../shop/'会员.csv'"
    """
    source, name = "-f GB18030 " if encoding == GB_18030 else "", shlex.quote(file.name)
    if file.suffix.lower() == ".gz":
        plain = shlex.quote(file.name[: -len(".gz")])
        return f"write it as UTF-8: mkdir -p ../shop; zcat {name} | iconv {source}-t UTF-8 > ../shop/{plain}"
    return f"write it as UTF-8: mkdir -p ../shop; iconv {source}-t UTF-8 {name} > ../shop/{name}"


def written_in(file: Path) -> str:
    """Name the encoding of a text file, looking at all of it: UTF-8, else a guess; gzip is unpacked."""
    decoders = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", "gb18030")}
    with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as stream:
        first = stream.read(BLOCK)
        for mark, name in MARKS:
            if first.startswith(mark) and name != UTF_8:
                return name
        block: bytes = first
        while decoders:
            for name, decoder in list(decoders.items()):
                try:
                    decoder.decode(block, final=not block)
                except UnicodeDecodeError:
                    del decoders[name]
            if not block:
                break
            block = stream.read(BLOCK)
    return UTF_8 if "utf-8" in decoders else GB_18030 if decoders else "another encoding"


def header_is_data(names: Iterable[str]) -> bool:
    """Say whether the names of columns look like somebody's values: then they must not be shown.

    >>> header_is_data(["customer_id", "ts"]), header_is_data(["张三", "13812345678"]), header_is_data(["a@b.org"])
    (False, True, True)
    """
    texts = [name.strip() for name in names]
    if any(not text.isprintable() or len(text) > _LONG for text in texts):
        return True
    if any(_NUMBER.fullmatch(text) and len(text) >= _SHORT for text in texts):
        return True
    return scrub(pa.array(texts, pa.string())).to_pylist() != texts
