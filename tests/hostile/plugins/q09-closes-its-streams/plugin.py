import btplug
import sys


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        sys.stdout.close()
        sys.stderr.close()
        sys.stdin.close()
        return "fine"

    def shutdown(self):
        pass
