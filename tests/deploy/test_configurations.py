"""The proxies' own check of their files in deploy/, without TLS and with it; and what must be alike in files and gateway."""

import re
from pathlib import Path

import pytest

from gateway.settings import Settings
from tests.deploy.certificates import Authority
from tests.deploy.proxies import HAPROXY, NGINX, check, haproxy, needs, nginx, replaced, with_tls
from tests.support.process import TOP


@needs("nginx")
@pytest.mark.parametrize("tls", [False, True])
def test_nginx_takes_its_file(tmp_path: Path, tls: bool) -> None:
    text = NGINX.read_text()
    if tls:
        chain, key = Authority(tmp_path).issue("localhost")
        files = {"/etc/nginx/vitrine/fullchain.pem": str(chain), "/etc/nginx/vitrine/key.pem": str(key)}
        text = replaced(with_tls(text), files)
    checked = check("nginx", "-t", *nginx(tmp_path, text))
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr


@needs("haproxy")
@pytest.mark.parametrize("tls", [False, True])
def test_haproxy_takes_its_file(tmp_path: Path, tls: bool) -> None:
    text = HAPROXY.read_text()
    if tls:
        chain, key = Authority(tmp_path).issue("localhost")
        (tmp_path / "both.pem").write_bytes(chain.read_bytes() + key.read_bytes())
        text = replaced(with_tls(text), {"/etc/haproxy/vitrine.pem": str(tmp_path / "both.pem")})
    checked = check("haproxy", "-c", *haproxy(tmp_path, text))
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


@pytest.mark.parametrize("path", [NGINX, HAPROXY], ids=lambda path: str(path.name))
def test_the_proxies_wait_longer_than_the_gateway_does(path: Path) -> None:
    settings = Settings()
    waits = re.findall(r"(?:proxy_read_timeout|timeout (?:server|client)) (\d+)s", path.read_text())
    assert waits
    assert min(map(int, waits)) > settings.answer_timeout_s + settings.queue_timeout_s


def test_the_proxies_take_bodies_as_large_as_the_gateway_does() -> None:
    largest = Settings().max_body_bytes
    assert f"gt {largest} " in HAPROXY.read_text()
    assert set(re.findall(r"(?:client_max_body_size|client_body_buffer_size) (\d+)m;", NGINX.read_text())) == {
        str(largest >> 20)
    }


def test_nginx_gives_up_an_idle_connection_before_the_gateway_does() -> None:
    idle = re.search(r"^    keepalive_timeout (\d+)s;", NGINX.read_text(), re.MULTILINE)
    assert idle
    assert int(idle[1]) < Settings().idle_timeout_s


def test_the_clean_machine_installs_both_programs() -> None:
    lines = (TOP / ".ci" / "packages.txt").read_text().splitlines()
    assert {"nginx", "haproxy"} <= {word for line in lines for word in line.partition("#")[0].split()}
