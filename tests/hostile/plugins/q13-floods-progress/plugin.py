import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        for _ in self.context.progress(range(10**6), label="x"):
            pass
        return "fine"

    def shutdown(self):
        print("was shut down")
