"""``btplug`` and ``python -P -m btplug``.

Without ``-P`` Python imports from the working directory first: a clone's click.py runs.
"""

from __future__ import annotations

import gc
import os


def main() -> None:
    """Run the command line; Ctrl-C while it is still imported ends it quietly."""
    # Nothing of what is imported is garbage: to look for some takes 4 ms of 50, and 7
    # with HTTP. `Host.collect_garbage` takes it up again, before a plugin is loaded.
    gc.disable()
    try:
        from btplug.cli.app import console

        console()
    except KeyboardInterrupt:
        os._exit(130)


if __name__ == "__main__":
    main()
