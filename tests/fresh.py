"""Code run in a fresh interpreter, for what happens once in a process: imports, caches, threads, forks."""

import os
import subprocess
import sys
import textwrap

GUARD = 600  # seconds after which what hangs fails: no verdict on speed, so it is far more than a slow machine needs


def ran(code, **environment):
    """The finished process; a variable of the environment that is None is taken away."""
    variables = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    for name, value in environment.items():
        if value is None:
            variables.pop(name, None)
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=GUARD)


def said(code, **environment):
    """All that the code prints; it must not fail."""
    process = ran(code, **environment)
    assert process.returncode == 0, process.stderr
    return process.stdout


def printed(code, **environment):
    """The words that the code prints; it must not fail."""
    return said(code, **environment).split()
