"""
Parsers of URLs, each asked for the host that a program which uses it connects to.

Those of other projects are used if they are installed; none is needed for anything else.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import subprocess
from contextlib import suppress
from http.client import HTTPConnection, InvalidURL
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import Request

from support.servers import found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    #: Returns the host of each URL, `None` for one that is refused or has none.
    Parser = Callable[[Sequence[str]], list[str | None]]

_NODE: Final = """
const read = text => { try { return EXPRESSION } catch { return null } };
process.removeAllListeners("warning");
require("readline").createInterface({input: process.stdin}).on("line", line =>
  console.log(JSON.stringify(JSON.parse(line).map(read))));
"""
#: Of libcurl's `urlapi.h`.
_CURL_URL, _CURL_HOST, _CURL_ANY_SCHEME = 0, 5, 1 << 3


def installed() -> Iterator[tuple[str, Parser | str]]:
    """Yield the name of each parser, and it, or why it is not there."""
    for name, make in _MAKERS.items():
        try:
            yield name, make()
        except (ImportError, OSError) as error:
            yield name, str(error)


def _each(read: Callable[[str], str | None], *refusals: type[Exception]) -> Parser:
    """Return *read* for many URLs; it raises one of *refusals*, or `ValueError`."""

    def parse(urls: Sequence[str]) -> list[str | None]:
        hosts: list[str | None] = []
        for url in urls:
            hosts.append(None)
            with suppress(ValueError, *refusals):
                hosts[-1] = read(url) or None
        return hosts

    return parse


def _urllib() -> Parser:
    def read(url: str) -> str | None:
        parts = urlsplit(url)
        _ = parts.port  # Reading it refuses an invalid one.
        return parts.hostname

    return _each(read)


def _http_client() -> Parser:
    def read(url: str) -> str | None:
        host = HTTPConnection(Request(url).host).host  # noqa: S310 - nothing is opened
        return None if "@" in host else host  # It takes the user for a part of the name.

    return _each(read, InvalidURL)


def _urllib3() -> Parser:
    parse_url = import_module("urllib3.util").parse_url
    refusal = import_module("urllib3.exceptions").HTTPError
    return _each(lambda url: parse_url(url).host, refusal)


def _requests() -> Parser:
    requests, parse_url = import_module("requests"), import_module("urllib3.util").parse_url

    def read(url: str) -> str | None:
        prepared = requests.Request("GET", url).prepare().url
        requests.Session().get_adapter(prepared)  # Of another scheme there is none.
        host: str | None = parse_url(prepared).host
        return host

    return _each(read, requests.RequestException)


def _httpx() -> Parser:
    httpx = import_module("httpx")
    return _each(lambda url: httpx.URL(url).raw_host.decode("ascii"), httpx.InvalidURL)


def _yarl() -> Parser:
    url_class = import_module("yarl").URL
    return _each(lambda url: url_class(url).raw_host)


def _hyperlink() -> Parser:
    parse = import_module("hyperlink").parse

    def read(url: str) -> str | None:
        host: str = parse(url, decoded=False).host
        return host if host.isascii() else parse(url, decoded=False).to_uri().host

    return _each(read)


def _rfc3986() -> Parser:
    rfc3986 = import_module("rfc3986")
    refusal = import_module("rfc3986.exceptions").RFC3986Exception
    return _each(lambda url: rfc3986.uri_reference(url).authority_info()["host"], refusal)


def _node(expression: str) -> Parser:
    process = subprocess.Popen(
        [found("node"), "--no-deprecation", "-e", _NODE.replace("EXPRESSION", expression)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def parse(urls: Sequence[str]) -> list[str | None]:
        assert process.stdin is not None  # noqa: S101 - for mypy
        assert process.stdout is not None  # noqa: S101 - for mypy
        process.stdin.write(f"{json.dumps(urls)}\n")
        process.stdin.flush()
        return [host or None for host in json.loads(process.stdout.readline())]

    return parse


def _curl() -> Parser:
    name = ctypes.util.find_library("curl") or ctypes.util.find_library("curl-gnutls")
    if name is None:
        raise FileNotFoundError("libcurl is not installed")
    curl: Any = ctypes.CDLL(name)
    curl.curl_url.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(curl.curl_url())

    def read(url: str) -> str | None:
        curl.curl_url_set(handle, _CURL_URL, None, 0)  # Or it reads it as relative to the last.
        if curl.curl_url_set(handle, _CURL_URL, url.encode(), _CURL_ANY_SCHEME):
            return None
        host = ctypes.c_char_p()
        if curl.curl_url_get(handle, _CURL_HOST, ctypes.byref(host), 0):
            return None
        text = (host.value or b"").decode()
        curl.curl_free(host)
        return text

    return _each(read)


_MAKERS: Final[dict[str, Callable[[], Parser]]] = {
    "urllib.parse": _urllib,
    "http.client": _http_client,
    "urllib3": _urllib3,
    "requests": _requests,
    "httpx": _httpx,
    "yarl (aiohttp)": _yarl,
    "hyperlink": _hyperlink,
    "rfc3986": _rfc3986,
    "URL (Node)": lambda: _node("new URL(text).hostname"),
    "url.parse (Node)": lambda: _node("require('url').parse(text).hostname"),
    "libcurl": _curl,
}
