# SPDX-License-Identifier: Apache-2.0
"""The compiled rules answer as oslo.policy does, for every rule, role and target."""

from __future__ import annotations

import http.server
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from typing import ClassVar
from urllib.parse import parse_qs

import hypothesis
import pytest
from hypothesis import strategies as st
from oslo_policy import _checks
from oslo_policy import policy as oslo_policy

from glance_lite import conf, policy
from glance_lite.context import RequestContext
from glance_lite.errors import Forbidden, Unavailable
from glance_lite.policy.compile import decision
from glance_lite.policy.enforcer import Enforcer
from glance_lite.policy.target import target_of
from glance_lite.testing.layers import make_image
from tests import sizes

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
    """Builds an enforcer of a policy file."""

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
            wanted = enforcer.loaded.oslo.enforce(name, target, ctx)
            assert enforcer.allowed(ctx, name, target) == bool(wanted), (name, caller, target)
            compared += 1
    assert compared > 5_000


def test_enforce_says_which_rule(make):
    ctx = RequestContext(roles=['reader'], overwrite=False)
    with pytest.raises(Forbidden, match='add_image'):
        make('').enforce(ctx, 'add_image', {'project_id': 'x', 'owner': 'x'})


def decided(enforcer, name, target, **caller):
    return enforcer.allowed(RequestContext(overwrite=False, **caller), name, target)


# --- checks as anybody may write them

WORDS = st.sampled_from(('alpha', 'beta', 'admin', 'ops', 'public', 'True', 'None', '', 'é'))
KEYS = st.sampled_from(('project_id', 'owner', 'visibility', 'member_id', 'missing', 'count'))
MATCHES = st.one_of(
    WORDS,
    KEYS.map('%({})s'.format),
    st.tuples(WORDS, KEYS).map('{0[0]}-%({0[1]})s'.format),
    st.sampled_from(('%(count)d', '%(owner)d', '100%', '%%', '%(owner)', '%s')),
)
KINDS = st.one_of(
    st.sampled_from(
        ('role', 'rule', 'project_id', 'user_id', 'roles', 'is_admin', 'nobody', 'a.b')
    ),
    st.sampled_from(("'alpha'", 'True', 'None', '1', "'é'", '1x', 'roles.x', 'user_id.x')),
)
LEAVES = st.one_of(
    st.sampled_from(('@', '!')),
    st.tuples(KINDS, MATCHES).map(':'.join),
    st.sampled_from(('rule:a', 'rule:b', 'rule:c', 'rule:unheard_of', 'rule:context_is_admin')),
)
CHECKS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map('not ({})'.format),
        st.lists(inner, min_size=2, max_size=4).map(lambda some: f'({" and ".join(some)})'),
        st.lists(inner, min_size=2, max_size=4).map(lambda some: f'({" or ".join(some)})'),
    ),
    max_leaves=8,
)


@hypothesis.settings(
    max_examples=sizes.full(300, 5000),
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(
    st.fixed_dictionaries(dict.fromkeys(('a', 'b', 'c'), CHECKS)),
    st.fixed_dictionaries(
        {},
        optional={
            'project_id': WORDS, 'owner': WORDS, 'visibility': WORDS, 'member_id': st.none(),
            'count': st.integers(0, 3),
        },
    ),
    st.sampled_from(ROLES),
    WORDS,
)  # fmt: skip
def test_answers_are_oslo_policys_for_any_check(rules, target, roles, who):
    """What oslo.policy answers; and no where it ends in a traceback."""
    oslo = oslo_policy.Enforcer(conf.parse(conf.new(), []), use_conf=False)
    oslo.register_defaults(policy.list_rules())
    oslo.set_rules(oslo_policy.Rules.from_dict({**rules, 'context_is_admin': 'role:admin'}))
    creds = {
        'roles': [role.lower() for role in roles], 'project_id': who, 'user_id': who,
        'is_admin': False, 'a': {'b': who},
    }  # fmt: skip
    for name in rules:
        try:
            wanted = bool(oslo.enforce(name, target, dict(creds)))
        except Exception:
            wanted = False
        assert decision(oslo, name)(target, creds) is wanted, (name, rules[name])


@pytest.mark.parametrize(
    'check', ['rule:a', 'not rule:a', '1x:%(owner)s', "not 1x:x", "'x':%(owner)d", "not 'x':100%",
              'user_id.x:1', 'not user_id.x:1'],
)  # fmt: skip
def test_what_cannot_be_decided_is_refused(make, check, caplog):
    """It is not allowed by a ``not`` either. oslo.policy ends in a traceback: 500."""
    enforcer = make(f'a: "{check}"\nget_image: "rule:a"\n')
    target = {'owner': 'x'}
    assert not decided(enforcer, 'get_image', target, user_id='u', roles=['admin'])
    assert 'get_image cannot be decided' in caplog.text
    enforcer = make(f'a: "{check}"\nget_image: "role:admin or rule:a"\n')
    assert decided(enforcer, 'get_image', target, user_id='u', roles=['admin'])


# --- checks of others


class Odd(oslo_policy.Check):
    """As an operator's package has one: somebody, in an image of that size."""

    seen: ClassVar[list] = []

    def __call__(self, target, creds, enforcer, current_rule=None):
        self.seen.append((current_rule, dict(target), dict(creds)))
        return creds['user_id'] == self.match


@pytest.fixture
def odd(monkeypatch):
    monkeypatch.setitem(_checks.registered_checks, 'odd', Odd)
    Odd.seen.clear()
    return Odd


def test_a_check_nobody_knows_is_called(make, odd):
    enforcer = make('get_image: "rule:inner"\ninner: "odd:someone"\n')
    image = make_image('i1', name='n', size=5, properties={'os_distro': 'debian'})
    for user, wanted in (('someone', True), ('other', False)):
        ctx = RequestContext(user_id=user, project_id='beta', overwrite=False)
        assert enforcer.allowed(ctx, 'get_image', target_of(ctx, image)) is wanted
    rule, target, creds = odd.seen[0]
    assert rule == 'get_image', 'the rule that is asked for, not the one it stands in'
    assert target['os_distro'] == 'debian' and target['size'] == 5 and target['member_id'] == 'beta'
    assert 'locations' not in target and creds['project_id'] == 'beta'


def test_a_check_that_fails_is_not_a_refusal(make, monkeypatch, caplog):
    class Broken(oslo_policy.Check):
        def __call__(self, target, creds, enforcer, current_rule=None):
            raise OSError('https://user:password@policy.example/ does not answer')

    monkeypatch.setitem(_checks.registered_checks, 'broken', Broken)
    enforcer = make('get_image: "not broken:x"\n')
    with pytest.raises(Unavailable) as caught:
        decided(enforcer, 'get_image', {})
    assert 'password' not in caught.value.message + caplog.text
    assert 'OSError' in caplog.text


def test_an_old_kind_of_check_is_called(make, monkeypatch):
    class Old(oslo_policy.Check):
        def __call__(self, target, creds, enforcer):
            return self.match == target['owner']

    monkeypatch.setitem(_checks.registered_checks, 'old', Old)
    enforcer = make('get_image: "old:alpha"\n')
    assert decided(enforcer, 'get_image', {'owner': 'alpha'})
    assert not decided(enforcer, 'get_image', {'owner': 'beta'})


def test_a_check_that_asks_the_enforcer_finds_all_rules(make, monkeypatch):
    class Asking(oslo_policy.Check):
        def __call__(self, target, creds, enforcer, current_rule=None):
            return enforcer.enforce(self.match, target, creds)

    monkeypatch.setitem(_checks.registered_checks, 'asking', Asking)
    enforcer = make('get_image: "asking:mine"\nmine: "role:ops"\n')
    assert decided(enforcer, 'get_image', {}, roles=['ops'])
    assert not decided(enforcer, 'get_image', {}, roles=['member'])


def test_a_check_of_an_installed_package_is_called(tmp_path):
    """By its entry point, as oslo.policy finds it."""
    (tmp_path / 'acme.py').write_text(
        'from oslo_policy import policy\n'
        'class Weekday(policy.Check):\n'
        '    def __call__(self, target, creds, enforcer, current_rule=None):\n'
        '        return self.match == target["day"]\n'
    )
    info = tmp_path / 'acme-1.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: acme\nVersion: 1\n')
    (info / 'entry_points.txt').write_text('[oslo.policy.rule_checks]\nweekday = acme:Weekday\n')
    (tmp_path / 'policy.yaml').write_text('get_image: "weekday:monday"\n')
    code = (
        'from glance_lite import conf; from glance_lite.context import RequestContext\n'
        'from glance_lite.policy.enforcer import Enforcer\n'
        f'made = conf.parse(conf.new(), ["--config-dir", "{tmp_path}"])\n'
        'enforcer = Enforcer(made); enforcer.start(); ctx = RequestContext()\n'
        'for day in ("monday", "sunday"):\n'
        '    print(enforcer.allowed(ctx, "get_image", {"day": day}))\n'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
    )
    assert done.stdout == 'True\nFalse\n', done.stderr


class Decider(http.server.BaseHTTPRequestHandler):
    """A policy server: alpha may."""

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers['Content-Length'])).decode())
        self.server.asked.append({name: json.loads(value) for name, (value,) in form.items()})
        self.send_response(200)
        self.end_headers()
        may = json.loads(form['target'][0])['owner'] == 'alpha' and self.path == '/queued'
        self.wfile.write(b'True' if may else b'False')

    def log_message(self, *args):
        pass


@pytest.fixture
def decider():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Decider)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_decides_is_asked(make, decider):
    url = f'http://127.0.0.1:{decider.server_port}'
    enforcer = make(f'get_image: "role:admin or {url}/%(status)s"\n')
    for owner, wanted in (('alpha', True), ('beta', False)):
        image = make_image('i1', owner=owner, status='queued')
        ctx = RequestContext(user_id='u', project_id='beta', roles=['reader'], overwrite=False)
        assert enforcer.allowed(ctx, 'get_image', target_of(ctx, image)) is wanted
    asked = decider.asked[0]
    assert asked['rule'] == 'get_image' and asked['credentials']['user_id'] == 'u'
    assert asked['target']['image_id'] == 'i1' and asked['target']['os_distro'] == 'debian'
    assert not {'auth_token', 'locations'} & {*asked['credentials'], *asked['target']}
    assert decided(enforcer, 'get_image', {}, roles=['admin'])
    assert len(decider.asked) == 2, 'nobody asks where the answer is known'


def test_a_server_that_decides_and_is_down_is_503(make):
    with socket.socket() as nobody:
        nobody.bind(('127.0.0.1', 0))
        enforcer = make(f'get_image: "http://127.0.0.1:{nobody.getsockname()[1]}/x"\n')
        with pytest.raises(Unavailable):
            decided(enforcer, 'get_image', {'owner': 'alpha'})


def test_an_enforcement_is_few_calls(make):
    enforcer = make('')
    ctx = RequestContext(roles=['member', 'reader'], project_id='alpha', overwrite=False)
    target = TARGETS[1]
    enforcer.allowed(ctx, 'get_image', target)
    calls = []
    sys.setprofile(lambda frame, event, arg: calls.append(event) if event == 'call' else None)
    enforcer.allowed(ctx, 'get_image', target)
    sys.setprofile(None)
    assert len(calls) <= 12
