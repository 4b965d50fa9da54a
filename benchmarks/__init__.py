"""How fast btplug is, against yardsticks measured in the same run: ``make bench``."""
