# SPDX-License-Identifier: Apache-2.0
"""Sizes and counts: what fits a laptop, or with ``tools/test --all`` the full figures."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar('T')

FULL = os.environ.get('GLANCE_LITE_FULL') == '1'


def full(everyday: T, figure: T) -> T:
    """The figure of a full run, or what is enough every day."""
    return figure if FULL else everyday
