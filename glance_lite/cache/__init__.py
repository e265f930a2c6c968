# SPDX-License-Identifier: Apache-2.0
"""Copies of image data on a disk of this host: a location that the `Gateway` tries first.

`glance_lite.cache.directory` says what lies on the disk and keeps to the size limit,
`glance_lite.cache.growing` is a copy that is being made, `glance_lite.cache.reading` is what a
client reads, and `glance_lite.cache.cache` is what the `Gateway` asks.
"""
