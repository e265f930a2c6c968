# SPDX-License-Identifier: Apache-2.0
"""Property protections: the file, what is hidden, and what cannot be written."""

from __future__ import annotations

import pytest

from glance_lite.context import RequestContext
from glance_lite.errors import ConfigurationError, Conflict, Forbidden, ImageNotFound
from glance_lite.layer import overrides
from glance_lite.layers.property_protection import PropertyProtection
from glance_lite.model import Changes, Page, Query, Wanted
from glance_lite.operations import OPERATIONS, is_inner
from glance_lite.testing.layers import caller, make_upload
from tests.unit.layers.conftest import admin, beta, owner

LAYERS = 'property_protection, policy, location, db'
WITHOUT_POLICY = 'property_protection, location, db'
ALL = 'create = @\nread = @\nupdate = @\ndelete = @\n'

#: secret_*: operators only. label_*: all read, members write. fixed_*: made once, never changed.
#: dark_*: everybody writes and only operators read. The rest is everybody's but blocked_*.
FILE = """
[^secret_]
create = operator
read = operator
update = operator
delete = operator
[^label_]
create = operator,MEMBER
read = @
update = operator, member
delete = operator
[^fixed_]
create = @
read = @
update = !
delete = !
[^dark_]
create = @
read = operator
update = @
delete = @
[^(?!blocked_)]
create = @
read = @
update = @
delete = @
"""
HIDDEN = {'secret_key': 'x', 'dark_note': 'y', 'blocked_by_nothing': 'z'}
SHOWN = {'label_a': '1', 'fixed_b': '2', 'os_distro': 'debian'}


def operator():
    return caller('alpha', 'member', 'reader', 'operator')


@pytest.fixture
def protect(make, tmp_path):
    """A chain with a property protection file."""

    def build(file=FILE, form='roles', layers=LAYERS, **kwargs):
        path = tmp_path / 'protections.conf'
        path.write_text(file)
        text = (
            f'[DEFAULT]\nproperty_protection_file = {path}\n'
            f'property_protection_rule_format = {form}\n'
        )
        return make(layers, text, **kwargs)

    return build


@pytest.fixture
def made(protect):
    return protect()


@pytest.fixture
def image(made):
    return made.create(properties={**HIDDEN, **SHOWN})


def update(made, ctx, image, **kwargs):
    return made.outer.update_image(ctx, image.id, Changes(**kwargs))


def test_without_a_file_it_is_left_out_of_the_chain(make):
    made = make(LAYERS)
    assert not made.layer('property_protection').acts()
    image = made.create(properties=HIDDEN)
    assert made.outer.get_image(owner(), image.id).properties == HIDDEN


# --- what is hidden


def test_hidden_properties_are_in_no_answer(made, image):
    """Every operation that gives an image, or something an image hangs on."""
    ctx, full = owner, made.create(properties=HIDDEN)
    assert made.outer.get_image(ctx(), image.id).properties == SHOWN
    assert made.outer.peek(ctx(), image.id).properties == SHOWN
    (listed,) = made.outer.list_images(ctx(), Query(properties={'label_a': '1'})).images
    assert listed.properties == SHOWN
    assert update(made, ctx(), image, fields={'name': 'new'}).properties == SHOWN
    assert made.outer.upload(ctx(), full.id, make_upload(), None).properties == {}
    assert made.outer.set_active(ctx(), full.id, True).properties == {}
    download = made.outer.download(ctx(), full.id, Wanted())
    download.close()
    assert download.image.properties == {}
    members = [
        made.outer.add_member(ctx(), image.id, 'beta'),
        made.outer.get_member(ctx(), image.id, 'beta'),
        made.outer.update_member(beta(), image.id, 'beta', 'accepted'),
        *made.outer.list_members(ctx(), image.id),
        made.outer.remove_member(ctx(), image.id, 'beta'),
    ]
    assert [member.image.properties for member in members] == [SHOWN] * 5


def test_every_operation_that_gives_an_image_is_looked_at():
    """What an operation gives is in its annotation."""
    giving = {'Image', 'Page', 'Member', 'tuple[Member, ...]', 'Download'}
    found = {
        name
        for name, contract in OPERATIONS.items()
        if contract.__annotations__['return'] in giving and (name == 'peek' or not is_inner(name))
    }
    assert len(found) > 10 and found <= set(overrides(PropertyProtection))


def test_who_may_read_sees_them(made, image):
    visible = {**SHOWN, 'secret_key': 'x', 'dark_note': 'y'}
    assert made.outer.get_image(operator(), image.id).properties == visible


def test_a_property_that_no_section_matches_is_nobodys(made, image):
    assert 'blocked_by_nothing' not in made.outer.get_image(operator(), image.id).properties
    with pytest.raises(Forbidden):
        made.outer.create_image(operator(), Changes(properties={'blocked_x': '1'}))


def test_the_first_section_that_matches_decides(protect):
    section = 'create = {0}\nread = {0}\nupdate = {0}\ndelete = {0}\n'
    file = f'[tail$]\n{section.format("@")}[^head]\n{section.format("!")}'
    made = protect(file)
    image = made.create(properties={'head_tail': '1', 'head': '2', 'a_tail': '3'})
    shown = made.outer.get_image(owner(), image.id).properties
    assert shown == {'head_tail': '1', 'a_tail': '3'}


def test_the_services_own_properties_pass(protect):
    made = protect('[.*]\ncreate = !\nread = !\nupdate = !\ndelete = !\n')
    image = made.create(properties={'os_glance_import_task': 'x', 'other': 'y'})
    assert made.outer.get_image(owner(), image.id).properties == {'os_glance_import_task': 'x'}


@pytest.mark.parametrize('name', ['secret_key', 'dark_note', 'blocked_by_nothing'])
def test_filter_on_hidden_property_reveals_nothing(made, image, name):
    """The right value, a wrong one and a name that no image has give the same page."""

    def page(properties, **kwargs) -> Page:
        return made.outer.list_images(owner(), Query(properties=properties, **kwargs))

    nothing = page({'never_heard_of': 'x'})
    assert page({name: HIDDEN[name]}) == nothing
    assert page({name: 'wrong'}) == nothing
    assert page({name: HIDDEN[name], 'label_a': '1'}) == nothing
    assert page({'label_a': '1', name: 'wrong'}) == nothing
    assert page({name: HIDDEN[name]}, limit=1) == page({'never_heard_of': 'x'}, limit=1)
    assert not nothing.images and not nothing.full


def test_filter_on_a_readable_property_finds(made, image):
    found = made.outer.list_images(operator(), Query(properties={'secret_key': 'x'})).images
    assert [one.id for one in found] == [image.id]


# --- what cannot be written


def test_hidden_property_survives_foreign_patch(made, image):
    """What a caller does not see is still there after it has changed all that it sees."""
    changes = Changes(
        fields={'name': 'new'},
        properties={'label_a': 'changed', 'another': 'one'},
        remove=frozenset({'os_distro'}),
        tags=frozenset({'only'}),
    )
    shown = made.outer.update_image(owner(), image.id, changes)
    assert shown.properties == {'label_a': 'changed', 'fixed_b': '2', 'another': 'one'}
    assert made.now(image).properties == {**shown.properties, **HIDDEN}


@pytest.mark.parametrize(
    'changes',
    [
        Changes(properties={'secret_key': 'mine'}),
        Changes(properties={'secret_new': 'mine'}),
        Changes(remove=frozenset({'secret_key'})),
        Changes(remove=frozenset({'label_a'})),
        Changes(properties={'fixed_b': 'changed'}),
        Changes(remove=frozenset({'fixed_b'})),
        # Anybody may write it, but not over what it cannot see.
        Changes(properties={'dark_note': 'mine'}),
        Changes(remove=frozenset({'dark_note'})),
        Changes(properties={'label_a': 'fine', 'secret_key': 'mine'}),
        Changes(fields={'name': 'fine'}, properties={'blocked_x': 'mine'}),
    ],
    ids=lambda changes: ' '.join(sorted(changes.touched)),
)
def test_a_refused_change_changes_nothing(made, image, changes):
    with pytest.raises(Forbidden, match='protected'):
        made.outer.update_image(owner(), image.id, changes)
    assert made.now(image) == image


@pytest.mark.parametrize(
    'changes',
    [
        Changes(properties={'secret_key': 'mine'}),
        Changes(properties={'dark_note': 'mine'}, require=frozenset({'dark_note'})),
    ],
    ids=['forbidden', 'conflict'],
)
def test_an_image_that_policy_hides_is_not_there_whatever_else_is_wrong(protect, changes):
    made = protect(rules={'get_image': '!'})
    image = made.create(properties=HIDDEN)
    with pytest.raises(ImageNotFound):
        made.outer.update_image(owner(), image.id, changes)
    assert made.now(image) == image


def test_refusing_does_not_tell_whether_a_hidden_property_is_there(made, image):
    """Same class, same text, for a name that is there and one that is not."""
    told = []
    for name in ('secret_key', 'secret_not'):
        for changes in (
            Changes(properties={name: 'x'}),
            Changes(properties={name: 'x'}, absent=frozenset({name})),
            Changes(remove=frozenset({name})),
        ):
            with pytest.raises(Forbidden) as caught:
                made.outer.update_image(owner(), image.id, changes)
            told.append(caught.value.message.replace('secret_not', 'secret_key'))
    assert len(set(told)) == 1


def test_who_may_not_change_the_image_is_told_that(made, image):
    """Before whether there is such a property, as where there are no protections."""
    reader = caller('alpha', 'reader')
    for name in ('secret_key', 'label_a', 'missing'):
        with pytest.raises(Forbidden):
            update(made, reader, image, properties={name: 'x'}, require=frozenset({name}))


def test_what_is_not_there_is_missing_whoever_might_make_it(made, image):
    for name in ('secret_other', 'blocked_other', 'label_other'):
        for kwargs in ({'properties': {name: 'x'}}, {'remove': frozenset({name})}):
            with pytest.raises(Conflict):
                update(made, owner(), image, require=frozenset({name}), **kwargs)


@pytest.mark.parametrize('name', ['secret_key', 'dark_note'])
def test_replacing_or_removing_what_one_cannot_see_is_a_conflict_as_if_it_were_missing(
    made, image, name
):
    missing = 'quite_missing'
    for kwargs in ({'properties': {name: 'x'}}, {'remove': frozenset({name})}):
        with pytest.raises(Conflict):
            update(made, owner(), image, require=frozenset({name}), **kwargs)
    with pytest.raises(Conflict):
        update(made, owner(), image, require=frozenset({missing}), remove=frozenset({missing}))
    assert made.now(image) == image


def test_what_is_allowed_is_written(made, image):
    assert update(made, owner(), image, properties={'label_c': 'new'}).properties['label_c']
    update(made, owner(), image, properties={'fixed_c': 'once', 'dark_new': 'written blind'})
    update(made, operator(), image, properties={'secret_key': 'changed'})
    update(made, operator(), image, remove=frozenset({'label_a', 'dark_note'}))
    now = made.now(image).properties
    assert now['secret_key'] == 'changed' and now['dark_new'] == 'written blind'
    assert not {'label_a', 'dark_note'} & now.keys()


def test_a_refused_image_is_not_made(made):
    with pytest.raises(Forbidden):
        made.outer.create_image(owner(), Changes(properties={'os_distro': 'a', 'secret_x': 'b'}))
    assert not made.outer.list_images(operator(), Query()).images
    image = made.outer.create_image(owner(), Changes(properties={'dark_x': '1', 'ok': '2'}))
    assert image.properties == {'ok': '2'}
    assert made.now(image).properties == {'dark_x': '1', 'ok': '2'}


# --- policy rules instead of roles


def test_sections_may_name_policy_rules(protect):
    file = '[.*]\ncreate = @\nread = readers_of_it\nupdate = writers_of_it\ndelete = !\n'
    rules = {'readers_of_it': 'role:operator', 'writers_of_it': 'rule:readers_of_it'}
    made = protect(file, 'policies', rules=rules)
    image = made.create(properties={'a': '1'})
    assert made.outer.get_image(owner(), image.id).properties == {}
    assert made.outer.get_image(operator(), image.id).properties == {'a': '1'}
    assert update(made, operator(), image, properties={'a': '2'}).properties == {'a': '2'}
    with pytest.raises(Forbidden):
        update(made, operator(), image, remove=frozenset('a'))


def test_rules_of_sections_are_asked_about_nothing(protect):
    """As in Glance: a rule that asks for the image or its project is not true of anybody else."""
    file = f'[own]\n{ALL.replace("@", "modify_image")}[.*]\n{ALL.replace("@", "owners")}'
    made = protect(file, 'policies', rules={'owners': 'project_id:%(project_id)s'})
    image = made.create(properties={'own': '1', 'other': '2'})
    assert made.outer.get_image(owner(), image.id).properties == {}
    assert made.outer.get_image(admin(), image.id).properties == {'own': '1'}


def test_scopes_do_not_matter_to_rules_of_sections(protect):
    made = protect(f'[.*]\n{ALL.replace("@", "get_image")}', 'policies', layers=WITHOUT_POLICY)
    image = made.create(properties={'a': '1'}, visibility='public')
    system = RequestContext(system_scope='all', roles=['admin'], overwrite=False)
    assert made.outer.get_image(system, image.id).properties == {'a': '1'}


def test_a_policy_rule_that_nobody_has_defined_stops_the_start(protect):
    """oslo.policy would take the rule ``default`` for it, which lets everybody do everything."""
    file = f'[^a]\n{ALL}\n[^b]\n{ALL.replace("read = @", "read = raeders")}'
    with pytest.raises(ConfigurationError, match=r'\.conf:9: \[\^b\] read: .* raeders'):
        protect(file, 'policies', rules={'readers': '@'})
    protect(file, 'policies', rules={'default': 'role:admin'})


def test_a_policy_rule_that_is_gone_is_nobodys(protect, tmp_path):
    made = protect(f'[.*]\n{ALL.replace("@", "mine")}', 'policies', rules={'mine': '@'})
    image = made.create(properties={'a': '1'})
    assert made.outer.get_image(owner(), image.id).properties == {'a': '1'}
    (tmp_path / 'policy.yaml').write_text('{}')
    made.parts.enforcer.start()
    assert made.outer.get_image(owner(), image.id).properties == {}


@pytest.mark.parametrize('form', ['roles', 'policies'])
def test_roles_of_a_service_that_asks_for_somebody_count(protect, form):
    made = protect(f'[.*]\n{ALL.replace("@", "trusted")}', form, rules={'trusted': 'role:trusted'})
    image = made.create(properties={'a': '1'})

    def asking(*roles, services=()):
        return caller('alpha', 'member', 'reader', *roles, service_roles=list(services))

    for ctx, shown in (
        (asking(), {}),
        (asking('trusted'), {'a': '1'}),
        (asking(services=['trusted']), {'a': '1'}),
        (asking(services=['service']), {}),
    ):
        assert made.outer.get_image(ctx, image.id).properties == shown
        assert 'trusted' not in ctx.roles or not ctx.service_roles, 'they stay what they are'


def test_rules_see_what_protections_hide(protect):
    """Glance's do not, and so allow what they forbid."""
    made = protect(rules={'download_image': "not 'x':%(secret_key)s"})
    image = made.active()
    assert made.read(image) == b'some data'
    update(made, operator(), image, properties={'secret_key': 'x'})
    assert 'secret_key' not in made.outer.get_image(owner(), image.id).properties
    with pytest.raises(Forbidden):
        made.read(image)


# --- the file


def test_sections_may_have_defaults_and_names_for_values(protect):
    """As configparser, and so Glance, reads them."""
    file = f'[DEFAULT]\nops = operator, Admin\n{ALL.replace("@", "%(ops)s")}[^a]\n[^b]\nread = @\n'
    made = protect(file)
    image = made.create(properties={'a': '1', 'b': '2'})
    assert made.outer.get_image(owner(), image.id).properties == {'b': '2'}
    assert made.outer.get_image(operator(), image.id).properties == {'a': '1', 'b': '2'}


def test_the_last_word_of_nobody_counts(protect):
    made = protect(f'[a]\n{ALL.replace("@", "member, !")}[b]\n{ALL.replace("@", "")}')
    image = made.create(properties={'a': '1', 'b': '2'})
    assert made.outer.get_image(operator(), image.id).properties == {}


def test_sections_about_the_services_own_properties_do_not_count(protect):
    made = protect(f'[os_glance_x]\nread = nobody\n[.*]\n{ALL}')
    image = made.create(properties={'os_glance_x': '1', 'my_os_glance_x': '2'})
    assert made.outer.get_image(owner(), image.id).properties == image.properties


def test_properties_that_only_contain_the_services_prefix_are_protected(protect):
    """Glance searches for it, and so lets everybody read and write them."""
    made = protect(f'[secret]\n{ALL.replace("@", "admin")}[.*]\n{ALL}')
    image = made.create(properties={'secret_os_glance_x': '1', 'other': '2'})
    assert made.outer.get_image(owner(), image.id).properties == {'other': '2'}


# --- a file that is wrong stops the start in one sentence


@pytest.mark.parametrize(
    ('file', 'form', 'line', 'said'),
    [
        (f'\n[(]\n{ALL}', 'roles', 2, r'\[\(\] is not a regular expression'),
        (f'# a\n\n[x]\n{ALL.replace("delete = @", "")}', 'roles', 3, 'not say who may delete'),
        (f'[x]\n{ALL.replace("read = @", "read = @, !")}', 'roles', 3, r'\[x\] read .*both every'),
        (f'[x]\n{ALL.replace("UPDATE = @", "")}[y]\n{ALL.replace("update = @", "Update: a, b")}',
         'policies', 9, r'\[y\] update .*more than one policy'),
        (f'[x]\n{ALL.replace("read = @", "read = a,")}', 'policies', 3, 'more than one policy'),
        (f'[x]\n{ALL.replace("read = @", "read = %(y)s")}', 'roles', 3, r'\[x\] .*interpolation'),
        (f'[x]\n{ALL.replace("read = @", "read = 5%")}', 'roles', 3, r"'%' must be followed"),
        (f'[x]\n{ALL}[x]\n{ALL}', 'roles', 6, 'already exists'),
        (f'read = @\n[x]\n{ALL}', 'roles', 1, 'no section headers'),
        (f'[x]\n{ALL}read = @\n', 'roles', 6, "option 'read' .* already exists"),
        (f'[x]\n{ALL}nonsense\n', 'roles', 6, 'nonsense'),
    ],
)  # fmt: skip
def test_a_wrong_file_stops_the_start(protect, tmp_path, file, form, line, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        protect(file, form)
    message = caught.value.message
    assert 'property_protection_file' in message and 'protections.conf' in message
    assert '\n' not in message
    assert f'protections.conf:{line}: ' in message


def test_a_missing_file_stops_the_start(make, tmp_path):
    text = f'[DEFAULT]\nproperty_protection_file = {tmp_path}/nowhere.conf\n'
    with pytest.raises(ConfigurationError, match=r'nowhere\.conf: cannot be read'):
        make(LAYERS, text)


def test_a_relative_name_is_found_beside_the_configuration(make, tmp_path):
    (tmp_path / 'beside.conf').write_text(f'[^a]\n{ALL}')
    made = make(LAYERS, '[DEFAULT]\nproperty_protection_file = beside.conf\n')
    image = made.create(properties={'a': '1', 'b': '2'})
    assert made.outer.get_image(owner(), image.id).properties == {'a': '1'}
