# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage policy explain``: which rule allows or refuses something, and why."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
from collections.abc import Iterator
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from glance_lite import conf as configuration
from glance_lite.cmd.people import Directory
from glance_lite.context import RequestContext, service_context
from glance_lite.errors import Invalid
from glance_lite.operations import Operations
from glance_lite.policy.enforcer import Enforcer
from glance_lite.policy.explain import Part
from glance_lite.policy.verdict import (
    HIDDEN,
    Judge,
    Subject,
    Verdict,
    image_of,
    namespace_of,
    nothing,
)
from glance_lite.service import Service

HELP = 'say which rule allows or refuses something, and which part of it decides'
DESCRIPTION = """\
Say what the policy answers somebody who wants to do something: which rule decides, whether it is
a default or from which file, which parts of its check say yes and no with the values they compare,
and what else has a say (visibility, ownership, deactivation).

Reads the configuration and its policy files; --image and --namespace read the database, --keystone
asks Keystone. Nothing is changed, and neither tokens nor passwords are printed. Roles are taken as
they are given: an administrator's token usually says admin, member and reader.
"""
EPILOG = """\
examples:
  glance-lite-manage policy explain --project 4f2a --roles member,reader --image 8c71 download_image
  glance-lite-manage policy explain --project 4f2a --roles reader --visibility public add_image
  glance-lite-manage policy explain --keystone --user alice --project web --image 8c71 --all
"""

Parsers = argparse._SubParsersAction


def add(parsers: Parsers[argparse.ArgumentParser]) -> None:
    """The command ``policy`` and those under it."""
    commands = parsers.add_parser('policy', help='the policy rules').add_subparsers(
        dest='policy_command', required=True
    )
    parser = commands.add_parser(
        'explain',
        help=HELP,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=explain)
    parser.add_argument(
        'actions', nargs='*', metavar='ACTION', help='policy rules such as modify_image'
    )
    parser.add_argument('--all', action='store_true', help='all rules, one line each')
    parser.add_argument('--json', action='store_true', help='print JSON')
    _add_caller(parser.add_argument_group('who asks'))
    _add_subject(parser.add_argument_group('what about'))


def _add_caller(group: argparse._ArgumentGroup) -> None:
    group.add_argument('--user', help='id of the user; with --keystone the name will do')
    group.add_argument('--project', help='id of the project; with --keystone the name will do')
    group.add_argument('--roles', type=_words, default=[], help='roles, separated by commas')
    group.add_argument(
        '--service-roles', type=_words, default=[], help='roles of a service that asks for the user'
    )
    group.add_argument('--domain', help='id of a domain: the token is for it, not for a project')
    group.add_argument('--system', action='store_true', help='the token is for the whole system')
    group.add_argument(
        '--keystone', action='store_true', help='have Keystone say what roles the user has'
    )
    group.add_argument(
        '--domain-of-names',
        default='default',
        help='with --keystone: where names are looked for (default: default)',
    )


def _add_subject(group: argparse._ArgumentGroup) -> None:
    group.add_argument('--image', help='id of an image in the database')
    group.add_argument('--namespace', help='a namespace of metadata definitions in the database')
    group.add_argument('--owner', help='of an image that is to be made')
    group.add_argument('--visibility', help='of an image that is to be made')
    group.add_argument(
        '--target',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='any attribute of what there is not yet; may be given several times',
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(',') if word.strip()]


def get_enforcer() -> policy.Enforcer:
    """For oslo.policy's tools: the rules in force by the configuration that is read by default."""
    enforcer = Enforcer(configuration.parse(configuration.new()))
    enforcer.start()
    return enforcer.loaded.oslo


# --- the command


def explain(conf: cfg.ConfigOpts) -> None:
    """Print a verdict for each action. Raises `Invalid` for a rule that there is not."""
    enforcer = Enforcer(conf)
    enforcer.start()
    actions = _actions(conf.command, enforcer)
    ctx = _caller(conf)
    enforcer.admit(ctx)
    judge = Judge(enforcer)
    verdicts = [
        (subject, judge.verdict(ctx, action, subject))
        for action, subject in zip(actions, _subjects(conf, ctx, actions), strict=True)
    ]
    if conf.command.json:
        print(json.dumps([_document(ctx, *one) for one in verdicts], indent=2))
    elif conf.command.all:
        for _, verdict in verdicts:
            print(_line(verdict))
    else:
        print('\n\n'.join(_text(ctx, *one) for one in verdicts))


def _actions(command: Any, enforcer: Enforcer) -> list[str]:
    if command.all == bool(command.actions):
        raise Invalid('Name one action or more, or --all')
    if command.all:
        return sorted(enforcer.names)
    for action in command.actions:
        if action not in enforcer.names and action not in enforcer.own:
            near = difflib.get_close_matches(action, enforcer.names)
            hint = f'; did you mean {" or ".join(near)}?' if near else ''
            raise Invalid(f'There is no policy rule {action}{hint}')
    return list(command.actions)


def _caller(conf: cfg.ConfigOpts) -> RequestContext:
    command = conf.command
    if command.keystone:
        if not (command.user and command.project):
            raise Invalid('--keystone needs --user and --project')
        known = Directory(conf).find(command.user, command.project, command.domain_of_names)
    else:
        known = {
            'user_id': command.user, 'project_id': command.project, 'roles': command.roles
        }  # fmt: skip
    return RequestContext(
        **known,
        service_roles=command.service_roles,
        domain_id=command.domain,
        system_scope='all' if command.system else None,
        overwrite=False,
    )


def _subjects(conf: cfg.ConfigOpts, ctx: RequestContext, actions: list[str]) -> Iterator[Subject]:
    command = conf.command
    given = {'owner': command.owner, 'visibility': command.visibility}
    said = {name: value for name, value in given.items() if value is not None}
    for pair in command.target:
        name, equals, value = pair.partition('=')
        if not equals:
            raise Invalid(f'--target {pair}: it is NAME=VALUE')
        said[name] = value
    if (command.image or command.namespace) and said:
        raise Invalid('--owner, --visibility and --target are of what is not in the database')
    if command.image and command.namespace:
        raise Invalid('An action is about --image or --namespace, not about both')
    if not (command.image or command.namespace):
        yield from (nothing(ctx, action, said) for action in actions)
        return
    find, name = (image_of, command.image) if command.image else (namespace_of, command.namespace)
    with _database(conf) as db:
        subject = find(db, ctx, service_context(), name)
    yield from (subject for _ in actions)


@contextlib.contextmanager
def _database(conf: cfg.ConfigOpts) -> Iterator[Operations]:
    """The images without stores and other layers: they may be out of order."""
    layer = Service(conf).layers[-1]
    layer.start()
    try:
        yield layer
    finally:
        layer.stop()


# --- showing it


def _word(verdict: Verdict) -> str:
    return 'allowed' if verdict.allowed else 'refused'


def _line(verdict: Verdict) -> str:
    told = '' if verdict.allowed else str(verdict.status)
    found = verdict.explanation
    return f'{_word(verdict)} {told:<4} {found.rule:<40} {found.source}'.rstrip()


def _text(ctx: RequestContext, subject: Subject, verdict: Verdict) -> str:
    found = verdict.explanation
    told = {HIDDEN: '404 Not Found'}.get(verdict.status, '403 Forbidden')
    lines = [
        f'{found.rule}: {_word(verdict)}' + ('' if verdict.allowed else f', with {told}'),
        f'  rule    {found.check or "(empty: everybody)"}',
        f'  from    {found.source}',
        *_parts(found.part, 0),
        f'  caller  {_pairs(_known(ctx))}',
        f'  about   {subject.name}',
    ]
    if found.target:
        lines.append(f'  with    {_pairs(found.target)}')
    if verdict.note:
        lines.append(f'  note    {verdict.note}')
    return '\n'.join(lines)


def _parts(part: Part, depth: int) -> Iterator[str]:
    mark = {True: 'yes', False: 'no', None: '-'}[part.allows]
    reason = f'  ({part.reason})' if part.reason else ''
    yield f'  {mark:<6}  {"  " * depth}{part.check}{reason}'
    for inner in part.parts:
        yield from _parts(inner, depth + 1)


def _pairs(values: Any) -> str:
    return ', '.join(f'{name}={value}' for name, value in values.items())


def _known(ctx: RequestContext) -> dict[str, Any]:
    """What rules may ask of the caller, as far as there is something."""
    known = {name: value for name, value in (ctx.credentials or {}).items() if value}
    return {
        name: ','.join(value) if isinstance(value, list) else str(value)
        for name, value in sorted(known.items())
        # Always the same, and of no token.
        if name not in ('request_id', 'global_request_id', 'is_admin_project')
    }


def _document(ctx: RequestContext, subject: Subject, verdict: Verdict) -> dict[str, Any]:
    found = verdict.explanation
    return {
        'action': found.rule,
        'allowed': verdict.allowed,
        'status': None if verdict.allowed else verdict.status,
        'rule': found.check,
        'source': found.source,
        'because': _tree(found.part),
        'caller': _known(ctx),
        'about': subject.name,
        'target': dict(found.target),
        'note': verdict.note,
    }


def _tree(part: Part) -> dict[str, Any]:
    return {
        'check': part.check,
        'allows': part.allows,
        'reason': part.reason,
        'parts': [_tree(inner) for inner in part.parts],
    }
