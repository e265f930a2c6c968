# SPDX-License-Identifier: Apache-2.0
"""Which of tempest's tests of the Image service are not run, and why.

A test that is not named here must pass. What a name stands for: a test, or all tests of a class.
"""

from __future__ import annotations

V2 = 'tempest.api.image.v2.'

SKIPPED = 'tempest itself skips it, for a bug in Glance'
NOVA = 'needs Nova, and Cinder for some'
STAYS = 'wants a location whose data proved wrong to stay, which is bug 2076648 of Glance'

#: Import methods of the nodes.
METHODS = ('glance-direct', 'web-download', 'copy-image', 'glance-download')

LEFT_OUT: dict[str, str] = {
    V2 + 'admin.test_image_task.ImageTaskCreate.test_image_tasks_create': SKIPPED,
    V2 + 'test_images_dependency.ImageDependencyTests': NOVA,
    V2 + 'test_images_formats.ImagesFormatTest': NOVA,
    V2 + 'test_images.MultistoreLocationImportTest'
    '.test_add_location_for_image_with_do_secure_hash_true': STAYS,
}  # fmt: skip

#: Run on a service that hashes nothing (``do_secure_hash = false``), and not with the others.
WITHOUT_HASHES = (
    V2 + 'test_images.LocationImportTest.test_add_location_with_do_secure_hash_false',
    V2 + 'test_images.MultistoreLocationImportTest.test_add_location_with_do_secure_hash_false',
)

#: Run on a service with one store, and not with the others: with several it wants what is left out
#: as `STAYS`.
ONE_STORE = (
    V2 + 'test_images.LocationImportTest.test_add_location_for_image_with_do_secure_hash_true',
)


def reason(test_id: str) -> str | None:
    """Why a test is left out; None when it is not."""
    return LEFT_OUT.get(test_id) or LEFT_OUT.get(test_id.rpartition('.')[0])
