# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-replicator``: brings images from one Image service to another one."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from glance_lite.cmd.output import Output, human
from glance_lite.cmd.progress import Bar
from glance_lite.cmd.replicator_arguments import DONT, parser
from glance_lite.errors import GlanceLiteError
from glance_lite.replication import plan, transfer
from glance_lite.replication.access import Options, connect
from glance_lite.replication.directory import Directory
from glance_lite.replication.peer import Peer
from glance_lite.replication.record import Record, ReplicationError, shown
from glance_lite.replication.transfer import Outcome

#: Exit codes: something differs or failed; nothing could be done; Ctrl-C.
WRONG, IMPOSSIBLE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    command = parser(COMMANDS).parse_args(arguments)
    try:
        return COMMANDS[command.command](command)
    except GlanceLiteError as ex:
        print(f'glance-lite-replicator: {ex}', file=sys.stderr)
        return IMPOSSIBLE
    except KeyboardInterrupt:
        print('glance-lite-replicator: interrupted; run it again to go on', file=sys.stderr)
        return INTERRUPTED


# --- what the arguments mean


def _peer(command: argparse.Namespace, side: str) -> Peer:
    """The service at one side, ``from`` or ``to``."""

    def said(name: str) -> object:
        return getattr(command, f'{side}_{name}', None)

    options = Options(
        token=getattr(command, 'sourcetoken' if side == 'from' else 'targettoken') or command.token,
        headers=_pairs(said('header'), ':'),
        endpoint=_text(said('endpoint')),
        region=_text(said('region')),
        interface=_text(said('interface')),
        cacert=_text(said('cacert')),
        insecure=bool(said('insecure')),
        auth=_pairs(said('auth'), '='),
        timeout=command.timeout,
    )
    return Peer(connect(str(said('address')), options), command.chunksize)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _pairs(texts: object, between: str) -> dict[str, str]:
    """Name -> value of what was given as ``NAME=VALUE`` several times."""
    found = {}
    for text in texts if isinstance(texts, list) else []:
        name, sign, value = text.partition(between)
        if not sign or not name:
            raise ReplicationError(f'it should be NAME{between}VALUE: {shown(text)}')
        found[name.strip()] = value.strip()
    return found


def _wishes(command: argparse.Namespace, update: bool = False) -> transfer.Wishes:
    return transfer.Wishes(
        left_out={
            name for text in (DONT, *command.dontreplicate) for name in re.split(r'[\s,]+', text)
        },
        update=update,
        metadata_only=command.metaonly,
        dry_run=getattr(command, 'dry_run', False),
        attempts=command.attempts,
    )


def _filters(command: argparse.Namespace) -> list[tuple[str, str]]:
    found = []
    for text in command.filter:
        name, sign, value = text.partition('=')
        if not sign:
            raise ReplicationError(f'a filter is NAME=VALUE: {shown(text)}')
        found.append((name, value))
    return found


def _ids(command: argparse.Namespace) -> set[str]:
    return {image_id.lower() for image_id in command.id}


# --- running


class Report:
    """What has come of images, as it comes."""

    def __init__(self, command: argparse.Namespace, bar: Bar) -> None:
        self._output = Output('images', command.format, bar.say)
        self._quiet = {'same'} if not command.verbose else set()
        self._counts: dict[str, int] = {}
        self._dry = getattr(command, 'dry_run', False)

    def tell(self, outcomes: Iterable[Outcome]) -> None:
        for found in outcomes:
            self._counts[found.action] = self._counts.get(found.action, 0) + 1
            if found.action in self._quiet and not found.differences:
                continue
            self._output.row(
                _line(found, self._dry),
                image=found.image or None,
                name=found.name,
                action=found.action,
                problem=found.problem,
                size=found.size,
                differences={
                    name: {'here': here, 'there': there}
                    for name, (here, there) in found.differences.items()
                },
            )

    def end(self, wrong: Collection[str] = ('failed',)) -> int:
        """The exit code: whether there was one of these."""
        counts = ', '.join(f'{count} {action}' for action, count in sorted(self._counts.items()))
        self._output.end(counts or 'no images', counts=self._counts, dry_run=self._dry)
        return WRONG if any(self._counts.get(action) for action in wrong) else 0


def _line(found: Outcome, dry: bool) -> str:
    words = [found.image or '-', f'would be {found.action}' if dry else found.action]
    if found.name:
        words.append(shown(found.name, 60))
    if found.size:
        words.append(human(found.size))
    if found.problem:
        words.append(shown(found.problem.removeprefix(f'{found.image}: '), 600))
    for name, (here, there) in found.differences.items():
        words.append(f'{shown(name, 60)}: {shown(here, 80)} / {shown(there, 80)};')
    return '  '.join(words).rstrip(';')


@contextlib.contextmanager
def _running(command: argparse.Namespace, total: int) -> Iterator[tuple[plan.Run, Report]]:
    with Bar(total, 'bytes') as bar:
        yield plan.Run(command.workers, bar.add), Report(command, bar)


def _bytes(command: argparse.Namespace, records: Iterable[Record]) -> int:
    if command.metaonly:
        return 0
    return sum(record.size or 0 for record in records if record.has_data)


# --- the commands


def compare(command: argparse.Namespace) -> int:
    """What is the same at both sides, and what is not."""
    source, target, filters = _peer(command, 'from'), _peer(command, 'to'), _filters(command)
    records, faults = plan.chosen(source.records(filters), _ids(command))
    with Bar(len(records), 'images') as bar:
        run, report = plan.Run(command.workers, bar.add), Report(command, bar)
        report.tell(faults)
        compared = plan.comparing(target, _wishes(command))
        for outcome in run.each(records, compared):
            report.tell([outcome])
            bar.add()
        if not command.id:
            here = {record.id for record in records}
            there, faults = plan.chosen(target.records(filters), ())
            report.tell(faults)
            report.tell(transfer.done(r, 'surplus') for r in there if r.id not in here)
    return report.end(('failed', 'missing', 'differs', 'surplus'))


def copy(command: argparse.Namespace) -> int:
    """What the target lacks is brought there."""
    return _bring(command, update=False)


def livecopy(command: argparse.Namespace) -> int:
    """The same, and attributes that differ are made alike."""
    return _bring(command, update=True)


def _bring(command: argparse.Namespace, update: bool) -> int:
    source, target, filters = _peer(command, 'from'), _peer(command, 'to'), _filters(command)
    delete = getattr(command, 'delete', False)
    if delete and command.id:
        raise ReplicationError('--delete and --id do not go together')
    records, faults = plan.chosen(source.records(filters), _ids(command))
    surplus: list[Record] = []
    if delete:
        if faults:
            raise ReplicationError(
                f'nothing is removed while the list is not understood: {faults[0].problem}'
            )
        here = {record.id for record in records}
        there, faults = plan.chosen(target.records(filters), ())
        # An image may have been changed there so that the filter does not find it here.
        surplus = [r for r in there if r.id not in here and source.show(r.id) is None]
    wishes = _wishes(command, update)
    with _running(command, _bytes(command, records)) as (run, report):
        report.tell(faults)
        report.tell(run.each(records, transfer.ToService(source, target, wishes, run.passed).bring))
        report.tell(run.each(surplus, plan.removing(target, wishes)))
    return report.end()


def dump(command: argparse.Namespace) -> int:
    """Images are written to a directory."""
    source = _peer(command, 'from')
    records, faults = plan.chosen(source.records(_filters(command)), _ids(command))
    wishes = _wishes(command)
    with (
        contextlib.closing(
            Directory(command.path, command.chunksize, make=not command.dry_run)
        ) as target,
        _running(command, _bytes(command, records)) as (run, report),
    ):
        report.tell(faults)
        report.tell(
            run.each(records, transfer.ToDirectory(source, target, wishes, run.passed).bring)
        )
    return report.end()


def load(command: argparse.Namespace) -> int:
    """Images that were dumped are brought to a service."""
    target = _peer(command, 'to')
    wishes = _wishes(command, command.update)
    with contextlib.closing(Directory(command.path, command.chunksize)) as source:
        records, faults = plan.chosen(source.records(), _ids(command))
        with _running(command, _bytes(command, records)) as (run, report):
            report.tell(faults)
            report.tell(
                run.each(records, transfer.ToService(source, target, wishes, run.passed).bring)
            )
    return report.end()


def size(command: argparse.Namespace) -> int:
    """How large a dump would be."""
    source = _peer(command, 'from')
    records, faults = plan.chosen(source.records(_filters(command)), _ids(command))
    with_data = [record for record in records if record.has_data]
    total = sum(record.size or 0 for record in with_data)
    output = Output('failed', command.format)
    for fault in faults:
        output.row(str(fault.problem), problem=fault.problem)
    output.end(
        f'{len(with_data)} images, {total} bytes ({human(total)})',
        images=len(with_data),
        bytes=total,
    )
    return WRONG if faults else 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    'compare': compare,
    'copy': copy,
    'livecopy': livecopy,
    'sync': livecopy,
    'dump': dump,
    'load': load,
    'size': size,
}


if __name__ == '__main__':
    sys.exit(main())
