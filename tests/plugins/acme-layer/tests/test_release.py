# SPDX-License-Identifier: Apache-2.0
"""The layer against the conformance kit, and what it alone does."""

from __future__ import annotations

import pytest
from acme_layer.release import Release, tags_after

from glance_lite.errors import ConfigurationError, Forbidden
from glance_lite.layer import link
from glance_lite.model import Changes
from glance_lite.testing.layers import LayerConformance, Recorder, caller, make_image, make_parts

BOTH = frozenset({'tested', 'licensed'})
PUBLIC = {'visibility': 'public'}


class TestConformance(LayerConformance):
    layer = Release


class TestExemptConformance(LayerConformance):
    layer = Release
    configuration = '[acme_release]\nexempt_role = member\n'


class Images(Recorder):
    """What is further in, with one image of a certain kind."""

    def __init__(self, **fields):
        super().__init__()
        self.fields = fields

    def peek(self, ctx, image_id):
        return make_image(image_id, **self.fields)


def chain(tmp_path, configuration='', **fields):
    layer = Release(make_parts(tmp_path, configuration))
    layer.name = 'acme_release'
    return link([layer, Images(**fields)]).outer


@pytest.mark.parametrize(
    ('changes', 'refused'),
    [
        (Changes(), False),
        (Changes(fields=PUBLIC), True),
        (Changes(fields=PUBLIC, tags=frozenset({'tested'})), True),
        (Changes(fields=PUBLIC, tags=BOTH), False),
        (Changes(fields={'visibility': 'community'}), False),
    ],
)
def test_create(tmp_path, changes, refused):
    outer = chain(tmp_path)
    if refused:
        with pytest.raises(Forbidden, match='needs the tags'):
            outer.create_image(caller(), changes)
    else:
        outer.create_image(caller(), changes)


@pytest.mark.parametrize(
    ('visibility', 'tags', 'changes', 'missing'),
    [
        ('shared', (), Changes(fields=PUBLIC), 'licensed, tested'),
        ('shared', ('tested',), Changes(fields=PUBLIC), 'licensed'),
        ('shared', ('tested',), Changes(fields=PUBLIC, add_tags=frozenset({'licensed'})), None),
        ('shared', tuple(BOTH), Changes(fields=PUBLIC), None),
        ('shared', tuple(BOTH), Changes(fields=PUBLIC, tags=frozenset()), 'licensed, tested'),
        ('shared', tuple(BOTH), Changes(remove_tags=frozenset({'tested'})), None),
        ('public', tuple(BOTH), Changes(remove_tags=frozenset({'tested'})), 'tested'),
        ('public', tuple(BOTH), Changes(tags=BOTH | {'more'}), None),
        ('public', (), Changes(fields={'name': 'older than the rule'}), None),
        ('public', (), Changes(fields={'visibility': 'private'}, tags=frozenset()), None),
    ],
)
def test_update(tmp_path, visibility, tags, changes, missing):
    outer = chain(tmp_path, visibility=visibility, tags=tags)
    if missing:
        with pytest.raises(Forbidden, match=f'needs the tags {missing}$'):
            outer.update_image(caller(), 'an-id', changes)
    else:
        outer.update_image(caller(), 'an-id', changes)


def test_the_exempt_role(tmp_path):
    outer = chain(tmp_path, '[acme_release]\nexempt_role = release_manager\n')
    outer.create_image(caller('alpha', 'release_manager'), Changes(fields=PUBLIC))
    with pytest.raises(Forbidden):
        outer.create_image(caller('alpha', 'admin'), Changes(fields=PUBLIC))


def test_without_tags_to_ask_for_it_is_left_out(tmp_path):
    assert not Release(make_parts(tmp_path, '[acme_release]\nrequired_tags =\n')).acts()


def test_a_bad_value_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match=r'conf: \[acme_release\] required_tags: '):
        Release(make_parts(tmp_path, f'[acme_release]\nrequired_tags = {"x" * 256}\n'))


def test_tags_after():
    changes = Changes(tags=frozenset('ab'), add_tags=frozenset('c'), remove_tags=frozenset('a'))
    assert tags_after(frozenset('xyz'), changes) == frozenset('bc')
