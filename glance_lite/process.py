# SPDX-License-Identifier: Apache-2.0
"""Which process does something, and whether it can still be there."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import socket
import time
import uuid

#: Seconds by which two clocks may disagree on how long something has lasted.
SLACK = 2.0


@dataclasses.dataclass(frozen=True)
class Process:
    """Which process on which host since which boot: a dead one is recognised at once."""

    host: str
    #: this boot of the host and, since a container counts its processes anew, this pid namespace;
    #: empty where the system does not tell
    boot_id: str
    pid: int

    @classmethod
    def this(cls) -> Process:
        try:
            boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
            namespace = os.readlink('/proc/self/ns/pid')
            boot_id = str(uuid.uuid5(uuid.UUID(boot), namespace))
        except (OSError, ValueError):
            boot_id = ''
        return cls(socket.gethostname(), boot_id, os.getpid())

    def knows(self, other: Process) -> bool:
        """Whether the pid of `other` means here what it means there."""
        return bool(self.boot_id) and (self.host, self.boot_id) == (other.host, other.boot_id)


def is_gone(pid: int, seconds: float) -> bool:
    """Whether no process of this number can have been there `seconds` ago and be there now.

    A number is given to another process sooner or later; that one has not run for so long.
    """
    try:
        os.kill(pid, 0)
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except (ProcessLookupError, FileNotFoundError):
        return True
    except OSError:
        return False  # somebody else's: it is there, and nothing more can be said
    # The name, in parentheses, may contain anything.
    fields = stat.rpartition(')')[2].split()
    if fields[0] in 'ZX':
        return True
    started = int(fields[19]) / os.sysconf('SC_CLK_TCK')
    # Not /proc/uptime, which some containers have of their own.
    lasts = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    return lasts >= 0 and lasts + SLACK < seconds
