"""The tokens that a caller sends: all of the caller's own purpose and unchanged, or none of them is looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from privacy.classification import Purpose
from privacy.tokens import valid_tokens

from .errors import TokensRefused

__all__ = ["require_own"]


def require_own(tokens: Sequence[str], purpose: Purpose | None) -> None:
    """Raise TokensRefused, with the positions, where some tokens are mistyped or another purpose's."""
    own, distinct = str(purpose), list(dict.fromkeys(tokens))
    good = valid_tokens(pa.array(distinct, pa.string()), own)
    if good.all():
        return
    bad = {token for token, fits in zip(distinct, good.tolist(), strict=True) if not fits}
    refused = list(bad)
    elsewhere = np.zeros(len(refused), dtype=bool)
    for other in Purpose:
        if other != own:
            elsewhere |= valid_tokens(pa.array(refused, pa.string()), other.value)
    foreign = {token for token, is_other in zip(refused, elsewhere.tolist(), strict=True) if is_other}
    positions = [(at, token in foreign) for at, token in enumerate(tokens) if token in bad]
    raise TokensRefused(
        [at for at, is_other in positions if not is_other], [at for at, is_other in positions if is_other], len(tokens)
    )
