# SPDX-License-Identifier: Apache-2.0
"""The driver against the conformance kit, and what it alone does."""

from __future__ import annotations

import io

import pytest
from acme_store.shelf import BOX, ShelfStore

from glance_lite.store import BadStoreConfiguration, StoreFull, StoreUnavailable
from glance_lite.testing.stores import StoreConformance, pattern


def shelf(directory, **settings):
    values = {opt.dest: opt.default for opt in ShelfStore.opts}
    driver = ShelfStore('shelf', {**values, 'shelf_file': f'{directory}/shelf', **settings})
    driver.start()
    return driver


class TestConformance(StoreConformance):
    hostile = ('shelf://other/a', 'shelf://shelf/a/b', 'shelf://shelf/../a', 'shelf://shelf/.a')

    @pytest.fixture
    def driver(self, tmp_path):
        return shelf(tmp_path)


def test_a_full_shelf_keeps_nothing_of_what_did_not_fit(tmp_path):
    driver = shelf(tmp_path, shelf_size=2 * BOX)
    with pytest.raises(StoreFull):
        driver.add('a', io.BytesIO(pattern(3 * BOX)), 3 * BOX)
    driver.add('a', io.BytesIO(pattern(2 * BOX)), 2 * BOX)


@pytest.mark.parametrize('file', [None, 'relative'])
def test_wrong_settings_are_a_sentence(tmp_path, file):
    with pytest.raises(BadStoreConfiguration, match=r'^\[shelf\] shelf_file: '):
        shelf(tmp_path, shelf_file=file)


def test_a_shelf_that_is_away_is_no_mistake_of_the_operator(tmp_path):
    with pytest.raises(StoreUnavailable):
        shelf(tmp_path / 'not-mounted')
