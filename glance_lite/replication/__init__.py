# SPDX-License-Identifier: Apache-2.0
"""Images are taken from one Image service to another one, or to a directory and back.

`record` is what one image is, `peer` a service over v2, `directory` a dump, `digests` the check of
bytes as they pass, `transfer` what is done with one image and `plan` with all of them. The other
side is not trusted: what it says is checked before it is used.
"""
