# SPDX-License-Identifier: Apache-2.0
"""``/v2/schemas/metadefs``."""

from __future__ import annotations

from glance_lite.api.described import Described, found, ref
from glance_lite.api.v2.metaschemas import DOCUMENTS

HANDLERS = {
    name: Described(f'The schema of metadata definitions: {name}', found(ref('JSONSchema')))
    for name in DOCUMENTS
}
