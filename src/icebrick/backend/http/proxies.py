"""The proxy that stands before a server, from the variables that say so."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1")


def proxy_of(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for this URL; none for this host itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    excepted = [each.strip() for each in _variable(environment, "no_proxy").split(",")]
    if _LOOPBACK.fullmatch(host) or any(_matches(each, host) for each in excepted if each):
        return None
    return _variable(environment, f"{parts.scheme}_proxy") or None


def _matches(pattern: str, host: str) -> bool:
    """`pattern` is *, a network, or a domain with all in it."""
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
    domain = pattern.lower().lstrip(".")
    return pattern == "*" or host == domain or host.endswith(f".{domain}")


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""
