# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage maintenance``: duties, done by hand; who does them; and restoring."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping

from oslo_config import cfg

from glance_lite.cmd.output import Output
from glance_lite.cmd.progress import Bar
from glance_lite.context import service_context
from glance_lite.errors import Conflict
from glance_lite.maintenance.duty import DutyState
from glance_lite.service import Service

#: Seconds between two looks at whether a duty is due.
LOOK = 5.0


def add(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = parsers.add_parser(
        'maintenance', help='what is done in the background, and by whom'
    ).add_subparsers(dest='maintenance_command', required=True)

    def command(
        name: str, run: Callable[[cfg.ConfigOpts], int | None], text: str
    ) -> argparse.ArgumentParser:
        parser = group.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        parser.set_defaults(run=run)
        add_json(parser)
        return parser

    run = command('run', run_duty, 'do a duty here and now, and again whenever it is due')
    run.add_argument('duty', help='name of the duty')
    run.add_argument('--once', action='store_true', help='do it once, and end')
    command('status', show_status, 'show who does which duty, and what came of the last runs')
    restore = command('restore', restore_images, 'take back deletes whose data is still there')
    restore.add_argument('image', nargs='+', help='id of an image that is pending_delete')


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--json',
        dest='format',
        action='store_const',
        const='json',
        default='text',
        help='print one JSON document',
    )


# --- run


def run_duty(conf: cfg.ConfigOpts) -> int:
    command, service = conf.command, Service(conf)
    name = command.duty
    duty = service.keeper.get(name)
    with service.running():
        while True:
            with Bar(duty.total(), duty.unit) as bar:
                output = Output('runs', command.format, bar.say)
                try:
                    done: Mapping[str, int] | None = service.keeper.run(name, bar.add)
                except Conflict:
                    if command.once:
                        raise
                    done = None
                if done is not None:
                    output.row(f'{name}: {_shown(done)}', duty=name, result=dict(done))
            if done is not None:
                output.end()
            if command.once:
                return 0
            time.sleep(service.keeper.period(name) if done is not None else LOOK)


def _shown(result: Mapping[str, int]) -> str:
    return ', '.join(f'{name} {value}' for name, value in result.items()) or 'nothing to do'


# --- status


def show_status(conf: cfg.ConfigOpts) -> int:
    service = Service(conf)
    keeper = service.keeper
    with service.running():
        states = {state.name: state for state in keeper.states()}
    output, failed = Output('duties', conf.command.format), 0
    for name in sorted({*states, *keeper.duties}):
        state = states.get(name) or DutyState(name, None, False, None, None, {}, None)
        on = name in keeper.duties and keeper.duties[name].acts()
        failed += state.problem is not None
        output.row(
            f'{name:<16} {"on" if on else "off":<4} {_now(state):<28} {_last(state)}'.rstrip(),
            **{
                **dataclasses.asdict(state),
                'began': state.began and state.began.isoformat(),
                'ended': state.ended and state.ended.isoformat(),
            },
            on=on,
            period=keeper.period(name) if name in keeper.duties else None,
        )
    output.end(failed=failed)
    return 1 if failed else 0


def _now(state: DutyState) -> str:
    if state.holder is None:
        return 'nobody is at it'
    return f'{state.holder} is at it' if state.alive else f'{state.holder} is gone'


def _last(state: DutyState) -> str:
    if state.ended is None:
        return 'never ended'
    what = f'failed: {state.problem}' if state.problem else _shown(state.result)
    return f'last {state.ended:%Y-%m-%d %H:%M:%S} UTC: {what}'


# --- restore


def restore_images(conf: cfg.ConfigOpts) -> None:
    """`Conflict`, `ImageNotFound`: the first one that cannot be restored ends it."""
    service = Service(conf)
    output = Output('images', conf.command.format)
    with service.running():
        for image_id in conf.command.image:
            image = service.chain.inner.restore_image(service_context(), image_id)
            output.row(f'{image.id} is {image.status} again', image=image.id, status=image.status)
    output.end()
