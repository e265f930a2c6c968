# SPDX-License-Identifier: Apache-2.0
"""The import methods that fetch nothing: the data is staged, or the image has it already."""

from __future__ import annotations

from glance_lite.imports.method import ImportMethod


class GlanceDirect(ImportMethod):
    """``glance-direct``: the data that was staged for the image."""

    status = 'uploading'
    fetches = False


class CopyImage(ImportMethod):
    """``copy-image``: the data that the image has in one store, for others."""

    status = 'active'
    fetches = False
