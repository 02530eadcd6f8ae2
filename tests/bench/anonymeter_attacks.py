"""anonymeter's three attacks on tables given as JSON; runs in its own environment, imports nothing of ours."""

import json
import sys
import warnings

import numpy as np
import pandas as pd
from anonymeter.evaluators import InferenceEvaluator, LinkabilityEvaluator, SinglingOutEvaluator

warnings.simplefilter("ignore")


def told(evaluator, level):
    found = evaluator.results(confidence_level=level)
    risk = found.risk()
    rates = {"success": found.attack_rate.value, "control": found.control_rate.value}
    return {"value": risk.value, "low": risk.ci[0], "high": risk.ci[1], **rates}


def main():
    asked = json.load(sys.stdin)
    level, known, secret = asked["level"], asked["known"], asked["secret"]
    original, control = pd.DataFrame(asked["original"]), pd.DataFrame(asked["control"])
    answer = {}
    for name, rows in asked["releases"].items():
        released = pd.DataFrame(rows)
        np.random.seed(asked["seed"])
        people = min(len(original), len(control))
        singling = SinglingOutEvaluator(
            original,
            released,
            n_attacks=asked["attempts"],
            n_cols=asked["columns"],
            control=control,
            max_attempts=100 * asked["attempts"],
            seed=asked["seed"],
        ).evaluate(mode="multivariate")
        linking = LinkabilityEvaluator(
            original, released, aux_cols=tuple(known), n_attacks=people, n_neighbors=1, control=control
        ).evaluate(n_jobs=1)
        others = [column for column in original.columns if column != secret]
        inferring = InferenceEvaluator(
            original, released, aux_cols=others, secret=secret, n_attacks=people, control=control
        ).evaluate(n_jobs=1)
        found = {"singling out": singling, "linkability": linking, "inference": inferring}
        answer[name] = {attack: told(evaluator, level) for attack, evaluator in found.items()}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
