"""`python -m mlproject` is the same program as `custos`."""

import sys

from mlproject.cli import main

sys.exit(main())
