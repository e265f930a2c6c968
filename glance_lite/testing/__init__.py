# SPDX-License-Identifier: Apache-2.0
"""For whoever tests plug-ins: conformance kits of all kinds of them, and faults on purpose."""

import sys

if 'pytest' in sys.modules:
    # So that a kit's assertion shows its values in the tests of a package that uses it.
    sys.modules['pytest'].register_assert_rewrite(
        f'{__name__}.imports',
        f'{__name__}.layers',
        f'{__name__}.metadefs',
        f'{__name__}.stores',
    )
