# SPDX-License-Identifier: Apache-2.0
"""Files of imports, and the native threads in which they are read, written and converted."""

from __future__ import annotations

from glance_lite import concurrency

#: For file and processor work of methods and plug-ins, which must not hold up the hub.
POOL = concurrency.Pool('imports', 8)
