# SPDX-License-Identifier: Apache-2.0
"""A layer of a vendor for glance-lite."""
