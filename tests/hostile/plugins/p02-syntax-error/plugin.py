import btplug

class Plugin(:
