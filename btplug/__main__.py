"""``btplug`` and ``python -m btplug``."""

from __future__ import annotations

import os


def main() -> None:
    """Run the command line; Ctrl-C while it is still imported ends it quietly."""
    try:
        from btplug.cli.app import console

        console()
    except KeyboardInterrupt:
        os._exit(130)


if __name__ == "__main__":
    main()
