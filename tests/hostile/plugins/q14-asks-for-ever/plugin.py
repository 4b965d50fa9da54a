import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        while True:
            try:
                self.context.ask("Who?")
            except btplug.UsageError:
                continue

    def shutdown(self):
        print("was shut down")
