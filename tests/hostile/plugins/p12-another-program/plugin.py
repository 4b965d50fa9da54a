import btplug
import subprocess


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        subprocess.run(["sleep", "600"])

    def shutdown(self):
        print("was shut down")
