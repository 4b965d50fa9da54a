"""The command line: the only part of btplug that imports Click."""
