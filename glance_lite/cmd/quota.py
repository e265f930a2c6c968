# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage quota recount``: what projects use, counted anew and compared."""

from __future__ import annotations

import argparse
from functools import partial

from oslo_config import cfg

from glance_lite.cmd.progress import shown
from glance_lite.db import engine, usage

RECOUNT = 'count what projects use and show where the counters say something else'


def add(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    quota = parsers.add_parser('quota', help='what projects use').add_subparsers(
        dest='quota_command', required=True
    )
    recount = quota.add_parser(
        'recount',
        help=RECOUNT,
        description=f'{RECOUNT[0].upper()}{RECOUNT[1:]}. Nothing is changed without --fix. The '
        'exit code is 1 where something differs and was not put right.',
    )
    recount.set_defaults(run=run)
    recount.add_argument('--project', help='only this project (default: all that have images)')
    recount.add_argument('--fix', action='store_true', help='put the counters right')


def run(conf: cfg.ConfigOpts) -> int:
    command = conf.command
    database = engine.Database(conf)
    wrong = 0
    try:
        projects = [command.project] if command.project else database.read(usage.projects)
        for project in shown(projects):
            found = database.write(partial(usage.compare, project=project, fix=command.fix))
            wrong += bool(found)
            for name, (kept, counted) in found.items():
                print(f'{project or "(nobody)"}  {name}: {kept}, but there are {counted}')
    finally:
        database.dispose()
    done = 'put right' if command.fix else 'wrong'
    print(f'{len(projects)} projects counted, {wrong} {done}')
    return 1 if wrong and not command.fix else 0
