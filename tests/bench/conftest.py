"""Scripts that run in other people's environments are no modules of ours: nothing collects them."""

collect_ignore = ["anjana_yardstick.py", "anonymeter_attacks.py", "presidio_yardstick.py", "pycanon_measures.py"]
