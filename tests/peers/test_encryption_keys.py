# SPDX-License-Identifier: Apache-2.0
"""Deleting images of encrypted volumes in a Glance 33 and in glance-lite, with one Barbican."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import NamedTuple

import pytest

from glance_lite.layers.encryption_keys import KEY, POLICY
from tests.backends import keystone
from tests.peers import glance33, secrets
from tests.peers.lite import Who
from tests.peers.secrets import Setting

PAGE = glance33.ROOT / 'doc' / 'source' / 'differences.rst'


@pytest.fixture(scope='module')
def setting(tmp_path_factory):
    with secrets.running(tmp_path_factory) as setting:
        yield setting


def keep(it: Setting) -> str:
    return it.vault.store(it.token, payload='a key', payload_content_type='text/plain')


def foreign(it: Setting) -> str:
    return it.vault.store(it.bob.token(), payload='a key', payload_content_type='text/plain')


class Outcome(NamedTuple):
    """What a delete answers, and whether image and key are there afterwards."""

    status: int
    image: bool = False
    key: bool = True


class Case(NamedTuple):
    """A delete, and what comes of it in both; or how glance-lite differs on purpose."""

    outcome: Outcome
    policy: str | None = 'on_image_deletion'
    key: Callable[[Setting], str] = keep
    by: str = 'owner'
    key_manager: str = 'up'
    protected: bool = False
    ours: tuple[str, Outcome] | None = None


GONE = Outcome(204, key=False)
STAYS = Outcome(204)

CASES = {
    'on deletion': Case(GONE),
    'not on deletion': Case(STAYS, 'do_not_delete'),
    'no policy': Case(STAYS, None),
    'protected image': Case(Outcome(403, image=True), protected=True),
    'no such key': Case(GONE, key=lambda it: str(uuid.uuid4())),
    'id is none': Case(
        Outcome(500, image=True, key=False), key=lambda it: 'mine', ours=('id-of-no-key', GONE)
    ),
    'id is empty': Case(GONE, key=lambda it: ''),
    'key of another project': Case(STAYS, key=foreign),
    'by an administrator': Case(GONE, by='admin', ours=('key-of-another', STAYS)),
    'key manager is down': Case(STAYS, key_manager='down'),
    'key manager is broken': Case(STAYS, key_manager='broken'),
}


def outcome(it: Setting, client, case: Case) -> Outcome:
    key = case.key(it)
    properties = {KEY: key, 'protected': case.protected}
    if case.policy:
        properties[POLICY] = case.policy
    image = it.create(client, properties)
    who, token = it.who, it.token
    if case.by == 'admin':
        admin = keystone.cloud().admin
        who = Who(admin.current_project_id, 'admin,member,reader')
        token = admin.session.get_token()
    path = f'/v2/images/{image}'
    getattr(it.relay, case.key_manager)()
    try:
        answer = client.send(who, 'DELETE', path, headers={'X-Auth-Token': token})
    finally:
        it.relay.up()
    there = client.send(it.who, 'GET', path).status_code == 200
    owner = it.bob.token() if case.key is foreign else it.token
    return Outcome(answer.status_code, there, bool(key) and it.vault.has(owner, key))


@pytest.mark.peer
@pytest.mark.parametrize('name', CASES)
def test_same_ends_of_keys(setting, name):
    case = CASES[name]
    glance, ours = (outcome(setting, client, case) for client in setting.services)
    assert glance == case.outcome
    assert ours == (case.ours[1] if case.ours else case.outcome)


def test_each_difference_about_keys_is_told():
    told = re.findall(r'``test_same_ends_of_keys``: ``([a-z0-9-]+)``', PAGE.read_text())
    assert set(told) == {case.ours[0] for case in CASES.values() if case.ours}
