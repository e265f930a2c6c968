# SPDX-License-Identifier: Apache-2.0
"""The values that import methods and plug-ins are given, and what they give back."""

from __future__ import annotations

import abc
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glance_lite.model import EMPTY

if TYPE_CHECKING:
    from glance_lite.model import Image

#: Version of both contracts. It changes only when an old plug-in would no longer work.
IMPORT_API = 1


def _empty() -> Mapping[str, Any]:
    return EMPTY


@dataclasses.dataclass(frozen=True)
class Job:
    """One import. It outlives the request and the process: it never holds a token."""

    #: number of the operation, unique for ever
    serial: int
    #: id of the task that tells of it
    task_id: str
    #: the image as it was when the step began
    image: Image
    #: name of the import method
    method: str
    #: what the request's ``method`` object says beside its name, as `ImportMethod.validate` gave it
    fields: Mapping[str, Any] = dataclasses.field(default_factory=_empty)
    #: ids of the stores where the data goes
    stores: tuple[str, ...] = ()
    #: whether one store that fails undoes all
    all_must_succeed: bool = True
    #: who asked
    project: str | None = None
    user: str | None = None
    #: lower case
    roles: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a method or a plug-in has made. What is not named stays as it is."""

    #: a new file that takes the place of the one before; None: that one stays
    file: pathlib.Path | None = None
    #: attributes of the image: disk_format, container_format, virtual_size, min_disk, min_ram
    fields: Mapping[str, Any] = dataclasses.field(default_factory=_empty)
    #: custom properties to set; those of the service itself are refused
    properties: Mapping[str, str] = dataclasses.field(default_factory=_empty)


class Work(abc.ABC):
    """What a step has at hand. One for each time that a step is begun."""

    #: methods: the file to write. It may be there, with what a killed process had written.
    #: Plug-ins: the file with the data. It must not be changed.
    path: pathlib.Path
    #: what `keep` was last told for this step, by this or a killed process; {} at first
    note: Mapping[str, str]
    #: most bytes that may come (image_size_cap); None: any number
    most: int | None

    @abc.abstractmethod
    def told(self, done: int, total: int | None = None) -> None:
        """So many bytes of so many are done.

        Call it for each chunk: it is cheap, and writes every few seconds only. Raises `Gone` when
        the image was deleted or the job taken over, `LimitExceeded` beyond `most`: let it through.
        """

    @abc.abstractmethod
    def keep(self, note: Mapping[str, str]) -> None:
        """Remember something in the database for whoever resumes this step (an ETag). Raises as
        `told`."""

    @abc.abstractmethod
    def new(self) -> pathlib.Path:
        """Plug-ins: the file to write, always the same one. What lies there is to be overwritten.

        Another path in the same directory is possible if it is this one with something appended;
        all of them are removed when the step is over, but for the one in `Outcome.file`.
        """
