# SPDX-License-Identifier: Apache-2.0
"""Whether data is what its ``disk_format`` says, and safe to hand to whoever opens it.

oslo.utils knows the formats; here is what Glance 33 makes of its findings. Only images in a
``bare`` container are looked into. Something nobody recognises passes as ``raw`` or as a format
that cannot be recognised (ami, ari, aki, ploop, …). ``raw`` may hold anything, because a raw
disk may hold an image file, but what it holds must be safe.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from oslo_utils.imageutils import format_inspector

from glance_lite.errors import UnsupportedMedia

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)

#: Formats whose header may look like a broken partition table and be none.
_NOT_DISKS = ('aki', 'ari')


class _Current:
    """What an InspectWrapper reads from: the chunk that is passing by."""

    chunk: bytes | memoryview = b''

    def read(self, size: int) -> bytes | memoryview:
        return self.chunk


class Inspector:
    """Looks at one upload as it passes by. `verdict` raises `UnsupportedMedia`."""

    def __init__(self, settings: cfg.GroupAttr, disk_format: str) -> None:
        self._settings = settings
        self._disk_format = disk_format
        self._current = _Current()
        self._wrapper: Any = format_inspector.InspectWrapper(self._current)

    def eat(self, chunk: bytes | memoryview) -> None:
        """See the next bytes of the upload."""
        self._current.chunk = chunk
        self._wrapper.read(len(chunk))
        self._current.chunk = b''

    def verdict(self) -> int | None:
        """All has been seen: the virtual size in bytes, where the format has one."""
        self._wrapper.close()
        try:
            found = self._found()
            size = self._virtual_size(found)
        except format_inspector.ImageFormatError as ex:
            if self._settings.require_image_format_match:
                raise UnsupportedMedia(str(ex)) from ex
            LOG.warning('Data is kept though it is not %s: %s', self._disk_format, ex)
            return None
        except UnsupportedMedia:
            raise
        except Exception as ex:
            LOG.error('The format of an upload cannot be told: %s', type(ex).__name__)
            if self._settings.require_image_format_match:
                raise UnsupportedMedia('The format of the data cannot be told') from ex
            return None
        check_safety(self._settings, self._disk_format, found)
        return size

    def _found(self) -> Any:
        formats = {str(found): found for found in self._wrapper.formats}
        if formats.keys() == {'iso', 'gpt'}:
            # An ISO that boots from a block device has a partition table in front.
            return formats['iso']
        return self._wrapper.format

    def _virtual_size(self, found: Any) -> int | None:
        name = str(found)
        if name == self._disk_format:
            return found.virtual_size or None
        if name == 'raw' and self._disk_format not in format_inspector.ALL_FORMATS:
            return None
        if self._disk_format == 'raw':
            return found.actual_size or None
        raise format_inspector.ImageFormatError(
            f'disk_format is {self._disk_format}, but the data is {name}'
        )


def check_safety(settings: cfg.GroupAttr, disk_format: str, found: Any) -> None:
    """What an inspector of oslo.utils has seen, all of it, must be safe. `UnsupportedMedia`."""
    try:
        found.safety_check()
    except format_inspector.SafetyCheckFailed as ex:
        fatal = set(ex.failures)
        if found.NAME == 'gpt':
            fatal -= set(settings.gpt_safety_checks_nonfatal)
            if disk_format in _NOT_DISKS:
                fatal.discard('mbr')
        if fatal:
            names = ', '.join(sorted(fatal))
            raise UnsupportedMedia(f'The {found} data is not safe: {names}') from ex
        LOG.warning('An upload fails checks that are configured not to matter: %s', ex)
    except Exception as ex:
        # Cut off or made up: what cannot be checked cannot be called safe.
        LOG.info('An upload cannot be checked: %s', ex)
        raise UnsupportedMedia(f'The {found} data is incomplete or damaged') from ex
    kind = getattr(found, 'vmdktype', None)
    # The inspector has it in lower case, the option as VMware spells it.
    allowed = {one.lower() for one in settings.vmdk_allowed_types}
    if str(found) == 'vmdk' and kind and kind not in ('formatnotfound', *allowed):
        raise UnsupportedMedia(f'VMDK of type {kind} is not allowed here')
