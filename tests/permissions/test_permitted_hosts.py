"""The rule of hosts, above all of those that programs read differently."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.rules import covering, is_understood


def covers(capability: str, entry: str, value: str) -> bool:
    """Return whether *entry* alone covers *value*."""
    return covering(capability, [entry], value) is not None


@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        ("good.com", "good.com", True),
        ("good.com", "GOOD.com", True),
        ("GOOD.com", "good.com", True),
        ("good.com", "a.good.com", True),
        ("good.com", "a.b.good.com", True),
        ("com", "good.com", True),
        ("*", "good.com", True),
        ("*", "https://good.com/", True),
        *(("*", value, True) for value in ("::1", "http://[::1]/", "127.0.0.1", "ws://127.0.0.1")),
        ("good.com", "https://good.com", True),
        ("good.com", "https://a.GOOD.com:8443/path?query#fragment", True),
        ("good.com", "https://user:password@good.com/", True),
        ("good.com", "https://us%65r:pass%20word@good.com/", True),
        ("good.com", "wss://good.com:/", True),
        ("good.com", "HTTPS://USER@good.com/", True),
        ("good.com", "https://good.com:65535/", True),
        ("good.com", "https://good.com:65536/", False),
        ("good.com", "http\u017f://good.com/", False),
        ("good.com", "https://good.com?x=://evil.com", True),
        ("::1", "::1", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("::1", "https://[::1]:443/", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("xn--mnchen-3ya.de", "https://www.xn--mnchen-3ya.de/", True),
        ("good.com", "evil.com", False),
        ("good.com", "evilgood.com", False),
        ("good.com", "good.com.evil.com", False),
        ("good.com", "com", False),
        ("a.good.com", "good.com", False),
        ("*.good.com", "a.good.com", False),
        ("good.com:443", "https://good.com:443", False),
        ("https://good.com", "https://good.com", False),
        ("good.com/", "https://good.com/", False),
        (".good.com", "a.good.com", False),
        ("good.com.", "good.com", False),
        ("127.0.0.1", "2130706433", False),
        ("127.0.0.1", "0x7f.0.0.1", False),
        ("good.com", "https://-a.good.com/", False),
        ("good.com", "https://a-.good.com/", True),
        ("good.com", "https://_a.good.com/", True),
        ("good.com", "https://0.good.com/", True),
        ("good.com", "https://0x.good.com/", True),
        ("good.com", "https://good.com/@evil.com", True),
        ("good.com", "https://good.com/?@evil.com", True),
        ("good.com", "https://good.com/#@evil.com", True),
        ("good.com", "https://good.com?@evil.com", False),
        ("good.com", "https://good.com#@evil.com", False),
        ("good.com", "https://good.com:00443/", True),
        ("good.com", "https://good.com:000443/", False),
        ("good.com", "https://a:b:c@good.com/", True),
        ("good.com", "https://a%@good.com/", False),
        ("good.com", "https://a%4x@good.com/", False),
        ("good.com", "https://good.com/\u00e9", True),
        ("face.bad", "https://[face.bad]/", False),
        ("127.0.0.1", "https://[127.0.0.1]/", False),
        ("127.0.0.1", "https://127.0.0.1:80/", True),
        ("::1", "https://[0::0.0.0.1]/", True),
        ("::", "::1", False),
        ("3.4", "1.2.3.4", False),
        ("1", "http://127.0.0.1/", False),
    ],
)
def test_a_host_is_the_entry_or_below_it(entry: str, value: str, expected: bool) -> None:
    """The host, or the URL's host, equals the entry or ends in a dot and the entry."""
    assert expected == covers("net", entry, value)


@pytest.mark.parametrize(
    "value",
    [
        # Another host that only looks like the granted one.
        "http://good.com@evil.com/",
        "http://good.com:80@evil.com/",
        "http://evil.com@a@good.com/",
        "http://[::1]@good.com/",
        "http://evil.com,a@good.com/",
        "http://good.com%40evil.com/",
        "http://evil.com/good.com",
        "http://evil.com/.good.com",
        "http://evil.com/@good.com",
        "http://evil.com?@good.com",
        "http://evil.com#@good.com",
        "http://evil.com#.good.com",
        "http://evil.com/://good.com",
        "evil.com/http://good.com",
        # A backslash ends the host for browsers and the original, but not for others.
        r"http://evil.com\@good.com/",
        r"http://evil.com\.good.com/",
        r"http://good.com\@evil.com/",
        r"http:\\good.com",
        r"http://good.com/a\b",
        "http://evil.com\uff3c@good.com",
        # Other spellings of a dot, a slash and a letter.
        "good.com.",
        "http://good.com./",
        "http://evil.com%2f.good.com/",
        "http://evil.com%00.good.com/",
        "http://%67ood.com/",
        "http://evil.com\uff0f.good.com/",
        "evil.com\uff0f.good.com",
        "evil.com\u2100.good.com",
        "evil.com\uff1a80.good.com",
        "evil.com\uff03.good.com",
        "evil.com\uff20.good.com",
        "good\u3002com",
        "http://good\uff0ecom/",
        "g\u043e\u043ed.com",
        "good.com\u200b",
        "go\u00adod.com",
        # Invalid ports.
        "http://good.com:80:80/",
        "http://good.com:99999/",
        "http://good.com:-1/",
        "http://good.com:8_0/",
        "http://good.com:\uff18\uff10/",
        "http://good.com:80@/",
        "good.com:80",
        # Brackets, and what may follow an IPv6 address.
        "[good.com]",
        "http://[good.com]/",
        "http://[v1.good.com]/",
        "http://[v1.good.com]:80/",
        "http://[::1].good.com/",
        "http://[::1]good.com/",
        "http://[::1/good.com",
        "::1%.good.com",
        "::1%a.good.com",
        "fe80::1%eth0.good.com",
        "http://[::1%a.good.com]/",
        "http://[fe80::1%25a.good.com]/",
        # No host at all.
        "://good.com",
        "//good.com",
        "http:good.com",
        "http:/good.com",
        "http:///good.com",
        "http://",
        "http:///",
        "http://@",
        "http://:80",
        "data:text/html,http://good.com",
        "mailto:me@good.com",
        " good.com",
        " http://good.com/",
        "http://good.com/a b",
        "good.com ",
        "a good.com",
        "good.com\n",
        "good.com\r\nHost: evil.com",
        "http://good.com\t/",
        "http://good\n.com/",
        "http://good.com/\x7f",
        "\ud800.good.com",
        "\u202egood.com",
    ],
    ids=ascii,
)
def test_what_only_looks_like_a_granted_host_is_denied(value: str) -> None:
    """Nothing that two programs could read as two hosts is covered."""
    assert covers("net", "good.com", "https://a.good.com/")  # The control.
    assert not covers("net", "good.com", value)


@pytest.mark.parametrize("character", " \t\r\n\"#%&'()*+,/:;<=>?@[\\]^`{|}\0\x7f\u00a0\u2028")
def test_what_no_host_has_is_no_part_of_one(character: str) -> None:
    """A host with an invalid character is not understood, so not even `*` covers it."""
    for value in (f"evil.com{character}.good.com", f"good.com{character}", f"{character}.good.com"):
        assert not covers("net", "good.com", value)
        assert not covers("net", "*", value)
        assert not is_understood("net", value)


@pytest.mark.parametrize(
    "value", ["http://", "http:///a", "http://@", "://", "::1%eth0", "[::1%a]"]
)
def test_what_has_no_host_is_not_covered_by_any(value: str) -> None:
    """Neither `*` covers it, nor an equal or empty entry."""
    assert not is_understood("net", value)
    for entry in ("*", value, ""):
        assert not covers("net", entry, value)


def test_a_letter_that_is_none_of_ascii_stays_what_it_is() -> None:
    """Only ASCII is lowercased: Python would turn the kelvin sign into `k`."""
    assert covers("net", "kernel.org", "https://KERNEL.org/")
    assert not covers("net", "kernel.org", "\u212aernel.org")
    assert not covers("net", "kernel.org", "https://\u212aernel.org/")


@pytest.mark.parametrize(
    "value", ["http://evil.com[::1]/", "http://[::1]evil.com/", "http://[::1]:80evil.com/", "[::1]"]
)
def test_an_address_in_brackets_stands_alone(value: str) -> None:
    """Text before or after the brackets makes it another host."""
    assert covers("net", "::1", "http://user@[::1]:80/")  # The control.
    assert not covers("net", "::1", value)


SCHEMES = ["ftp", "ftps", "http", "https", "sftp", "ssh", "tcp", "tls", "udp", "ws", "wss"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_url_of_a_network_scheme_names_its_host(scheme: str) -> None:
    """Each of these schemes, in any case."""
    for spelled in (scheme, scheme.upper()):
        assert covers("net", "good.com", f"{spelled}://a.good.com:80/path")
        assert not covers("net", "good.com", f"{spelled}://evil.com/")


@pytest.mark.parametrize(
    "scheme",
    [
        *("evil.com", "localhost", "file", "data", "unix", "javascript", "blob", "about", "mailto"),
        *("http+unix", "git+ssh", "x-http", "httpss", "htt", "http1", "view-source", "jar", "nntp"),
        *("postgresql", "mongodb", "http:http", "http:", ":http", "ht\uff54p", "", "1", "-", "a@b"),
    ],
    ids=ascii,
)
def test_a_url_of_any_other_scheme_names_no_host(scheme: str) -> None:
    """One program connects to the host `evil.com` for `evil.com://good.com/`, another to none."""
    for host in ("good.com", "localhost", "127.0.0.1", "[::1]"):
        value = f"{scheme}://{host}/x"
        assert not is_understood("net", value)
        for entry in (host, "*", "com", value, "::1"):
            assert not covers("net", entry, value)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.1",
            "127.0.1",
            "1",
            "0",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "0X7F.1",
            "0177.0.0.1",
        ),
        *("127.0.0.01", "127.0.0.0x1", "0x", "a.0x", "a.1", "good.com.1", "1.2.3.4.5", "256.0.0.1"),
        *("127.0.0.1.", "127.1.", "1.", "a.0xg.0xf", "00", "08", "4294967296", "1.2.3.", "1..2"),
        *("\uff11.2.3.4", "1.2.3.\u0664", "\u2460.0.0.1", "1\u30022\u30023\u30024"),
    ],
    ids=ascii,
)
def test_what_ends_in_a_number_is_an_address_or_nothing(host: str) -> None:
    """A resolver reads it as an IPv4 address, so that it lies below no domain."""
    for value in (host, f"http://{host}/", f"tcp://a@{host}:80"):
        assert not is_understood("net", value)
        for entry in ("*", host, host.partition(".")[2], "1", "0x", "127.0.0.1"):
            assert not covers("net", entry, value)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "good.com.",
            ".good.com",
            "a..good.com",
            "good..com",
            ".",
            "..",
            "-good.com",
            "-o.good.com",
        ),
        *("b\u00fccher.good.com", "fa\u00df.good.com", "\u24d6ood.com", "good\uff0ecom"),
        *(
            "good\u3002com",
            "good\uff61com",
            "\uff41.good.com",
            "a\u200d.good.com",
            "\U0001f98a.good.com",
        ),
        *("a!.good.com", "a$.good.com", "a~.good.com", "a;.good.com", "x" * 64 + ".good.com"),
        "a." * 123 + "good.com",
    ],
    ids=ascii,
)
def test_a_host_is_ascii_labels(host: str) -> None:
    """Programs disagree on empty labels, on letters of other alphabets, and on their versions."""
    for value in (host, f"http://{host}/", f"ssh://{host}"):
        assert not is_understood("net", value)
        for entry in ("good.com", "com", "*", host):
            assert not covers("net", entry, value)


def test_a_domain_may_have_as_many_characters_as_dns_has() -> None:
    """Labels of 63 characters, 253 in all."""
    for host in ("x" * 63 + ".good.com", "a." * 122 + "good.com" + "o"):
        assert covers("net", "*", host)
        assert covers("net", "*", f"https://{host}/")


@pytest.mark.parametrize(
    "address",
    [
        *("::ffff:127.0.0.1", "::ffff:7f00:1", "::FFFF:1.2.3.4", "fe80::1%eth0", "fe80::1%25eth0"),
        *("::1%", "::01.2.3.4", "::1.2.3", "1::2::3", ":::", ":", "1:2:3:4:5:6:7", "::g", "v1.a:b"),
        *("00000::1", "::\uff11"),
    ],
)
def test_an_ipv6_address_is_one_of_its_own(address: str) -> None:
    """Neither one with a zone, nor an IPv4 address in other clothes, nor what is malformed."""
    for value in (address, f"http://[{address}]/", f"http://[{address}]:80/"):
        assert not is_understood("net", value)
        for entry in ("*", address, "127.0.0.1", "::1", "::ffff:7f00:1"):
            assert not covers("net", entry, value)


PIECES = [
    *("http://", "://", "good.com", ".good.com", "evil.com", "GOOD.COM", "a", ".", "..", "80"),
    *(":", "@", "/", "\\", "?", "#", "%", "%2e", "%25", "[", "]", "::1", "v1.", "*", " ", "\t"),
    *("\uff0f", "\uff0e", "\uff3c", "\u212a", "\u0130", ""),
]
SPELLINGS = st.lists(st.sampled_from(PIECES), max_size=7).map("".join)
HOSTS = st.one_of(SPELLINGS, SPELLINGS.map("http://".__add__))


def hosts_in(value: str) -> set[str]:
    """Return the hosts that one program or another could read in *value*."""
    if "://" not in value:
        return {value.lower()}
    after = value.partition("://")[2]
    ends = (re.split(delimiters, after)[0] for delimiters in (r"[/?#]", r"[/?#\\]"))
    return {re.sub(r":\d*$", "", end.rpartition("@")[2].strip()).lower() for end in ends}


@given(HOSTS, st.sampled_from(["good.com", "com", "GOOD.com", "k", "::1"]))
@example(r"http://evil.com\@good.com", "good.com")
@example("::1%x.good.com", "good.com")
def test_nothing_without_the_entry_as_its_end_is_covered(value: str, entry: str) -> None:
    """Every host that a program could read in it is the entry, or ends in a dot and the entry."""
    if covers("net", entry, value):
        for host in hosts_in(value):
            bare = host.removeprefix("[").removesuffix("]")
            assert bare == entry.lower() or bare.endswith(f".{entry.lower()}"), host
            assert not set(bare) & set("/\\?#@%"), host
