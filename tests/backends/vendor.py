# SPDX-License-Identifier: Apache-2.0
"""Plug-ins as if a package of somebody else's brought them, in this process."""

from __future__ import annotations

import pathlib

import pytest
from stevedore.extension import ExtensionManager


def install(
    monkeypatch: pytest.MonkeyPatch, site: pathlib.Path, group: str, plug_ins: dict[str, str]
) -> None:
    """A distribution in the directory `site`, which may have modules as well: name -> object."""
    info = site / f'vendor_{group.rpartition(".")[2]}-1.0.dist-info'
    info.mkdir(parents=True)
    name = info.name.partition('-')[0]
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
    lines = [f'{name} = {path}\n' for name, path in plug_ins.items()]
    (info / 'entry_points.txt').write_text(f'[{group}]\n' + ''.join(lines))
    monkeypatch.syspath_prepend(str(site))
    # stevedore has seen already what is installed
    monkeypatch.setattr(ExtensionManager, 'ENTRY_POINT_CACHE', {})
