"""Real hosts on one machine: systemd-nspawn containers with systemd and sshd on a bridge of their own."""

from tests.lab.api import Lab
from tests.lab.errors import LabError
from tests.lab.layout import LabHost

__all__ = ["Lab", "LabError", "LabHost"]
