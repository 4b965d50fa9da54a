import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        class Odd(Exception):
            def __str__(self):
                raise ValueError("no text")

            __repr__ = __str__

        raise Odd

    def shutdown(self):
        print("was shut down")
