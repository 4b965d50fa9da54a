"""The process a confined plugin runs in, and the order it is given."""
