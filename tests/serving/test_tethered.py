"""A server doesn't outlive whoever started it, however that one ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from serving.tethered import tethered

PARENT = """
import subprocess, sys
from serving.tethered import tethered
child = subprocess.Popen(tethered("timeit", "-n", "1", "-r", "1", "import time; print(1, flush=True); time.sleep(600)"))
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"1\n"  # the child runs its module's program
        os.kill(parent.pid, signal.SIGKILL)
        # Both held the other end of the pipe: it closes when the last of them is gone.
        assert select.select([parent.stdout], [], [], 60) == ([parent.stdout], [], [])
        assert parent.stdout.read() == b""


def test_a_child_whose_parent_is_gone_already_does_not_begin() -> None:
    command = tethered("timeit", "print('began')")
    command[3] = "1"  # a parent that it doesn't have
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
