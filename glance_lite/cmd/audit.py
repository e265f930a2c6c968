# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage store audit`` and ``store quarantine``: what is not as it should be."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from oslo_config import cfg

from glance_lite.audit.auditor import Auditor, Found, Plan
from glance_lite.audit.values import HASH, SIZE, Quarantined
from glance_lite.cmd.output import Output
from glance_lite.cmd.progress import Bar
from glance_lite.context import service_context
from glance_lite.errors import NotFound
from glance_lite.service import Service

#: How many rows are asked for at a time.
PAGE = 1000

AddCommand = Callable[[str, Callable[[cfg.ConfigOpts], int], str], argparse.ArgumentParser]


def add(command: AddCommand) -> None:
    """`command` makes a parser of a name, what it runs and what it is for."""
    audit = command('audit', run_audit, 'look at all data again, and tell what is wrong')
    audit.add_argument('store', nargs='*', help='id of a store (default: all that are ours)')
    audit.add_argument(
        '--repair', action='store_true', help='put good copies in the place of bad ones'
    )
    audit.add_argument(
        '--depth', choices=(HASH, SIZE), help='look at every byte, or only at how many there are'
    )
    audit.add_argument('--rate', type=int, help='bytes a second, 0 for no limit')
    audit.add_argument(
        '--continue', dest='resume', action='store_true', help='go on where the last one ended'
    )
    _add_json(audit)
    quarantine = command('quarantine', run_quarantine, 'show copies that were found to be bad')
    quarantine.add_argument('what', choices=('list', 'release'))
    quarantine.add_argument('location', nargs='*', type=int, help='ids of locations to release')
    _add_json(quarantine)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--json', dest='format', action='store_const', const='json', help='as --format json'
    )


def run_audit(conf: cfg.ConfigOpts) -> int:
    command, options, service = conf.command, conf.maintenance, Service(conf)
    for store in command.store:
        service.gateway.configured(store)
    plan = Plan(
        ' '.join(['command', *sorted(command.store)])[:255],
        tuple(command.store),
        command.depth or options.audit_depth,
        options.audit_rate if command.rate is None else command.rate,
        command.repair,
        options.orphan_min_age,
        command.resume,
    )
    with service.running(), Bar(None, 'bytes') as bar:
        output = Output('faults', command.format, bar.say)
        auditor, faults = Auditor(service.chain.inner, plan, bar.add), 0
        for found in auditor.run():
            faults += 1
            _show(output, found)
    counts = auditor.counts
    output.end(
        f'{counts["copies"]} copies looked at, {counts["unread"]} could not be; {faults} faults',
        **dict(counts),
    )
    return 1 if faults or counts['unread'] or counts['unlisted'] else 0


def _show(output: Output, found: Found) -> None:
    finding = found.finding
    output.row(
        f'{finding.fault:<10}  {finding.image_id}  store {finding.store or "none"}  '
        f'{finding.shown or "no location"}  {finding.text}; {found.done}',
        fault=finding.fault,
        image=finding.image_id,
        store=finding.store,
        location=finding.location_id,
        url=finding.shown,
        problem=finding.text,
        done=found.done,
    )


# --- quarantine


def run_quarantine(conf: cfg.ConfigOpts) -> int:
    command, service = conf.command, Service(conf)
    output = Output('copies', command.format)
    with service.running():
        if command.what == 'release':
            for location in command.location:
                if not service.chain.inner.release_copy(service_context(), location):
                    raise NotFound(f'Location {location} is in no quarantine')
                output.row(f'{location} is served again', location=location)
        else:
            for found in _all(service):
                served = 'served all the same' if found.served else 'not served'
                served += f', since {found.since:%Y-%m-%d %H:%M} UTC'
                output.row(
                    f'{found.location_id:>8}  {found.image_id}  store {found.store}  '
                    f'{found.fault}: {found.text}; {served}',
                    location=found.location_id,
                    image=found.image_id,
                    store=found.store,
                    url=found.shown,
                    fault=found.fault,
                    problem=found.text,
                    since=found.since.isoformat(),
                    served=found.served,
                )
    output.end()
    return 0


def _all(service: Service) -> Iterator[Quarantined]:
    after, ctx = 0, service_context()
    while page := service.chain.inner.list_quarantine(ctx, after, PAGE):
        yield from page
        after = page[-1].location_id
