# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.api.harness import App


@pytest.fixture
def make_app(tmp_path):
    made = []

    def make(**kwargs):
        app = App(tmp_path, **kwargs)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app):
    return make_app()
