"""Run by anjana's own interpreter: k, l and t of the released table asked for, as pycanon counts them."""

import json
import sys

import pandas as pd
from pycanon import anonymity
from pycanon.anonymity.utils import aux_anonymity

question = json.load(sys.stdin)
frame = pd.DataFrame(question["columns"])
names = question["quasi_identifiers"]
answer = {"k": int(anonymity.k_anonymity(frame, names)), "classes": len(aux_anonymity.get_equiv_class(frame, names))}
for hidden in question["sensitive"]:
    answer[hidden] = {
        "l": int(anonymity.l_diversity(frame, names, [hidden])),
        "entropy_l": int(anonymity.entropy_l_diversity(frame, names, [hidden])),
        "t": float(anonymity.t_closeness(frame, names, [hidden])),
    }
print(json.dumps(answer))
