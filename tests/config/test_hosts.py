"""Entries of ``remote_images``: hosts and nothing else."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from interlingua.config.hosts import Host, read_host
from interlingua.config.load import load
from interlingua.errors import ConfigError


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("images.example.com", Host("images.example.com")),
        ("Images.Example.COM:8443", Host("images.example.com", 8443)),
        ("xn--tda.example", Host("xn--tda.example")),
        ("my_host", Host("my_host")),
        ("localhost", Host("localhost")),
        ("10.0.0.5", Host(ip_address("10.0.0.5"))),
        ("127.0.0.1:9000", Host(ip_address("127.0.0.1"), 9000)),
        ("2001:DB8::5", Host(ip_address("2001:db8::5"))),
        ("[::1]", Host(ip_address("::1"))),
        ("[2001:db8:0::5]:65535", Host(ip_address("2001:db8::5"), 65535)),
    ],
)
def test_an_entry_is_a_host_with_an_optional_port(entry: str, host: Host) -> None:
    assert read_host(entry) == host


@pytest.mark.parametrize(
    "entry",
    [
        "",
        " ",
        "https://images.example.com",
        "images.example.com/",
        "images.example.com/a",
        "*",
        "*.example.com",
        ".example.com",
        "example.com.",
        "a..b",
        "-a",
        "a b",
        "a\n",
        "user@host",
        "bücher.example",
        "host:",
        "host:0",
        "host:65536",
        "host:http",
        "host:80:80",
        "127.1",
        "2130706433",
        "0x7f000001",
        "127.0.0.0x1",
        "0177.0.0.1",
        "10.0.0.0/8",
        "[10.0.0.5]",
        "[host]",
        "[::1",
        "fe80::1%eth0",
        "[fe80::1%eth0]:80",
        "a" * 64,
        "a." * 127 + "a",
    ],
)
def test_anything_else_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.remote_images: .* is not a host"):
        read_host(entry)


def test_a_config_with_such_an_entry_is_refused_by_name(tmp_path: Path) -> None:
    deployment = '[[deployment]]\nname = "a"\nmodel = "echo"\n'
    file = tmp_path / "interlingua.toml"
    file.write_text(f'[server]\nremote_images = ["a.example", "10.0.0.5:9000"]\n{deployment}')
    assert load(str(file)).server.remote_images == ("a.example", "10.0.0.5:9000")
    file.write_text(f'[server]\nremote_images = ["http://a.example/"]\n{deployment}')
    with pytest.raises(ConfigError, match=r"'http://a\.example/' is not a host"):
        load(str(file))
