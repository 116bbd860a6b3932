"""The one exception of the lab: its text is all a person needs to read."""


class LabError(Exception):
    """Something the lab needs is missing or broke; the message names it and the remedy."""
