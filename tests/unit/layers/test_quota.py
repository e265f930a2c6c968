# SPDX-License-Identifier: Apache-2.0
"""Limits on images and projects."""

from __future__ import annotations

import pytest

from glance_lite.conf.quota import parse_size
from glance_lite.errors import ConfigurationError, LimitExceeded
from glance_lite.model import Changes, Query
from glance_lite.testing.layers import make_upload
from tests.unit.layers.conftest import admin, beta, owner

LAYERS = 'quota, location, db'
MEBIBYTE = 1 << 20


@pytest.fixture
def limited(make):
    return make(
        LAYERS,
        '[DEFAULT]\nimage_property_quota = 2\nimage_tag_quota = 2\nimage_member_quota = 1\n',
    )


def properties(*names):
    return dict.fromkeys(names, 'x')


def update(made, image, **kwargs):
    return made.outer.update_image(owner(), image.id, Changes(**kwargs))


# --- counts


@pytest.mark.parametrize(
    'changes',
    [
        Changes(properties=properties('a', 'b', 'c')),
        Changes(tags=frozenset('abc')),
        Changes(tags=frozenset('ab'), add_tags=frozenset('c')),
    ],
)
def test_an_image_with_too_much_is_not_made(limited, changes):
    with pytest.raises(LimitExceeded, match=r'2 .* this would make 3'):
        limited.outer.create_image(owner(), changes)
    assert not limited.outer.list_images(owner(), Query()).images


def test_an_image_may_have_as_much_as_the_limit(limited):
    changes = Changes(
        properties=properties('a', 'b'), tags=frozenset('ab'), add_tags=frozenset('b')
    )
    image = limited.outer.create_image(owner(), changes)
    assert (len(image.properties), len(image.tags)) == (2, 2)


@pytest.mark.parametrize(
    'changes',
    [
        Changes(properties=properties('c')),
        Changes(properties=properties('c', 'd'), remove=frozenset('a')),
        Changes(tags=frozenset('abc')),
        Changes(add_tags=frozenset('c')),
        Changes(add_tags=frozenset('cd'), remove_tags=frozenset('a')),
    ],
)
def test_an_image_does_not_grow_past_the_limit(limited, changes):
    image = limited.create(properties=properties('a', 'b'), tags='ab')
    with pytest.raises(LimitExceeded):
        limited.outer.update_image(owner(), image.id, changes)
    assert limited.now(image) == image


@pytest.mark.parametrize(
    'changes',
    [
        Changes(properties={'a': 'changed'}),
        Changes(properties=properties('c'), remove=frozenset('a')),
        Changes(tags=frozenset('cd')),
        Changes(add_tags=frozenset('ab')),
        Changes(add_tags=frozenset('c'), remove_tags=frozenset('a')),
        Changes(fields={'name': 'new'}),
    ],
)
def test_what_does_not_grow_is_allowed_at_the_limit(limited, changes):
    image = limited.create(properties=properties('a', 'b'), tags='ab')
    limited.outer.update_image(owner(), image.id, changes)
    now = limited.now(image)
    assert (len(now.properties), len(now.tags)) == (2, 2)


def test_a_limit_that_was_lowered_locks_nobody_out(limited):
    image = limited.create(properties=properties(*'abcd'), tags='abcd')
    update(limited, image, properties={'a': 'mended'}, add_tags=frozenset('a'))
    update(limited, image, remove=frozenset('b'), remove_tags=frozenset('b'))
    update(limited, image, properties=properties('e'), remove=frozenset('c'))
    with pytest.raises(LimitExceeded):
        update(limited, image, properties=properties('f'))
    now = limited.now(image)
    assert now.properties == {'a': 'mended', 'd': 'x', 'e': 'x'} and len(now.tags) == 3


def test_the_services_own_properties_do_not_count(limited):
    image = limited.create(properties=properties('os_glance_a', 'os_glance_b', 'a'))
    assert len(update(limited, image, properties=properties('b')).properties) == 4


def test_an_image_has_no_more_members_than_the_limit(limited):
    image = limited.create()
    limited.outer.add_member(owner(), image.id, 'beta')
    with pytest.raises(LimitExceeded):
        limited.outer.add_member(owner(), image.id, 'gamma')
    limited.outer.remove_member(owner(), image.id, 'beta')
    limited.outer.add_member(owner(), image.id, 'gamma')
    members = limited.outer.list_members(owner(), image.id)
    assert [member.member_id for member in members] == ['gamma']
    update(limited, image, add_tags=frozenset('a'))  # which adds no member


@pytest.mark.parametrize('limit', [-1, 0])
def test_less_than_zero_is_any_number_and_zero_is_none(make, limit):
    options = ('image_property_quota', 'image_tag_quota', 'image_member_quota')
    made = make(LAYERS, '[DEFAULT]\n' + ''.join(f'{name} = {limit}\n' for name in options))
    image = made.create()
    calls = [
        lambda: update(made, image, properties=properties('a')),
        lambda: update(made, image, tags=frozenset('a')),
        lambda: made.outer.add_member(owner(), image.id, 'beta'),
        lambda: made.outer.create_image(owner(), Changes(properties=properties('a'))),
    ]
    for call in calls:
        if limit:
            call()
        else:
            with pytest.raises(LimitExceeded):
                call()


# --- sizes


def refused(made, image, data, sized):
    """An upload that must be refused and leave nothing."""
    files = made.files()
    with pytest.raises(LimitExceeded) as caught:
        made.outer.upload(owner(), image.id, make_upload(data, sized), None)
    now = made.now(image)
    assert (now.status, now.size, now.checksum, now.locations) == ('queued', None, None, ())
    assert made.files() == files
    return caught.value


@pytest.mark.parametrize('sized', [True, False])
def test_an_image_is_no_larger_than_the_cap(make, sized):
    made = make(LAYERS, '[DEFAULT]\nimage_size_cap = 2000000\n')
    image = made.create()
    assert 'image_size_cap' in refused(made, image, bytes(2_000_001), sized).message
    made.outer.upload(owner(), image.id, make_upload(bytes(2_000_000), sized), None)
    assert made.now(image).size == 2_000_000


def test_of_what_is_declared_too_large_no_byte_is_read(make):
    made = make(LAYERS, '[DEFAULT]\nimage_size_cap = 10\n')
    image, upload = made.create(), make_upload(bytes(11))
    started = []
    upload.on_start(lambda: started.append(1))
    with pytest.raises(LimitExceeded):
        made.outer.upload(owner(), image.id, upload, None)
    assert not upload.count and not started
    assert made.now(image) == image


@pytest.mark.parametrize('sized', [True, False])
def test_a_project_has_no_more_than_its_share(make, sized):
    made = make(LAYERS, '[DEFAULT]\nuser_storage_quota = 3MB\n')
    made.active(bytes(2 * MEBIBYTE))
    image = made.create()
    message = refused(made, image, bytes(MEBIBYTE + 1), sized).message
    assert f'{MEBIBYTE} of {3 * MEBIBYTE} bytes left' in message
    made.outer.upload(owner(), image.id, make_upload(bytes(MEBIBYTE), sized), None)
    assert made.now(image).status == 'active'
    refused(made, made.create(), b'x', sized)


def test_more_than_the_whole_share_breaks_off_while_it_comes(make):
    made = make(LAYERS, '[DEFAULT]\nuser_storage_quota = 1MB\n')
    image, upload = made.create(), make_upload(bytes(5 * MEBIBYTE), sized=False)
    with pytest.raises(LimitExceeded):
        made.outer.upload(owner(), image.id, upload, None)
    assert upload.count <= 2 * MEBIBYTE
    assert made.now(image).status == 'queued' and made.files() == []


def test_what_is_deleted_or_refused_takes_no_room(make):
    made = make(LAYERS, '[DEFAULT]\nuser_storage_quota = 1MB\n')
    for _ in range(3):
        refused(made, made.create(), bytes(MEBIBYTE + 1), sized=False)
        image = made.create()
        made.outer.upload(owner(), image.id, make_upload(bytes(MEBIBYTE)), None)
        made.outer.delete_image(owner(), image.id)


def test_the_room_is_that_of_the_images_owner(make):
    """Whoever sends the bytes: each project has a share of its own."""
    made = make(LAYERS, '[DEFAULT]\nuser_storage_quota = 1MB\n')
    made.active(bytes(MEBIBYTE), project='operators')
    made.active(bytes(MEBIBYTE), project='beta')
    image = made.create()
    made.outer.upload(admin(), image.id, make_upload(bytes(MEBIBYTE)), None)
    refused(made, made.create(), b'x', sized=True)
    with pytest.raises(LimitExceeded):
        made.outer.upload(beta(), made.create('beta').id, make_upload(b'x'), None)


@pytest.mark.parametrize(
    ('text', 'size'),
    [('0', 0), ('17', 17), ('17B', 17), ('2KB', 2048), (' 3 mb ', 3 << 20), ('1GB', 1 << 30),
     ('2TB', 2 << 40)],
)  # fmt: skip
def test_sizes_have_units(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize('text', ['', 'GB', '-1', '1.5GB', '1PB', '1 G B', '0x10'])
def test_a_wrong_size_stops_the_start(make, text):
    with pytest.raises(ConfigurationError, match='user_storage_quota'):
        make(LAYERS, f'[DEFAULT]\nuser_storage_quota = {text}\n')
