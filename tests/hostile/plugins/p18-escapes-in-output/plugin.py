import btplug
import os

EVIL = "\x1b]0;EVIL\x07\x1b[31mEVIL\x9b31mEVIL\u202eEVIL\rEVIL"


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        print(EVIL)
        os.write(1, EVIL.encode())
        os.write(2, EVIL.encode())
        self.context.logger.error(EVIL)
        with self.context.status(EVIL):
            pass
        for _ in self.context.progress([1], label=EVIL):
            pass
        yield {EVIL: EVIL}
        yield EVIL + "\n"
        yield EVIL.encode()

    def shutdown(self):
        print("was shut down")
