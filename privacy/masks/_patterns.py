"""One pass of a regular expression that both tests a value's form and masks it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from privacy.masks._base import fitting

__all__ = ["replaced"]


def replaced(text: pa.StringArray, pattern: str, kept: str) -> pa.Array:
    """`kept` of the texts that `pattern` (RE2, anchored at both ends) describes; the others redacted.

    A text that the replacement left as it was either didn't match or looks masked already: only those are matched
    once more.

    >>> replaced(pa.array(["a-b", "ab", "a-*"]), "^([a-z])-.$", r"\\1-*").to_pylist()
    ['a-*', '***', 'a-*']
    """
    masked = pc.replace_substring_regex(text, pattern, kept)
    same = pc.equal(masked, text)
    if not same.true_count:
        return masked
    fits = pc.fill_null(pc.match_substring_regex(masked.filter(pc.fill_null(same, False)), pattern), False)
    if fits.true_count:
        return fitting(masked, pc.replace_with_mask(pc.invert(same), pc.fill_null(same, False), fits), text)
    return fitting(masked, pc.invert(same), text)
