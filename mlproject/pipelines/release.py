"""Attacks on a table that somebody means to release, read from their own files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from privacy.errors import BadInput, EnvironmentFailed
from privacy.risk import ReleaseRisk, attack_release

if TYPE_CHECKING:
    import pyarrow as pa

    from mlproject.wiring import House
    from privacy.attacks import Effort

__all__ = ["attack_files", "release_lines"]

RESOURCE: Final = "dataset:released"


def attack_files(house: House, files: tuple[Path, Path, Path], secrets: Sequence[str], how: Effort) -> ReleaseRisk:
    """Attack a table given as parquet: `files` are the original people, what is released of them, and the control.

    Audited where the home has keys; none is needed.
    """
    decision = house.permit("attack", RESOURCE)
    original, released, control = map(_table, files)
    found = attack_release(original, released, control, secrets=secrets or None, how=how)
    if house.paths.service_keyring.exists():
        worst = {"worst": found.worst.name, "risk": found.worst.risk.to_dict()}
        house.note(decision, "attack", RESOURCE, count=original.num_rows, detail=worst)
    return found


def release_lines(found: ReleaseRisk) -> Iterator[str]:
    """Yield a line an attack, then the one that counts."""
    yield f"  {'attack':<34}{'risk':>24}{'success':>10}{'control':>10}{'baseline':>10}"
    for attack in found.attacks:
        rates = "".join(f"{rate.value:>10.3f}" for rate in (attack.success, attack.control, attack.baseline))
        yield f"  {attack.name:<34}{attack.risk.text():>24}{rates}"
    worst = found.worst
    yield f"As risky as its worst: {worst.name}, up to {worst.risk.high:.3f} at {worst.success.level:.0%} confidence."


def _table(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except pa.ArrowException:
        raise BadInput("this is no parquet file that can be read", where=str(path)) from None
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise EnvironmentFailed(f"cannot read: {reason}", where=str(path)) from None
