# SPDX-License-Identifier: Apache-2.0
"""The operator's policy files: which there are, what each says, whether one has changed.

``[oslo_policy] policy_file`` comes first, then the files of each directory in ``policy_dirs`` in
the order of their names; what comes later replaces what was said before.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from oslo_policy import policy

from glance_lite.errors import ConfigurationError

if TYPE_CHECKING:
    from oslo_config import cfg

#: Path -> what tells one state of a file from another; None where it cannot be looked at.
Stamp = tuple[tuple[str, tuple[int, ...] | None], ...]


@dataclasses.dataclass(frozen=True)
class File:
    """One file, and the rules in it as they are written."""

    path: str
    rules: Mapping[str, Any]


class Files:
    """What ``[oslo_policy]`` names, found anew with each call."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf

    def paths(self) -> list[str]:
        """The files that there are, in the order in which they count."""
        return [path for option, place in self._places() for path in _files(option, place)]

    def _places(self) -> Iterator[tuple[str, str]]:
        """(option, path) of each place the configuration names and that exists."""
        options = self._conf.oslo_policy
        named = [('policy_file', options.policy_file)]
        named += [('policy_dirs', directory) for directory in options.policy_dirs]
        for option, name in named:
            found = self._conf.find_file(name)
            if found:
                yield option, found

    def stamp(self) -> Stamp:
        """Changes whenever a file is written, replaced, added or removed."""
        try:
            return tuple((path, _state(path)) for path in self.paths())
        except OSError:
            return ()

    def read(self) -> list[File]:
        """All files. `ConfigurationError` in one sentence that names the one that is wrong."""
        found = []
        for option, place in self._places():
            path = place
            try:
                for path in _files(option, place):
                    with open(path) as file:
                        found.append(File(path, _rules(file.read())))
            except (OSError, ValueError) as ex:
                reason = ' '.join(str(ex).split())
                raise ConfigurationError(
                    f'[oslo_policy] {option}: {path} cannot be read: {reason}'
                ) from ex
        return found


def _files(option: str, place: str) -> list[str]:
    """The file itself, or those of a directory that count. `OSError`."""
    if option == 'policy_file':
        return [place]
    with os.scandir(place) as entries:
        names = sorted(entry.name for entry in entries if not entry.is_dir())
    return [os.path.join(place, name) for name in names if not name.startswith('.')]


def _state(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _rules(text: str) -> Mapping[str, Any]:
    rules = policy.parse_file_contents(text)
    if not isinstance(rules, dict):
        raise ValueError('it is no list of rules by name')
    return rules
