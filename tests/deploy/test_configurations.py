"""The proxies' own check of their files in deploy/, without TLS and with it; and what must be alike in files and gateway."""

import datetime
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.settings import Settings
from tests.deploy.proxies import HAPROXY, NGINX, check, haproxy, needs, nginx, replaced, with_tls
from tests.support.process import TOP


def certificate(folder: Path) -> tuple[Path, Path, Path]:
    """Chain, key and both in one file, for localhost and a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + datetime.timedelta(1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    chain = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths = folder / "chain.pem", folder / "key.pem", folder / "both.pem"
    for path, content in zip(paths, (chain, secret, chain + secret), strict=True):
        path.write_bytes(content)
    return paths


@needs("nginx")
@pytest.mark.parametrize("tls", [False, True])
def test_nginx_takes_its_file(tmp_path: Path, tls: bool) -> None:
    text = NGINX.read_text()
    if tls:
        chain, key, _ = certificate(tmp_path)
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
        text = replaced(with_tls(text), {"/etc/haproxy/vitrine.pem": str(certificate(tmp_path)[2])})
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
    packages = re.search(r'^packages="(.*)"$', (TOP / ".ci" / "run").read_text(), re.MULTILINE)
    assert packages
    assert {"nginx", "haproxy"} <= set(packages[1].split())
