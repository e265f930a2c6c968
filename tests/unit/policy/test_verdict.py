# SPDX-License-Identifier: Apache-2.0
"""What is explained is what is answered: verdicts beside what the real layers do."""

from __future__ import annotations

import itertools

import pytest

from glance_lite.context import service_context
from glance_lite.errors import Forbidden, GlanceLiteError, NotFound
from glance_lite.model import Changes, LocationStep, NewLocation
from glance_lite.policy.verdict import (
    ALLOWED,
    FORBIDDEN,
    HIDDEN,
    OWNED,
    OWNED_BEFORE,
    Judge,
    image_of,
    nothing,
)
from glance_lite.testing.layers import caller
from tests.sizes import full
from tests.unit.layers import test_policy
from tests.unit.layers.conftest import admin, beta, make, nobody, owner
from tests.unit.layers.test_policy import OLD_DEFAULTS, ON_AN_IMAGE

assert make  # a fixture of the layers' tests

LAYERS = 'auth, ' + test_policy.LAYERS

#: Operations by rule. No operation asks get_image_location alone.
OPERATIONS = {
    rule: (name, arguments) for name, rule, arguments in ON_AN_IMAGE if rule != 'get_image_location'
}
OPERATIONS['get_image'] = ('get_image', lambda: ())
OPERATIONS['get_member'] = ('get_member', lambda: ('beta',))
STEP = LocationStep('add', values=(NewLocation('http://images.example/x'),))
OPERATIONS['set_image_location'] = ('update_image', lambda: (Changes(locations=(STEP,)),))
#: Allowed to all, where an operation asks it beside the rule in question.
BESIDE = {
    'publicize_image': ('modify_image',),
    'communitize_image': ('modify_image',),
    'download_from_store': ('download_image',),
    'delete_image_location': ('get_image_location',),
    'get_members': ('get_member',),
}
RULES = (
    None, '@', '!', 'role:member and project_id:%(project_id)s', "not 'private':%(visibility)s",
    'role:admin',
)  # fmt: skip


def reader():
    return caller('alpha', 'reader')


def answer(made, ctx, image, name, arguments):
    """How an operation is answered, as a status."""
    try:
        getattr(made.outer, name)(ctx, image.id, *arguments())
    except NotFound as ex:
        # Of the second store there is nothing, which is not the policy's doing.
        return ALLOWED if 'store' in ex.message else HIDDEN
    except Forbidden as ex:
        # Nor is that a last copy stays.
        return ALLOWED if 'last' in ex.message else FORBIDDEN
    except GlanceLiteError:
        return ALLOWED
    return ALLOWED


@pytest.mark.parametrize('text', full([''], ['', OLD_DEFAULTS]), ids=full(['new'], ['new', 'old']))
@pytest.mark.parametrize('rule', sorted(OPERATIONS))
def test_a_verdict_is_what_the_layers_answer(make, rule, text):
    name, arguments = OPERATIONS[rule]
    compared = set()
    for check, hidden in itertools.product(RULES, (None, '!')):
        said = {rule: check, 'get_image': hidden, **dict.fromkeys(BESIDE.get(rule, ()), '@')}
        if rule == 'get_image':
            said = {rule: hidden or check}
        made = make(LAYERS, text, rules={one: check for one, check in said.items() if check})
        judge = Judge(made.parts.enforcer)
        for visibility, who in itertools.product(
            ('private', 'shared', 'public'), (owner, admin, beta, reader)
        ):
            image = made.active(visibility=visibility)
            if visibility == 'shared':
                made.db.add_member(admin(), image.id, 'beta')
            subject = image_of(made.db, who(), service_context(), image.id)
            verdict = judge.verdict(who(), rule, subject)
            got = answer(made, who(), image, name, arguments)
            assert verdict.status == got, (check, hidden, visibility, who, verdict)
            compared.add(got)
    assert {ALLOWED, HIDDEN} <= compared


def test_data_of_a_deactivated_image(make):
    made = make(LAYERS)
    image = made.active()
    made.db.set_active(admin(), image.id, False)
    for who, status in ((owner, FORBIDDEN), (admin, ALLOWED)):
        subject = image_of(made.db, who(), service_context(), image.id)
        verdict = Judge(made.parts.enforcer).verdict(who(), 'download_image', subject)
        assert verdict.status == status == answer(made, who(), image, *OPERATIONS['download_image'])
    assert verdict.explanation.allowed, 'the rule alone allows it to both'


@pytest.mark.parametrize(
    ('text', 'owned'), [('', OWNED), (OLD_DEFAULTS, OWNED | OWNED_BEFORE)], ids=['new', 'old']
)
def test_rules_beside_which_ownership_counts_are_those_of_the_layers(make, text, owned):
    """A rule that allows all, asked by a member of another project."""
    made = make(LAYERS, text, rules=dict.fromkeys(OPERATIONS, '@'))
    found = set()
    for rule, (name, arguments) in OPERATIONS.items():
        image = made.active(visibility='shared')
        made.db.add_member(admin(), image.id, 'beta')
        if answer(made, beta(), image, name, arguments) == FORBIDDEN:
            found.add(rule)
    assert found == owned


def test_what_is_not_there_yet():
    ctx = owner()
    assert nothing(ctx, 'add_image', {}).target == {
        'project_id': 'alpha', 'owner': 'alpha', 'visibility': 'private'
    }  # fmt: skip
    assert nothing(ctx, 'add_image', {'owner': 'beta'}).target['project_id'] == 'beta'
    assert nothing(ctx, 'get_images', {}).target == {'project_id': 'alpha'}
    assert nothing(ctx, 'add_metadef_tag', {}).target == {'project_id': 'alpha'}
    for rule in ('tasks_api_access', 'stores_info_detail', 'cache_list'):
        assert nothing(nobody(), rule, {}).target == {}
