"""Attacks on a released table: singling out, linking and inferring the people it was made of."""

from privacy.attacks._base import USUAL, Attack, Effort
from privacy.attacks.inference import inference
from privacy.attacks.linkability import linkability
from privacy.attacks.singling_out import singling_out

__all__ = ["USUAL", "Attack", "Effort", "inference", "linkability", "singling_out"]
