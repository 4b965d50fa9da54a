"""What an operator does at the keyboard, for the tests of trust and loading."""

import json
import shlex

# Confined code has neither the variable nor leave to write there: it tells the host.
MARK = """
import os, sys
if "MARKS" in os.environ:
    open(os.environ["MARKS"], "a").write("ran\\n")
else:
    print("ran", file=sys.stderr)
"""
COMMAND = '''
from btplug import CLIPlugin

class Plugin(CLIPlugin):
    """Do it."""

    def initialize(self, config):
        self.config = config

    def execute(self, data=None):
        return "hello"

    def shutdown(self):
        pass
'''


def accept(btplug, *words):
    """Look at a plugin and accept it, with the command that the refusal names."""
    shown = btplug("trust", *words)
    assert shown.returncode == 6, shown.stderr
    done = btplug(*shlex.split(shown.stderr.rpartition("with: btplug ")[2]))
    assert done.returncode == 0, done.stderr
    return shown.stdout


def row_of(btplug, name):
    """Return the row of a plugin in the listing."""
    found = json.loads(btplug("list", "--json").stdout)
    return next(row for row in found if row["name"] == name)
