import btplug
import not_installed.at_all


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        return "fine"

    def shutdown(self):
        print("was shut down")
