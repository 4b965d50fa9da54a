"""``python -m btplug``."""

from btplug.cli.app import console

if __name__ == "__main__":
    console()
