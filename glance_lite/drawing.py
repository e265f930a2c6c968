# SPDX-License-Identifier: Apache-2.0
"""The pipeline as a picture: SVG with real text, a title and a description for screen readers.

Names are set in a monospaced font, of which every letter is 0.6 of its size wide, so boxes fit
their text without asking a font.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from glance_lite.pipeline import Asked, Kept, Pipeline

WIDTH, MARGIN = 1240, 32
GAP = 28
ROW = 19
BOX = 30
#: width of a letter of the monospaced font, in sizes
LETTER = 0.6

INK, SOFT, LINE, SHADE, PAPER = '#1b1f24', '#57606a', '#c9d1d9', '#f3f5f7', '#ffffff'
#: readable on white and told apart by people who do not see all colours; layers take them in turn
COLOURS = ('#0b5cad', '#a3480f', '#0a7556', '#8a2f7d', '#7a5c00', '#b3261e', '#3d4b9e', '#4a5560')

#: Family of operations -> what people call it.
TITLES = {
    'Image': 'images',
    'Data': 'data and stores',
    'Location': 'locations',
    'Member': 'members',
    'Metadef': 'metadata definitions',
    'Task': 'tasks',
    'Access': 'access',
    'Commit': 'uploads, imports and deletes under way',
    'Background': 'background',
}

STYLE = (
    'text { font-family: "DejaVu Sans", "Segoe UI", Helvetica, Arial, sans-serif; } '
    '.mono { font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; }'
)


def as_svg(found: Pipeline) -> str:
    """The picture, as a file has it."""
    picture = Picture(found)
    picture.draw()
    return picture.text()


@dataclasses.dataclass
class Pen:
    """Where the next thing goes."""

    x: float
    y: float


class Picture:
    """Draws from the top down; the height is known at the end."""

    def __init__(self, found: Pipeline) -> None:
        self._found = found
        self._root = ElementTree.Element('svg', xmlns='http://www.w3.org/2000/svg')
        self._colours = {
            layer.name: colour
            for layer, colour in zip(found.acting, itertools.cycle(COLOURS), strict=False)
        }
        self._y = 0.0

    def text(self) -> str:
        height = self._y + MARGIN
        self._root.set('viewBox', f'0 0 {WIDTH} {height:g}')
        self._root.set('width', str(WIDTH))
        self._root.set('height', f'{height:g}')
        ElementTree.indent(self._root)
        written = ElementTree.tostring(self._root, encoding='unicode')
        return f"<?xml version='1.0' encoding='utf-8'?>\n{written}\n"

    def draw(self) -> None:
        found = self._found
        self._root.set('role', 'img')
        self._root.set('aria-labelledby', 'title desc')
        title = f'The way of a request: {found.application}'
        self._put(self._root, 'title', id='title').text = _printable(title)
        self._put(self._root, 'desc', id='desc').text = _printable(_description(found))
        self._put(self._root, 'style').text = STYLE
        self._put(self._root, 'rect', width='100%', height='100%', fill=PAPER)
        self._y = MARGIN + 18
        self._words(self._root, MARGIN, self._y, found.application, size=20, weight='bold')
        self._y += 12
        self._draw_paths()
        self._draw_layers()
        self._draw_operations()
        self._draw_stores()

    # --- strokes

    @staticmethod
    def _put(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
        values = {
            name.rstrip('_').replace('_', '-'): f'{value:g}'
            if isinstance(value, float)
            else str(value)
            for name, value in attributes.items()
        }
        return ElementTree.SubElement(parent, tag, values)

    def _words(
        self,
        parent: ElementTree.Element,
        x: float,
        y: float,
        text: str,
        size: float = 12,
        mono: bool = False,
        fill: str = INK,
        **more: object,
    ) -> None:
        if 'weight' in more:
            more['font_weight'] = more.pop('weight')
        if mono:
            more['class_'] = 'mono'
        element = self._put(parent, 'text', x=x, y=y, font_size=size, fill=fill, **more)
        element.text = _printable(text)

    def _group(self, title: str) -> ElementTree.Element:
        """What belongs together; the title is shown when the mouse is on it."""
        group = self._put(self._root, 'g')
        self._put(group, 'title').text = _printable(title)
        return group

    def _heading(self, text: str) -> None:
        self._y += GAP
        self._words(self._root, MARGIN, self._y, text, size=14, weight='bold')
        self._y += 10

    def _box(self, group: ElementTree.Element, pen: Pen, name: str, colour: str = SOFT) -> float:
        """A box with a name; its width."""
        width = _width(name, 12) + 20
        self._put(
            group, 'rect', x=pen.x, y=pen.y, width=width, height=BOX, rx=5,
            fill=PAPER, stroke=colour, stroke_width=1.5,
        )  # fmt: skip
        self._words(group, pen.x + 10, pen.y + 19.5, name, mono=True, fill=colour)
        return width

    def _arrow(self, pen: Pen) -> None:
        """From the end of a box to the next."""
        middle = pen.y + BOX / 2
        self._put(
            self._root, 'path', d=f'M{pen.x + 4:g} {middle:g}h13m-5 -4l5 4l-5 4',
            fill='none', stroke=SOFT, stroke_width=1.5,
        )  # fmt: skip
        pen.x += 22

    def _room(self, pen: Pen, width: float, left: float) -> None:
        """Go on in the next line where a box would not fit."""
        if pen.x > left and pen.x + width > WIDTH - MARGIN:
            pen.x, pen.y = left, pen.y + BOX + 10

    # --- what is drawn

    def _draw_paths(self) -> None:
        """A line for each way through filters, with the applications at its end."""
        self._heading('Middleware')
        left = MARGIN + 150.0
        for filters, paths in itertools.groupby(self._found.paths, lambda path: path.filters):
            ends = list(paths)
            pen = Pen(left, self._y)
            label = '  '.join(end.path for end in ends)
            self._words(self._root, MARGIN, self._y + 19.5, label, mono=True, weight='bold')
            if _width(label, 12) > left - MARGIN - 12:
                pen.y += ROW + 4
            for part in filters:
                self._room(pen, _width(part.name, 12) + 42, left)
                pen.x += self._box(self._group(f'{part.name}: {part.made_by}'), pen, part.name)
                self._arrow(pen)
            for end in ends:
                made = end.application
                name = f'{end.path} {made.name}' if len(ends) > 1 else made.name
                self._room(pen, _width(name, 12) + 20, left)
                group = self._group(f'{end.path}: {made.name}, {made.made_by}')
                pen.x += self._box(group, pen, name, INK) + 8
            self._y = pen.y + BOX + 10
        self._y -= 10

    def _draw_layers(self) -> None:
        self._heading('Layers')
        pen = Pen(MARGIN, self._y)
        for number, layer in enumerate(self._found.acting):
            self._room(pen, _width(layer.name, 12) + 42, MARGIN)
            if number:
                self._arrow(pen)
            group = self._group(f'{layer.name}: {layer.made_by}')
            pen.x += self._box(group, pen, layer.name, self._colours[layer.name])
        self._y = pen.y + BOX
        if self._found.idle:
            self._y += 20
            idle = ', '.join(layer.name for layer in self._found.idle)
            text = f'In the list, with nothing to do: {idle}'
            self._words(self._root, MARGIN, self._y, text, fill=SOFT)

    def _draw_operations(self) -> None:
        """Two columns of tables: an operation on each line, a layer in each column."""
        self._heading('Who acts on which operation')
        note = 'Operations in grey are called by layers and in the background only.'
        self._words(self._root, MARGIN + 250.0, self._y - 10, note, fill=SOFT)
        names = max(_width(one.name, 11) for one in self._found.operations) + 14
        width = (WIDTH - 2 * MARGIN - GAP) / 2
        step = (width - names) / max(1, len(self._found.acting))
        halves = _halves(self._found.operations)
        # Slanted, so that the names of layers take little width.
        slant = max((_width(layer.name, 11) for layer in self._found.acting), default=0) * 0.6 + 14
        top, lowest = self._y + slant, self._y
        for number, families in enumerate(halves):
            left = MARGIN + number * (width + GAP)
            self._draw_head(left + names, top, step)
            y = top + 6
            for family, operations in families:
                y += ROW
                title = TITLES.get(family, family)
                self._words(
                    self._root, left + 4, y - 5, title, size=11, fill=SOFT, font_style='italic'
                )
                for count, one in enumerate(operations):
                    self._draw_operation(one, Pen(left, y), names, step, width, count % 2 == 0)
                    y += ROW
            lowest = max(lowest, y)
        self._y = lowest

    def _draw_head(self, left: float, y: float, step: float) -> None:
        for number, layer in enumerate(self._found.acting):
            x = left + (number + 0.5) * step
            self._words(
                self._root, x, y, layer.name, size=11, mono=True, fill=self._colours[layer.name],
                transform=f'rotate(-35 {x:g} {y:g})',
            )  # fmt: skip

    def _draw_operation(
        self, one: Asked, pen: Pen, names: float, step: float, width: float, shaded: bool
    ) -> None:
        mark = ', between layers' if one.inner else ''
        group = self._group(f'{one.name}: {" > ".join(one.layers) or "nobody"}{mark}')
        if shaded:
            self._put(group, 'rect', x=pen.x, y=pen.y, width=width, height=ROW, fill=SHADE)
        middle = pen.y + ROW / 2
        self._words(
            group, pen.x + 6, middle + 4, one.name, size=11, mono=True,
            fill=SOFT if one.inner else INK,
        )  # fmt: skip
        places = {
            layer.name: pen.x + names + (number + 0.5) * step
            for number, layer in enumerate(self._found.acting)
        }
        at = [(places[name], self._colours[name]) for name in one.layers]
        if len(at) > 1:
            self._put(
                group, 'path', d=f'M{at[0][0]:g} {middle:g}H{at[-1][0]:g}',
                stroke=LINE, stroke_width=2,
            )  # fmt: skip
        for x, colour in at:
            self._put(group, 'circle', cx=x, cy=middle, r=5, fill=colour)

    def _draw_stores(self) -> None:
        self._heading('Stores, which only location reaches')
        pen = Pen(MARGIN, self._y)
        lowest = self._y
        for store in self._found.stores:
            lines = _lines(store)
            width = max(_width(line, 11) for line in lines) + 20
            height = 14 + ROW * len(lines)
            if pen.x > MARGIN and pen.x + width > WIDTH - MARGIN:
                pen.x, pen.y = MARGIN, lowest + 10
            group = self._group(f'{store.id}: {store.made_by}')
            self._put(
                group, 'rect', x=pen.x, y=pen.y, width=width, height=height, rx=5, fill=PAPER,
                stroke=INK if store.default else SOFT, stroke_width=2.5 if store.default else 1.5,
            )  # fmt: skip
            for number, line in enumerate(lines):
                self._words(
                    group, pen.x + 10, pen.y + 21 + number * ROW, line, size=11, mono=True,
                    fill=SOFT if number else INK, weight='normal' if number else 'bold',
                )  # fmt: skip
            pen.x += width + 12
            lowest = max(lowest, pen.y + height)
        self._y = lowest


def _printable(text: str) -> str:
    """Without what XML has no place for."""
    return ''.join(letter if letter.isprintable() else '?' for letter in text)


def _width(text: str, size: float) -> float:
    return len(text) * LETTER * size


def _lines(store: Kept) -> list[str]:
    """What stands in the box of a store."""
    kind = f'{store.type}, weight {store.weight}'
    marks = [
        word
        for word, true in (
            ('default', store.default),
            ('read only', store.read_only),
            ('for the service itself', store.reserved),
        )
        if true
    ]
    lines = [store.id, ', '.join((kind, *marks))]
    if store.schemes:
        lines.append('urls: ' + ', '.join(store.schemes))
    if store.capabilities:
        lines.append('can: ' + ', '.join(store.capabilities))
    return lines


Family = tuple[str, list['Asked']]


def _halves(operations: Sequence[Asked]) -> tuple[list[Family], list[Family]]:
    """Families in two columns that are about equally long."""
    # Among those of a family stand some of another, as what two families share.
    families: dict[str, list[Asked]] = {}
    for one in operations:
        families.setdefault(one.family, []).append(one)
    lines = [len(members) + 1 for members in families.values()]

    def uneven(count: int) -> int:
        return abs(sum(lines[:count]) - sum(lines[count:]))

    split = min(range(len(lines) + 1), key=uneven)
    found = list(families.items())
    return found[:split], found[split:]


def _description(found: Pipeline) -> str:
    """All that the picture shows but the table, in sentences."""
    return ' '.join((*_sentences(found), 'The table names the layers that act on each operation.'))


def _sentences(found: Pipeline) -> Iterable[str]:
    for path in found.paths:
        way = ', '.join(part.name for part in path.filters)
        through = f' through {way}' if way else ''
        yield f'{path.path} is served by {path.application.name}{through}.'
    yield f'The layers are {", ".join(layer.name for layer in found.acting)}.'
    if found.idle:
        yield f'Nothing to do have {", ".join(layer.name for layer in found.idle)}.'
    for store in found.stores:
        yield f'The store {store.id} is of type {store.type}.'
