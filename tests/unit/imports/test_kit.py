# SPDX-License-Identifier: Apache-2.0
"""Our own plug-ins in the conformance kit of import plug-ins."""

from __future__ import annotations

import gzip
import shutil

import pytest

from glance_lite.imports.conversion import ImageConversion
from glance_lite.imports.plugins import ImageDecompression, InjectImageMetadata, NoOp
from glance_lite.testing.imports import ImportPluginConformance


class TestNoOp(ImportPluginConformance):
    plugin = NoOp


class TestInjectImageMetadata(ImportPluginConformance):
    plugin = InjectImageMetadata
    configuration = '[inject_metadata_properties]\ninject = os_distro:debian\n'


class TestImageDecompression(ImportPluginConformance):
    plugin = ImageDecompression
    data = gzip.compress(b'some data of a disk' * 100_000, mtime=0)


@pytest.mark.skipif(shutil.which('qemu-img') is None, reason='qemu-img is not installed')
class TestImageConversion(ImportPluginConformance):
    plugin = ImageConversion
    configuration = '[image_conversion]\noutput_format = qcow2\n'
    data = bytes(512) + b'some data of a disk' * 100_000
