# SPDX-License-Identifier: Apache-2.0
"""Linking the chain: what passes through, and the sentence for each thing that is wrong."""

from __future__ import annotations

import pytest

from glance_lite.errors import Forbidden, PluginError
from glance_lite.layer import Layer, link, overrides
from glance_lite.operations import OPERATIONS, is_inner, is_write


def made(base, name, **members):
    layer = type(name.title(), (base,), members)(None)
    layer.name = name
    return layer


def last():
    """A layer that implements every operation, with the contract's own arguments."""
    scope = {}
    for name, contract in OPERATIONS.items():
        code = contract.__code__
        arguments = ', '.join(code.co_varnames[: code.co_argcount])
        values = ', '.join(code.co_varnames[1 : code.co_argcount])
        exec(f'def {name}({arguments}): return ({name!r}, {values})', scope)
    own = {name: scope[name] for name in OPERATIONS}
    return made(Layer, 'db', ends=frozenset(OPERATIONS), **own)


class Frozen(Layer):
    outside_of = ('db',)

    def update_image(self, ctx, image_id, changes):
        raise Forbidden('frozen')


def test_an_operation_not_overridden_is_the_next_layers_own_method():
    db = last()
    chain = link([made(Frozen, 'frozen'), db])
    assert chain.outer.get_image == db.get_image
    assert chain.outer.get_image('ctx', 'id') == ('get_image', 'ctx', 'id')
    assert chain.acting['get_image'] == ('db',)
    assert chain.acting['update_image'] == ('frozen', 'db')


def test_a_layer_decides_before_the_next():
    chain = link([made(Frozen, 'frozen'), last()])
    with pytest.raises(Forbidden, match='frozen'):
        chain.outer.update_image('ctx', 'id', None)


def test_a_layer_with_nothing_to_do_is_left_out():
    chain = link([made(Frozen, 'frozen', acts=lambda self: False), last()])
    assert chain.acting['update_image'] == ('db',)
    assert chain.outer.update_image('ctx', 'id', None)[0] == 'update_image'


def test_background_work_enters_behind_policy():
    location = made(Layer, 'location', upload=lambda self, ctx, image_id, source, store: 'put')
    chain = link([made(Frozen, 'frozen'), location, last()])
    assert chain.inner.update_image('ctx', 'id', None)[0] == 'update_image'
    assert chain.inner.upload('ctx', 'id', None, None) == 'put'


def test_wrong_order_is_one_sentence():
    with pytest.raises(PluginError, match='frozen must stand before db') as caught:
        link([last(), made(Frozen, 'frozen')])
    assert '\n' not in caught.value.message


def test_an_order_that_is_one_word_is_refused():
    """Its letters would be names of no layer, and nothing would be in order."""
    with pytest.raises(PluginError, match="outside_of of frozen is 'db', and not a tuple"):
        link([last(), made(Frozen, 'frozen', outside_of='db')])


def test_a_list_without_db_is_refused():
    with pytest.raises(PluginError, match='no layer in the list implements get_image'):
        link([made(Frozen, 'frozen')])


def test_a_layer_that_only_passes_on_is_no_end():
    """Otherwise the first request would find out that there is nobody further in."""
    passing = {name: getattr(last(), name).__func__ for name in OPERATIONS}
    with pytest.raises(PluginError, match='no layer in the list implements get_image'):
        link([made(Layer, 'passing', **passing)])


def test_an_override_with_other_arguments_is_refused():
    wrong = made(Layer, 'wrong', get_image=lambda self, ctx, id: None)
    with pytest.raises(PluginError, match=r'wrong overrides get_image\(ctx, id\)'):
        link([wrong, last()])


def test_a_layer_of_another_contract_is_refused():
    with pytest.raises(PluginError, match='version 2'):
        link([made(Layer, 'next', requires_api=2), last()])


def test_calling_super_is_a_mistake_that_says_so():
    with pytest.raises(AssertionError, match=r'self\.next'):
        Layer(None).get_image(None, 'id')


def test_overrides_names_only_what_is_written():
    assert overrides(Frozen) == ('update_image',)


def test_the_contract_says_what_writes_and_what_is_inner():
    assert is_write('upload') and not is_write('download')
    assert is_inner('peek') and not is_inner('get_image')
