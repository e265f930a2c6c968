# SPDX-License-Identifier: Apache-2.0
"""What was measured, as reStructuredText; made of the figures alone, at any time."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from importlib import metadata

from benchmarks import rows, servers

#: A client process that uses more of a core than this is what limits the rate.
SATURATED = 0.85
#: With more cores used by others than this the machine was not quiet.
QUIET = 0.2

Rounds = Sequence[dict]


def today() -> str:
    return datetime.date.today().isoformat()


def machine() -> dict:
    """What the figures depend on; nothing that says whose machine it is."""
    model = ''
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            model = line.partition(':')[2].strip()
            break
    pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return {
        'cores': os.cpu_count(),
        'processor': model,
        'memory_gib': round(pages / 2**30),
        'kernel': platform.release().partition('-')[0],
    }


def versions() -> dict[str, str]:
    """Of what was running."""
    from tests.backends import databases
    from tests.peers import glance33

    python = glance33.home() / 'bin' / 'python'
    names = ('glance', 'uwsgi', 'sqlalchemy')
    code = 'from importlib import metadata\nfor n in {}: print(metadata.version(n))'
    done = subprocess.run([python, '-c', code.format(names)], capture_output=True, text=True)
    theirs = dict(zip(names, done.stdout.split(), strict=True))
    # Not part of the interface of that module, but the one place that knows which server it takes.
    postgres = f'{databases._postgres_bin()}/postgres'
    server = subprocess.run([postgres, '--version'], capture_output=True, text=True).stdout
    revision = _git('rev-parse', '--short', 'HEAD')
    if _git('status', '--porcelain', 'glance_lite', 'store_drivers'):
        revision += ' and changes'
    return {
        'glance-lite': f'{metadata.version("glance-lite")} ({revision})',
        'eventlet': metadata.version('eventlet'),
        'SQLAlchemy': metadata.version('sqlalchemy'),
        'Glance': theirs['glance'],
        'uWSGI': theirs['uwsgi'],
        'Python': platform.python_version(),
        'PostgreSQL': server.split()[2],
    }


def _git(*arguments: str) -> str:
    command = ['git', '-C', str(pathlib.Path(__file__).parents[1]), *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def errors(figures: dict) -> list[str]:
    """What was not answered as it must be."""
    return [
        f'{name}, {servers.TITLES[side]}: {error}'
        for name, row in figures['rows'].items()
        for side, rounds in row['sides'].items()
        for error in sorted({error for one in rounds for error in one['errors']})
    ]


# --- figures of one side


def rates(rounds: Rounds) -> list[float]:
    return [one['units'] / one['elapsed'] for one in rounds]


def rate(rounds: Rounds) -> float:
    return statistics.median(rates(rounds))


def cost(rounds: Rounds, whose: str = 'server_cpu') -> float:
    """Seconds of processor time for each unit."""
    return sum(one[whose] for one in rounds) / (sum(one['units'] for one in rounds) or 1)


def _each(key: str) -> Callable[[Rounds], list[float]]:
    return lambda rounds: [one[key] for one in rounds]


def _costs(rounds: Rounds) -> list[float]:
    return [one['server_cpu'] / (one['units'] or 1) for one in rounds]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One thing that is compared."""

    title: str
    #: one for each round
    values: Callable[[Rounds], list[float]]
    show: Callable[[float, str], str]
    #: whether the ratio shall be at least the goal, else at most
    more: bool
    #: whether it is the other side's to ours
    turned: bool = False
    #: what ours is compared with, where it is not the same of the other side
    to: Callable[[Rounds], list[float]] | None = None


def show_rate(value: float, unit: str) -> str:
    if unit == 'GiB':
        return f'{value * 1024:,.0f} MiB/s'
    return f'{value:,.0f} images/s' if unit == 'image' else f'{value:,.1f}/s'


def show_cost(value: float, unit: str) -> str:
    return f'{value:.2f} s/GiB' if unit == 'GiB' else f'{value * 1000:.2f} ms'


def _mib(value: float, unit: str) -> str:
    return f'{value:.0f} MiB'


def _ms(value: float, unit: str) -> str:
    return f'{value:.1f} ms'


def _seconds(value: float, unit: str) -> str:
    return f'{value:.2f} s'


FIGURES = {
    'rate': Figure('rate', rates, show_rate, True),
    'cpu': Figure('CPU of the service', _costs, show_cost, True, turned=True),
    'latency': Figure('time', _each('median_ms'), _ms, False),
    'idle': Figure('PSS', _each('idle_mib'), _mib, False),
    'large': Figure('PSS', _each('large_mib'), _mib, False),
    'flat': Figure('PSS', _each('large_mib'), _mib, False, to=_each('small_mib')),
    'start': Figure('time', _each('start_s'), _seconds, False),
    'seconds': Figure('time', _each('start_s'), _seconds, False, to=lambda rounds: [1.0]),
}


@dataclasses.dataclass(frozen=True)
class Compared:
    """A goal and what came of it."""

    goal: rows.Goal
    ours: str
    theirs: str
    ratio: float
    least: float
    most: float

    @property
    def reached(self) -> bool | None:
        if self.goal.goal is None:
            return None
        if FIGURES[self.goal.what].more:
            return self.ratio >= self.goal.goal
        return self.ratio <= self.goal.goal


def compare(figures: dict, goal: rows.Goal) -> Compared | None:
    """None when a figure is not there."""
    figure = FIGURES[goal.what]
    row, other = (figures['rows'].get(name) for name in (goal.row, goal.other or goal.row))
    if not row or not other:
        return None
    ours, theirs = row['sides'].get(goal.side), other['sides'].get(goal.beside)
    if not ours or not theirs:
        return None
    mine, yours = figure.values(ours), (figure.to or figure.values)(theirs)
    if not all([*mine, *yours]):
        return None
    # Round by round: each pair was measured in the same minutes.
    if len(mine) == len(yours):
        pairs = list(zip(mine, yours, strict=True))
    else:
        pairs = [(statistics.median(mine), statistics.median(yours))]
    ratios = [b / a if figure.turned else a / b for a, b in pairs]
    unit = row['unit']
    return Compared(
        goal,
        figure.show(statistics.median(mine), unit),
        figure.show(statistics.median(yours), unit),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
    )


# --- as text


def text(figures: dict) -> str:
    """What results.rst has."""
    found = figures['rows']
    if not found:
        return 'Nothing has been measured.'
    lines = []
    for made in dict.fromkeys(_made(row) for row in found.values()):
        lines += [f'| {line}' for line in made]
    lines = [f'| {_machine(figures["machine"])}', *lines]
    scale = next(reversed(found.values()))['options']['scale']
    lines += ['', *_heading('Goals'), *_goals(figures, rows.goals(scale))]
    lines += ['', *_heading('All figures'), *_all(found)]
    stores = [row for row in found.values() if row['title'].partition(':')[0] in rows.STORES]
    if stores:
        lines += ['', *_stores(stores)]
    memory = found.get('memory')
    if memory:
        lines += ['', *_memory(memory)]
    starts = found.get('start')
    if starts:
        lines += ['', *_starts(starts)]
    lines += ['', *_remarks(figures)]
    return '\n'.join(lines).rstrip()


def _heading(title: str) -> list[str]:
    return [title, '-' * len(title), '']


def _machine(machine: dict) -> str:
    return (
        f'{machine["cores"]} cores ({machine["processor"]}), {machine["memory_gib"]} GiB of '
        f'memory, Linux {machine["kernel"]}'
    )


def _made(row: dict) -> tuple[str, ...]:
    options = row['options']
    versions = ', '.join(f'{name} {version}' for name, version in row['versions'].items())
    sizes = (
        f'{options["images"]:,} images; {options["rounds"]} rounds of {options["seconds"]:g} s; '
        f'transfers of {options["size"]} MiB'
    )
    return row['date'] + ', ' + versions, sizes


def _goals(figures: dict, goals: Sequence[rows.Goal]) -> list[str]:
    lines, title = [], ''
    for goal in goals:
        compared = compare(figures, goal)
        title = goal.title or title
        if compared is not None:
            lines.append(_goal_line(compared, title))
    heads = ('Work', 'Figure', 'glance-lite', 'Beside', '\\', 'Ratio', 'Goal', 'Reached')
    return _table(heads, lines) if lines else ['No two figures to compare.']


def _goal_line(compared: Compared, title: str) -> tuple[str, ...]:
    goal, spread = compared.goal, ''
    figure = FIGURES[goal.what]
    if goal.what == 'seconds':
        theirs = ratio = ''
    else:
        theirs, ratio = compared.theirs, f'{compared.ratio:.2f}'
        if f'{compared.least:.2f}' != f'{compared.most:.2f}':
            spread = f' ({compared.least:.2f} to {compared.most:.2f})'
    wanted = ''
    if goal.goal is not None:
        unit = ' s' if goal.what == 'seconds' else ''
        wanted = f'{"at least" if figure.more else "at most"} {goal.goal:g}{unit}'
    verdict = {None: '', True: 'yes', False: '**no**'}[compared.reached]
    side = servers.TITLES[goal.side].removeprefix('glance-lite').strip(', ')
    beside = '' if goal.what in ('flat', 'latency', 'seconds') else servers.TITLES[goal.beside]
    return (
        f'{title}, {side}' if side and side not in title else title,
        figure.title,
        compared.ours,
        beside,
        theirs,
        f'{ratio}{spread}',
        wanted,
        verdict,
    )


def _all(found: dict) -> list[str]:
    heads = (
        *('Work', 'Server', 'Rate', 'Time, median', '95 %', 'CPU, service', 'PostgreSQL'),
        *('Clients', 'Others'),
    )
    lines = []
    for row in found.values():
        title, unit = row['title'], row['unit']
        for side, rounds in row['sides'].items():
            if 'median_ms' not in rounds[0] or 'backend_cpu' in rounds[0]:
                continue
            medians = [one['median_ms'] for one in rounds if one['median_ms']]
            lates = [one['p95_ms'] for one in rounds if one['p95_ms']]
            lines.append(
                (
                    title,
                    servers.TITLES[side],
                    show_rate(rate(rounds), unit),
                    _ms(statistics.median(medians), unit) if medians else '',
                    _ms(statistics.median(lates), unit) if lates else '',
                    show_cost(cost(rounds), unit),
                    show_cost(cost(rounds, 'database_cpu'), unit),
                    f'{max(one["client_busiest"] for one in rounds):.0%}',
                    f'{statistics.mean(one["other_cores"] for one in rounds):.2f}',
                )
            )
    return _table(heads, lines) if lines else ['None.']


def _stores(found: list[dict]) -> list[str]:
    heads = (
        *('Stores', 'Server', 'Rate', 'Least', 'Most', 'CPU, service', 'Backend'),
        *('Memory before', 'Most', 'Others'),
    )
    lines = []
    for row in found:
        for side, rounds in row['sides'].items():
            all_rates = [show_rate(of(rates(rounds)), 'GiB') for of in (min, max)]
            memory, others = ('', ''), ''
            if 'most_mib' in rounds[0]:
                each = [max(_each(key)(rounds)) for key in ('idle_mib', 'most_mib')]
                memory = tuple(_mib(one, '') for one in each)
                others = f'{statistics.mean(one["other_cores"] for one in rounds):.2f}'
            lines.append(
                (
                    row['title'],
                    servers.TITLES[side],
                    show_rate(rate(rounds), 'GiB'),
                    *all_rates,
                    show_cost(cost(rounds), 'GiB'),
                    show_cost(cost(rounds, 'backend_cpu'), 'GiB'),
                    *memory,
                    others,
                )
            )
    return _table(heads, lines)


def _memory(row: dict) -> list[str]:
    heads = ('Memory (PSS of all processes)', 'idle', '8 transfers of an eighth', '8 transfers')
    lines = []
    for side, rounds in row['sides'].items():
        values = [_each(key)(rounds) for key in ('idle_mib', 'small_mib', 'large_mib')]
        lines.append((servers.TITLES[side], *(_mib(statistics.median(one), '') for one in values)))
    return _table(heads, lines)


def _starts(row: dict) -> list[str]:
    return _table(
        ('From start to first answer', 'median', 'least', 'most'),
        [
            (
                servers.TITLES[side],
                *(f'{of(_each("start_s")(rounds)):.2f} s' for of in (statistics.median, min, max)),
            )
            for side, rounds in row['sides'].items()
        ],
    )


def _remarks(figures: dict) -> list[str]:
    found = figures['rows']
    measured = [
        (f'{row["title"]} ({servers.TITLES[side]})', rounds)
        for row in found.values()
        for side, rounds in row['sides'].items()
        if 'client_busiest' in rounds[0]
    ]
    lines = []
    if figures.get('ceiling'):
        lines.append(
            f'* The clients alone reach {figures["ceiling"]:,.0f} requests a second with '
            f'{rows.CLIENTS} connections.'
        )
    full = [
        title
        for title, rounds in measured
        if max(one['client_busiest'] for one in rounds) > SATURATED
    ]
    lines.append(
        f'* The clients were the limit here: {", ".join(full)}.'
        if full
        else '* The clients were the limit nowhere: none of their processes was busy for more '
        f'than {SATURATED:.0%} of the time.'
    )
    noisy = [
        title
        for title, rounds in measured
        if statistics.mean(one['other_cores'] for one in rounds) > QUIET
    ]
    if noisy:
        lines.append(
            f'* The machine did something else meanwhile (more than {QUIET:g} cores) in '
            f'{len(noisy)} of {len(measured)} measurements: trust processor time more than rates.'
        )
    for count, seconds in figures['filled'].items():
        lines.append(f'* {int(count):,} images were made in {seconds:.1f} s.')
    for row in found.values():
        for side, reason in row['skipped'].items():
            lines.append(f'* Not measured: {row["title"]}, {servers.TITLES[side]}: {reason}.')
    lines += [f'* **An answer was wrong**: {error}' for error in errors(figures)]
    return lines


def _table(heads: tuple[str, ...], lines: list[tuple[str, ...]]) -> list[str]:
    """Readable in a terminal, too. No cell of the first column may be empty."""
    widths = [max(1, *map(len, column)) for column in zip(heads, *lines, strict=True)]
    rule = '  '.join('=' * width for width in widths)
    made = [
        '  '.join(f'{cell:<{width}}' for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (heads, *lines)
    ]
    return [rule, made[0], rule, *made[1:], rule]
