import btplug
import builtins
import json
import signal
import sys

json.dumps = json.loads = lambda *args, **more: "patched"
builtins.print = builtins.len = lambda *args, **more: 7
signal.signal = lambda *args: None
json.JSONDecoder = json.JSONEncoder = None
sys.modules["btplug.errors"] = sys.modules["json"] = None


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        assert len("four") == 7
        self.context.logger.warning("so far")
        with self.context.status("looking"):
            yield {"a": "fine"}

    def shutdown(self):
        print("was shut down")
