# SPDX-License-Identifier: Apache-2.0
"""Explanations: they say what the enforcer says, and which part of the check it is."""

from __future__ import annotations

import itertools

import pytest
from oslo_policy import _checks
from oslo_policy import policy as oslo_policy

from glance_lite import conf, policy
from glance_lite.context import RequestContext
from glance_lite.policy.enforcer import Enforcer
from glance_lite.policy.explain import Explainer, shown
from tests.unit.policy.test_compile import FILES, TARGETS, callers, make

assert make  # a fixture of the tests of the compiler


def explain(enforcer, rule, target, **caller):
    ctx = RequestContext(overwrite=False, **caller)
    return Explainer(enforcer).explain(rule, target, enforcer.begin(ctx))


def leaves(part):
    """(check, what it says) of the parts that have none themselves."""
    if not part.parts:
        return [(part.check, part.allows)]
    return [leaf for inner in part.parts for leaf in leaves(inner)]


@pytest.mark.parametrize('new_defaults', [True, False])
@pytest.mark.parametrize('file', FILES)
def test_an_explanation_says_what_the_enforcer_says(make, file, new_defaults):
    enforcer = make(FILES[file], enforce_new_defaults=new_defaults)
    explainer = Explainer(enforcer)
    names = [rule.name for rule in policy.list_rules()] + ['a', 'b', 'unheard_of']
    for turn, (caller, target) in enumerate(itertools.product(callers(), TARGETS)):
        ctx = RequestContext(overwrite=False, **caller)
        for name in names[turn % 7 :: 7]:
            found = explainer.explain(name, target, enforcer.begin(ctx))
            assert found.allowed == enforcer.allowed(ctx, name, target), (name, caller, target)


def test_it_says_which_part_decides(make):
    enforcer = make(
        'get_image: "role:ops or (role:member and not rule:old and project_id:%(owner)s)"\n'
        'old: "\'2019\':%(year)s"\n'
    )
    found = explain(
        enforcer, 'get_image', {'owner': 'beta', 'year': 2024}, roles=['member'], project_id='alpha'
    )
    assert leaves(found.part) == [
        ('role:ops', False),
        ('role:member', True),
        ("'2019':%(year)s", False),
        ('project_id:%(owner)s', False),
    ]
    last = found.part.parts[0].parts[1].parts[-1]
    assert last.reason == 'project_id of the caller: alpha; owner of the target: beta'
    assert found.target == {'owner': 'beta', 'year': '2024'}
    assert found.source.endswith('policy.yaml') and found.check.startswith('role:ops or')


def test_what_the_service_would_not_ask_is_not_asked(make, monkeypatch):
    class Counted(oslo_policy.Check):
        calls = 0

        def __call__(self, target, creds, enforcer, current_rule=None):
            Counted.calls += 1
            return True

    monkeypatch.setitem(_checks.registered_checks, 'counted', Counted)
    enforcer = make('get_image: "role:ops or counted:x"\n')
    found = explain(enforcer, 'get_image', {}, roles=['ops'])
    assert leaves(found.part) == [('role:ops', True), ('counted:x', None)]
    assert Counted.calls == 0
    assert explain(enforcer, 'get_image', {}).allowed and Counted.calls == 1


def test_sources(tmp_path):
    (tmp_path / 'glance-api.conf').write_text('')
    (tmp_path / 'policy.yaml').write_text('get_image: "@"\nadd_image: "@"\n')
    (tmp_path / 'policy.d').mkdir()
    (tmp_path / 'policy.d' / '10.yaml').write_text('get_image: [["role:a"], ["role:b"]]\n')
    made = conf.parse(conf.new(), ['--config-file', str(tmp_path / 'glance-api.conf')])
    enforcer = Enforcer(made)
    enforcer.start()
    explainer = Explainer(enforcer)
    assert explainer.source('get_image') == (
        f'{tmp_path}/policy.d/10.yaml', '(role:a or role:b)'
    )  # fmt: skip
    assert explainer.source('add_image') == (f'{tmp_path}/policy.yaml', '@')
    assert explainer.source('copy_image') == ('default', 'rule:context_is_admin')
    assert explainer.source('nobody_has_it') == ('default', '')


def test_old_defaults_are_told(make):
    enforcer = make('', enforce_new_defaults=False)
    found = explain(enforcer, 'delete_image', {'project_id': 'x'}, roles=['reader'])
    assert found.allowed and found.check.endswith('or rule:default)')


def test_a_token_for_something_else(make):
    found = explain(make(''), 'get_images', {}, roles=['admin'], system_scope='all')
    assert not found.allowed
    assert found.part.reason == 'the token of the caller is for none of: project'


@pytest.mark.parametrize('check', ['rule:get_image', '1x:y', "'x':%(owner)d", 'not broken:x'])
def test_what_cannot_be_decided_is_told(make, monkeypatch, check):
    class Broken(oslo_policy.Check):
        def __call__(self, target, creds, enforcer, current_rule=None):
            raise OSError('secret')

    monkeypatch.setitem(_checks.registered_checks, 'broken', Broken)
    found = explain(make(f'get_image: "{check}"\n'), 'get_image', {'owner': 'x'})
    assert not found.allowed and found.part.allows is None
    assert 'secret' not in str(found)


@pytest.mark.parametrize(
    ('check', 'said'),
    [
        ('https://user:pass@host/p/%(owner)s', 'https://***@host/p/%(owner)s'),
        ('http://host/p?token=s3cret&x=1', 'http://host/p?***'),
        ('(role:a or http://u:p@host/?k=v)', '(role:a or http://***@host/?***)'),
        ('role:admin', 'role:admin'),
    ],
)
def test_secrets_in_urls_are_not_shown(make, check, said):
    assert shown(check) == said
    found = explain(make(f'get_image: "role:x and {check}"\n'), 'get_image', {})
    assert not {'pass', 's3cret', 'k=v', 'u:p'} & set(str(found).replace('@', ' ').split())
    assert 's3cret' not in str(found) and ':pass' not in str(found)
