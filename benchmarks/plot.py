# SPDX-License-Identifier: Apache-2.0
"""Rate against the number of images and of clients."""

from __future__ import annotations

import pathlib
import re

import matplotlib

matplotlib.use('Agg')
# The same figures make the same file.
matplotlib.rcParams['svg.hashsalt'] = 'glance-lite'
matplotlib.rcParams['svg.fonttype'] = 'none'

from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import NullFormatter  # noqa: E402

from benchmarks import report, servers  # noqa: E402

COLOURS = {'glance': '#b0413e', 'lite': '#2f6f9f'}
KINDS = {'get': ('GET image', '-', 'o'), 'list25': ('list 25', '--', 's')}
AXES = (('@', 'images in the database', 10), ('-by-', 'clients', 2))


def draw(figures: dict, path: pathlib.Path) -> None:
    """Both plots side by side into one file; its ending says which format."""
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    for place, (mark, label, base) in zip(axes, AXES, strict=True):
        for kind, (title, line, dot) in KINDS.items():
            for side, colour in COLOURS.items():
                points = _points(figures, kind + mark, side)
                if points:
                    place.plot(
                        *zip(*points, strict=True),
                        line + dot,
                        color=colour,
                        label=f'{title}, {servers.TITLES[side]}',
                    )
        place.set_xscale('log', base=base)
        place.set_yscale('log')
        place.xaxis.set_major_formatter(lambda value, _: f'{value:,.0f}')
        place.xaxis.set_minor_formatter(NullFormatter())
        place.set_xlabel(label)
        place.grid(True, which='major', alpha=0.3)
    axes[0].set_ylabel('requests per second')
    # One legend for both, under them.
    drawn = max(axes, key=lambda place: len(place.get_legend_handles_labels()[0]))
    if drawn.get_legend_handles_labels()[0]:
        figure.legend(
            *drawn.get_legend_handles_labels(), loc='lower center', ncols=4, frameon=False
        )
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    # No date: see above.
    figure.savefig(path, metadata={'Date': None} if path.suffix == '.svg' else None)
    pyplot.close(figure)


def _points(figures: dict, prefix: str, side: str) -> list[tuple[int, float]]:
    found = []
    for name, row in figures['rows'].items():
        match = re.fullmatch(re.escape(prefix) + r'(\d+)', name)
        if match and row['sides'].get(side):
            found.append((int(match[1]), report.rate(row['sides'][side])))
    return sorted(found)
