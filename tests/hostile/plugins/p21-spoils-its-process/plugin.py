import btplug
import inspect
import locale
import os
import sys
import warnings


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        os.chdir("/")
        os.umask(0o777)
        os.environ.clear()
        locale.setlocale(locale.LC_ALL, "C")
        warnings.simplefilter("error")
        sys.setrecursionlimit(len(inspect.stack()) + 60)
        return [{"a": 1}]

    def shutdown(self):
        print("was shut down")
