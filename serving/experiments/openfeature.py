"""A provider for OpenFeature's SDK for Python: flags and client values of a running service, by OpenFeature's protocol.

It needs the extra `openfeature`. In a browser the OFREP provider of OpenFeature's SDK for JavaScript does the same.
"""

from __future__ import annotations

from openfeature.contrib.provider.ofrep import OFREPProvider


def make_provider(url: str, key: str, *, timeout: float = 5.0) -> OFREPProvider:
    """A provider that asks the service at ``url`` with a key or a token of the scope frontend, seconds at most.

    >>> make_provider("http://127.0.0.1:3000", "vern_...").get_metadata().name
    'OpenFeature Remote Evaluation Protocol Provider'
    """
    return OFREPProvider(url, headers_factory=lambda: {"Authorization": f"Bearer {key}"}, timeout=timeout)
