import btplug
import builtins
import json
import signal
import sys

json.dumps = json.loads = lambda *args, **more: "patched"
builtins.print = builtins.len = lambda *args, **more: 7
signal.signal = lambda *args: None
sys.modules["btplug.errors"] = None


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        return "fine"

    def shutdown(self):
        print("was shut down")
