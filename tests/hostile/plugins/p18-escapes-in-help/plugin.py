import btplug
import click

EVIL = "\x1b]0;EVIL\x07\x1b[31mEVIL\x9b31mEVIL\u202eEVIL\rEVIL"


class Plugin(btplug.CLIPlugin):
    __doc__ = EVIL

    def initialize(self, config):
        pass

    @click.option("--word", help=EVIL, required=True)
    def execute(self, data=None, *, word):
        pass

    def shutdown(self):
        pass
