# SPDX-License-Identifier: Apache-2.0
"""Which of several locations of an image comes first: where it is read, and where it is shown.

A strategy is a plug-in in the group ``glance_lite.location_strategies``; ``location_strategy``
names the one that is used. It is made once, at start, and ranks locations without asking
anybody: it is called for each image of a list.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glance_lite import plugins
from glance_lite.errors import PluginError

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.model import Location
    from glance_lite.store_serving import Store

#: Types of stores as Glance's option named them, by the names they have here.
OLD_TYPES = {'filesystem': 'file', 'vmware_datastore': 'vmware'}


class LocationStrategy(abc.ABC):
    """Ranks locations. All state comes from the configuration."""

    def __init__(  # noqa: B027 - nothing is read where nothing is needed
        self, conf: cfg.ConfigOpts, stores: Mapping[str, Store]
    ) -> None:
        """`stores` by their ids. Raises `ConfigurationError` naming group and option."""

    @abc.abstractmethod
    def rank(self, location: Location) -> Any:
        """What sorts first comes first; of equal ones the older location does."""


class LocationOrder(LocationStrategy):
    """In the order in which the locations were added."""

    def rank(self, location: Location) -> int:
        return 0


class Weight(LocationStrategy):
    """The store of the most ``weight`` first; a store that is not known weighs nothing."""

    def __init__(self, conf: cfg.ConfigOpts, stores: Mapping[str, Store]) -> None:
        self._ranks = {store.id: -store.weight for store in stores.values()}

    def rank(self, location: Location) -> int:
        return self._ranks.get(location.store or '', 0)


class StoreType(LocationStrategy):
    """By the types of stores in ``store_type_preference``; what it does not name comes last."""

    def __init__(self, conf: cfg.ConfigOpts, stores: Mapping[str, Store]) -> None:
        preference = conf.store_type_location_strategy.store_type_preference
        names = [OLD_TYPES.get(name, name) for name in preference]
        self._last = len(names)
        places = {name: names.index(name) for name in names}
        self._by_id = {store.id: places.get(store.type, self._last) for store in stores.values()}
        # Of locations that were written before there were several stores the url alone tells.
        self._by_scheme = {
            scheme: places.get(store.type, self._last)
            for store in stores.values()
            for scheme in store.driver.schemes
        }

    def rank(self, location: Location) -> int:
        place = self._by_id.get(location.store or '')
        if place is None:
            place = self._by_scheme.get(location.url.partition(':')[0], self._last)
        return place


def load(conf: cfg.ConfigOpts, stores: Mapping[str, Store]) -> LocationStrategy:
    """The strategy that the configuration names. `PluginError`, `ConfigurationError`."""
    name = conf.location_strategy
    option = '[DEFAULT] location_strategy'
    kind = plugins.load(plugins.LOCATION_STRATEGIES, name, option)
    if not (isinstance(kind, type) and issubclass(kind, LocationStrategy)):
        raise PluginError(f'{option}: {name} is not a location strategy')
    return kind(conf, stores)
