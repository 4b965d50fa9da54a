import btplug
EVIL = "\x1b]0;EVIL\x07\x1b[31mEVIL\x9b31mEVIL\u202eEVIL\rEVIL"


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        raise ValueError(EVIL)

    def shutdown(self):
        print("was shut down")
