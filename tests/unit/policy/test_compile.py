# SPDX-License-Identifier: Apache-2.0
"""The compiled rules answer as oslo.policy does, for every rule, role and target."""

from __future__ import annotations

import itertools
import time

import pytest

from glance_lite import conf, policy
from glance_lite.context import RequestContext
from glance_lite.errors import ConfigurationError, Forbidden
from glance_lite.policy.enforcer import Enforcer

ROLES = ([], ['reader'], ['member', 'reader'], ['admin', 'member', 'reader'], ['service'], ['Ops'])
PROJECTS = ('alpha', 'beta', None)
TARGETS = [
    {},
    *(
        {'project_id': owner, 'owner': owner, 'visibility': visibility, 'member_id': member}
        for owner, visibility, member in itertools.product(
            ('alpha', None), ('public', 'private', 'shared', 'community'), ('beta', None)
        )
    ),
]
FILES = {
    'none': '',
    'simple': 'get_image: "role:ops"\nadd_image: "!"\ndelete_image: "@"\n',
    'nested': (
        'a: "role:ops or rule:b"\nb: "not role:member"\nget_image: "rule:a and not rule:nobody"\n'
        "modify_image: \"(role:reader and (project_id:%(owner)s or 'public':%(visibility)s)) or "
        'rule:a"\ndefault: "role:service"\n'
    ),
    'odd': (
        'get_image: "user_id:%(owner)s"\nget_images: "roles:member"\n'
        'add_image: "True:%(missing)s or None:%(owner)s"\ncopy_image: "role:%(visibility)s"\n'
        'deactivate: "project_id:%(owner)s-%(visibility)s"\nreactivate: "rule:unheard_of"\n'
        'publicize_image: "is_admin_project:True"\nupload_image: "\'x\':x"\n'
        'context_is_admin: "role:ops"\n'
    ),
    'lists': 'get_image: [["role:ops", "project_id:%(owner)s"], ["role:service"]]\n',
}


@pytest.fixture
def make(tmp_path):
    def build(text, **options):
        path = tmp_path / 'policy.yaml'
        path.write_text(text)
        made = conf.parse(conf.new(), [])
        made.set_override('policy_file', str(path), group='oslo_policy')
        for name, value in options.items():
            made.set_override(name, value, group='oslo_policy')
        enforcer = Enforcer(made)
        enforcer.start()
        return enforcer

    build.path = tmp_path / 'policy.yaml'
    return build


def callers():
    for roles, project in itertools.product(ROLES, PROJECTS):
        yield {'roles': roles, 'project_id': project, 'user_id': 'alpha'}
    yield {'roles': ['admin'], 'system_scope': 'all'}
    yield {'roles': ['admin'], 'domain_id': 'default'}


@pytest.mark.parametrize('new_defaults', [True, False])
@pytest.mark.parametrize('file', FILES)
def test_answers_are_oslo_policys(make, file, new_defaults):
    enforcer = make(FILES[file], enforce_new_defaults=new_defaults)
    names = [rule.name for rule in policy.list_rules()] + ['a', 'b', 'unheard_of']
    compared = 0
    for turn, (caller, target) in enumerate(itertools.product(callers(), TARGETS)):
        ctx = RequestContext(overwrite=False, **caller)
        for name in names[turn % 4 :: 4]:  # all names come to all kinds of callers and targets
            wanted = enforcer._oslo.enforce(name, target, ctx)
            assert enforcer.allowed(ctx, name, target) == bool(wanted), (name, caller, target)
            compared += 1
    assert compared > 5_000


def test_enforce_says_which_rule(make):
    ctx = RequestContext(roles=['reader'], overwrite=False)
    with pytest.raises(Forbidden, match='add_image'):
        make('').enforce(ctx, 'add_image', {'project_id': 'x', 'owner': 'x'})


def test_a_check_nobody_knows_goes_to_oslo_policy(make, monkeypatch):
    from oslo_policy import _checks

    class Odd(_checks.Check):
        def __call__(self, target, creds, enforcer, current_rule=None):
            return creds['user_id'] == self.match

    monkeypatch.setitem(_checks.registered_checks, 'odd', Odd)
    enforcer = make('get_image: "odd:someone"\n')
    for user, wanted in (('someone', True), ('other', False)):
        ctx = RequestContext(user_id=user, overwrite=False)
        assert enforcer.allowed(ctx, 'get_image', {}) is wanted


def test_a_rule_that_needs_itself_allows_nothing(make):
    enforcer = make('a: "rule:b"\nb: "rule:a"\nget_image: "rule:a"\n')
    assert not enforcer.allowed(RequestContext(roles=['admin'], overwrite=False), 'get_image', {})


def touch(path, text, seconds):
    import os

    path.write_text(text)
    os.utime(path, (seconds, seconds))


def test_a_changed_file_counts_from_the_next_request(make):
    enforcer = make('get_image: "@"\n')
    old = RequestContext(overwrite=False)
    assert enforcer.allowed(old, 'get_image', {})
    touch(make.path, 'get_image: "!"\n', 2_000_000_000)
    assert not enforcer.allowed(RequestContext(overwrite=False), 'get_image', {})
    assert enforcer.check() is None


def test_a_new_policy_file_is_seen(make):
    """Where there was no file; looked for once a second."""
    make('get_image: "@"\n')
    make.path.unlink()
    made = conf.parse(conf.new(), [])
    made.set_override('policy_file', str(make.path), group='oslo_policy')
    enforcer = Enforcer(made)
    enforcer.start()
    nobody = RequestContext(overwrite=False)
    assert not enforcer.allowed(nobody, 'get_image', {})
    make.path.write_text('get_image: "@"\n')
    deadline = time.monotonic() + 10
    while not enforcer.allowed(RequestContext(overwrite=False), 'get_image', {}):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize('broken', ['{', 'get_image: [', '- 1\n- 2\n'])
def test_a_file_broken_on_reload_keeps_the_last_good_rules(make, broken, caplog):
    enforcer = make('get_image: "role:ops"\n')
    touch(make.path, broken, 2_000_000_000)
    for roles, wanted in ((['ops'], True), ([], False)):
        assert enforcer.allowed(RequestContext(roles=roles, overwrite=False), 'get_image', {}) is (
            wanted
        )
    assert 'policy.yaml' in enforcer.check()
    assert len([r for r in caplog.records if 'stay in force' in r.message]) == 1
    touch(make.path, 'get_image: "@"\n', 2_000_000_100)
    assert enforcer.allowed(RequestContext(overwrite=False), 'get_image', {})
    assert enforcer.check() is None


def test_a_file_broken_at_start_stops_it_with_one_sentence(make):
    with pytest.raises(ConfigurationError, match=r'policy\.yaml') as caught:
        make('get_image: [')
    assert '\n' not in caught.value.message


def test_an_enforcement_is_few_calls(make):
    import sys

    enforcer = make('')
    ctx = RequestContext(roles=['member', 'reader'], project_id='alpha', overwrite=False)
    target = TARGETS[1]
    enforcer.allowed(ctx, 'get_image', target)
    calls = []
    sys.setprofile(lambda frame, event, arg: calls.append(event) if event == 'call' else None)
    enforcer.allowed(ctx, 'get_image', target)
    sys.setprofile(None)
    assert len(calls) <= 12
