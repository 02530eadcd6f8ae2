"""What must not be inferred of people: proposals for a descriptor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["propose_marks", "proposed_yaml"]


def propose_marks(dataset: str) -> dict[str, dict[str, list[str]]]:
    """Return what the word lists would mark in a dataset: attribute -> `table.column` -> values of the data."""
    from features.datasets.descriptor import load_descriptor
    from features.marking import propose

    return propose(load_descriptor(dataset))


def proposed_yaml(proposed: Mapping[str, Mapping[str, list[str]]]) -> Iterator[str]:
    """Yield the block for a person to read, correct and put into the descriptor."""
    import yaml

    if not proposed:
        yield "# No value of a product or line holds a word of the lists; that doesn't mean that nothing is telling."
        return
    yield "# Proposed by word lists, not applied: take out what doesn't tell it, add what the words missed."
    yield yaml.safe_dump({"inference": dict(proposed)}, allow_unicode=True, sort_keys=False).rstrip()
