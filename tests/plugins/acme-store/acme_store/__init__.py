# SPDX-License-Identifier: Apache-2.0
"""A store driver for glance-lite."""
