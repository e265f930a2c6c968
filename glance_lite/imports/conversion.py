# SPDX-License-Identifier: Apache-2.0
"""``image_conversion``: qemu-img makes one format of another, within limits.

What comes in and what comes out is looked at by oslo.utils before qemu-img sees it and after, and
what qemu-img itself says of the data must agree. qemu-img runs as in `glance_lite.imports.sandbox`.
"""

from __future__ import annotations

import json
import logging
import pathlib
import re
import shutil
from typing import TYPE_CHECKING, Any

from oslo_utils.imageutils import format_inspector

from glance_lite import inspection
from glance_lite.errors import ConfigurationError, LimitExceeded, UnsupportedMedia
from glance_lite.imports import native, sandbox
from glance_lite.imports.plugin import ImportPlugin
from glance_lite.imports.values import Job, Outcome, Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from oslo_config import cfg


LOG = logging.getLogger(__name__)

MIB = 1024 * 1024
#: As Glance has them: what `qemu-img info` may take, in bytes and in seconds of processor.
INFO = sandbox.Limits(memory=1024 * MIB, cpu=30, seconds=120, file=16 * MIB)
#: A disk up to this many bytes may be as empty as it likes.
EMPTY_DISK = 1024 * MIB
#: What qemu-img can open, of the formats that an image may have. Its name for a format is ours
#: but for vhd.
NAMES = {
    'raw': 'raw', 'qcow2': 'qcow2', 'vmdk': 'vmdk', 'vhd': 'vpc', 'vhdx': 'vhdx', 'vdi': 'vdi',
    'ploop': 'parallels',
}  # fmt: skip
#: Kinds of VMDK that are made, the first that is allowed.
SUBFORMATS = ('monolithicSparse', 'streamOptimized')

#: Exit codes of `qemu-img check`: nothing found, space that is not used, a format without checks.
WHOLE = frozenset({0, 3, 63})

_PROGRESS = re.compile(rb'\((\d{1,3})\.\d+/100%\)')


class ImageConversion(ImportPlugin):
    """Makes the format of ``[image_conversion] output_format`` of what was imported."""

    def __init__(self, name: str, conf: cfg.ConfigOpts) -> None:
        super().__init__(name, conf)
        own = conf.image_conversion
        self._target: str = own.output_format
        self._formats = conf.image_format
        self._largest: int = own.max_virtual_size
        self._ratio: int = own.max_ratio
        self._memory: int = own.memory * MIB
        self._cpu: int = own.cpu_time
        self._seconds: int = own.max_time
        if shutil.which('qemu-img', path=sandbox.PATH) is None:
            raise ConfigurationError(
                '[image_import_opts] image_import_plugins: image_conversion needs qemu-img, which '
                'is not installed (apt-get install qemu-utils)'
            )
        self._options = self._output_options()
        self._sandbox = sandbox.Sandbox(
            '[image_conversion] require_no_network', own.require_no_network
        )

    def _output_options(self) -> list[str]:
        if self._target != 'vmdk':
            return []
        allowed = {kind.lower() for kind in self._formats.vmdk_allowed_types}
        for kind in SUBFORMATS:
            if kind.lower() in allowed:
                return ['-o', f'subformat={kind}']
        raise ConfigurationError(
            '[image_conversion] output_format: no kind of VMDK that can be made is one of '
            '[image_format] vmdk_allowed_types'
        )

    def apply(self, job: Job, work: Work) -> Outcome:
        """Convert it. `UnsupportedMedia`: it is not what it should be. `LimitExceeded`."""
        said = job.image.disk_format or ''
        size = work.path.stat().st_size
        self._look_at(work, work.path, said)
        if said == 'iso':
            return Outcome()  # it is no disk
        virtual = self._information(work, said)
        self._check_size(work, size, virtual)
        self._check_whole(work, said)
        if said == self._target:
            return Outcome(fields={'virtual_size': virtual})
        self._convert(work, said, size, virtual)
        self._look_at(work, work.new(), self._target)
        fields = {
            'disk_format': self._target,
            'container_format': 'bare',
            'virtual_size': virtual,
        }
        LOG.info('Image %s was converted from %s to %s', job.image.id, said, self._target)
        return Outcome(file=work.new(), fields=fields)

    # --- what it is

    def _look_at(self, work: Work, path: pathlib.Path, wanted: str) -> None:
        """It must be what it should be, and safe."""
        found = native.run(work.told, lambda meter: _inspect(path))
        name = 'raw' if str(found) == 'gpt' else str(found)
        if name != wanted:
            raise UnsupportedMedia(f'The data should be {wanted or "something"}, but it is {name}')
        if name != 'iso' and name not in NAMES:
            raise UnsupportedMedia(f'Data that is {name} cannot be converted')
        inspection.check_safety(self._formats, wanted, found)

    def _information(self, work: Work, said: str) -> int:
        """The virtual size in bytes, as qemu-img has it, if it agrees with all we know."""
        command = ['qemu-img', 'info', '--output=json', '-f', NAMES[said], str(work.path)]
        ended = self._sandbox.run(command, INFO, _scratch(work), lambda tail: work.told(0, None))
        if ended.code or ended.errors:
            LOG.info('qemu-img info ended with %d: %s', ended.code, ended.errors)
            raise UnsupportedMedia('qemu-img cannot make sense of the data')
        try:
            told = json.loads(ended.output)
            virtual = int(told['virtual-size'])
        except (ValueError, TypeError, KeyError):
            raise UnsupportedMedia('qemu-img cannot make sense of the data') from None
        self._check(told, said, work.path)
        return virtual

    def _check(self, told: dict[str, Any], said: str, path: pathlib.Path) -> None:
        if told.get('format') != NAMES[said]:
            raise UnsupportedMedia('qemu-img takes the data for something else than it should be')
        specific = told.get('format-specific') or {}
        data = specific.get('data') or {}
        if 'backing-filename' in told or 'full-backing-filename' in told:
            raise UnsupportedMedia('The data depends on a backing file')
        if data.get('data-file') or data.get('data-file-raw'):
            raise UnsupportedMedia('The data is in another file')
        if told.get('encrypted') or data.get('encrypt'):
            raise UnsupportedMedia('The data is encrypted and cannot be converted')
        if said == 'vmdk':
            kind = str(data.get('create-type') or '')
            allowed = {one.lower() for one in self._formats.vmdk_allowed_types}
            if kind.lower() not in allowed:
                raise UnsupportedMedia(f'VMDK of type {kind[:40]} is not allowed here')
            for extent in data.get('extents') or ():
                if extent.get('filename') != str(path):
                    raise UnsupportedMedia('The data names other files')

    def _check_whole(self, work: Work, said: str) -> None:
        """Its tables must not lead behind its end: nothing would be read there as zeros."""
        command = ['qemu-img', 'check', '--output=json', '-f', NAMES[said], str(work.path)]
        limits = sandbox.Limits(self._memory, self._cpu, self._seconds, INFO.file)
        ended = self._sandbox.run(command, limits, _scratch(work), lambda tail: work.told(0, None))
        if ended.code not in WHOLE:
            LOG.info('qemu-img check ended with %d: %s', ended.code, ended.errors)
            raise UnsupportedMedia(f'The {said} data is incomplete or damaged')

    def _check_size(self, work: Work, size: int, virtual: int) -> None:
        most = self._largest
        if self._target == 'raw' and work.most is not None:
            most = min(most or work.most, work.most)
        if most and virtual > most:
            raise LimitExceeded(f'The disk in the image is larger than {most} bytes')
        if self._ratio and virtual > EMPTY_DISK and virtual > self._ratio * max(size, 1):
            raise LimitExceeded(
                f'The disk in the image is more than {self._ratio} times as large as the data'
            )

    # --- what is made of it

    def _convert(self, work: Work, said: str, size: int, virtual: int) -> None:
        target = work.new()
        target.unlink(missing_ok=True)
        largest = virtual + virtual // 64 + 64 * MIB
        if work.most is not None:
            largest = min(largest, work.most)
        limits = sandbox.Limits(self._memory, self._cpu, self._seconds, largest)
        command = [
            'qemu-img', 'convert', '-p', '-f', NAMES[said], '-O', NAMES[self._target],
            *self._options, str(work.path), str(target),
        ]  # fmt: skip
        ended = self._sandbox.run(command, limits, _scratch(work), _progress(work, size))
        if ended.code or not target.exists():
            LOG.info('qemu-img convert ended with %d: %s', ended.code, ended.errors)
            if 'too large' in ended.errors.lower():
                raise LimitExceeded('The data is larger than it says it is, or than it may be')
            if 'no space left' in ended.errors.lower():
                raise LimitExceeded('There is no room for the converted data in the staging area')
            raise UnsupportedMedia(f'qemu-img could not convert the data to {self._target}')


def _progress(work: Work, size: int) -> Callable[[bytes], None]:
    """Reports the percents of qemu-img as bytes of the source."""

    def looked(tail: bytes) -> None:
        found = _PROGRESS.findall(tail)
        work.told(size * min(100, int(found[-1])) // 100 if found else 0, size)

    return looked


def _scratch(work: Work) -> pathlib.Path:
    new = work.new()
    return new.with_name(new.name + '.output')


def _inspect(path: pathlib.Path) -> Any:
    try:
        return format_inspector.detect_file_format(str(path))
    except OSError:
        raise
    except Exception as ex:
        LOG.info('The format of imported data cannot be told: %s', type(ex).__name__)
        raise UnsupportedMedia('The format of the data cannot be told') from ex
