"""Safe YAML in which a key may not be given twice: YAML itself lets the last one win, in silence."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import yaml

__all__ = ["TWICE", "OneOfEachKey"]

TWICE: Final = "found a key twice"


class OneOfEachKey(yaml.SafeLoader):
    """The safe loader, refusing a second key of the same name with ConstructorError."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping of a node."""
        seen: set[object] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, TWICE, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
