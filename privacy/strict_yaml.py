"""Safe YAML in which a key may not be given twice: YAML itself lets the last one win, in silence."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, Final

import yaml

__all__ = ["UnreadableYaml", "read_document"]

_TWICE: Final = "found a key twice"
_WORD: Final = re.compile(r"[\w.-]{1,60}")


class UnreadableYaml(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """A text that can't be read; `why` quotes no value of it, `line` counts from 1 and is 0 where it isn't known."""

    def __init__(self, why: str, line: int) -> None:
        self.why, self.line = why, line
        super().__init__(why, line)


class _OneOfEachKey(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "found a key that is no word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(_named(key.value), None, _TWICE, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _named(key: str) -> str:
    return f"the key {key}" if _WORD.fullmatch(key) else "a key"


def read_document(data: bytes) -> tuple[object, yaml.Node | None]:
    """The one document in `data`, and its node, which knows the line of every key.

    Raises UnreadableYaml for all that the parser can't take: bad syntax or encoding, a key given twice, a date
    that doesn't exist, nesting too deep to be meant.

    >>> read_document(b"a: [1, 2]")[0]
    {'a': [1, 2]}
    """
    try:
        loader = _OneOfEachKey(data)
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = f"has {error.context} twice" if error.problem == _TWICE and error.context else "can't be read as YAML"
        raise UnreadableYaml(why, mark.line + 1 if mark else 0) from None
    # The rest is what PyYAML's own constructors stumble over, such as `!!bool x`.
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
        raise UnreadableYaml("can't be read as YAML", 0) from None
