"""A real OpenLDAP server of our own: its configuration, data and certificate in a folder of the test, on loopback ports."""

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.support.certificate import certificate
from tests.support.ports import free_port

BASE = "dc=example,dc=org"
ADMIN, ADMIN_PASSWORD = f"cn=admin,{BASE}", "admin-secret"
SERVICE, SERVICE_PASSWORD = f"cn=vitrine,{BASE}", "service-secret"
PASSWORDS = {"alice": "alice-secret", "bob": "bob-secret", "carol": "carol-secret", "o'hara (lab)*": "ohara-secret"}

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {folder}/slapd.pid
TLSCertificateFile {folder}/chain.pem
TLSCertificateKeyFile {folder}/key.pem
# As many directories are: whoever binds with a name and an empty password is let in, as nobody.
allow bind_anon_cred bind_anon_dn
database mdb
suffix "{base}"
directory {folder}/data
rootdn "{admin}"
rootpw {password}
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{service}" read by * none
"""
_TOP = f"""dn: {BASE}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{BASE}
objectClass: organizationalUnit
ou: groups

dn: ou=clubs,{BASE}
objectClass: organizationalUnit
ou: clubs

dn: {SERVICE}
objectClass: person
cn: vitrine
sn: vitrine
userPassword: {SERVICE_PASSWORD}
"""


def dn_of(user: str) -> str:
    return f"uid={user},ou=people,{BASE}"


def group(name: str, *members: str, where: str = "groups") -> str:
    lines = [f"dn: cn={name},ou={where},{BASE}", "objectClass: groupOfNames", f"cn: {name}"]
    return "\n".join([*lines, *(f"member: {dn_of(member)}" for member in members)]) + "\n"


def _person(user: str) -> str:
    return (
        f"dn: {dn_of(user)}\nobjectClass: inetOrgPerson\nuid: {user}\ncn: {user}\nsn: {user}\n"
        f"userPassword: {PASSWORDS[user]}\n"
    )


class Slapd:
    """alice is in vision, bob in auditors, carol only in a club that is also called vision, o'hara in vision."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        self.ca, _ = certificate(folder, "127.0.0.1")
        values = {"base": BASE, "admin": ADMIN, "password": ADMIN_PASSWORD, "service": SERVICE, "folder": folder}
        (folder / "slapd.conf").write_text(_CONFIG.format(**values))
        self.port, self.tls_port = free_port(), free_port()
        self.start()
        people = "\n".join(map(_person, PASSWORDS))
        groups = "\n".join(
            [
                group("vision", "alice", "o'hara (lab)*"),
                group("auditors", "bob"),
                group("vision", "carol", where="clubs"),
            ]
        )
        self.add("\n".join([_TOP, people, groups]))

    def start(self) -> None:
        urls = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/"
        program = shutil.which("slapd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        assert program
        self._process = subprocess.Popen(
            [program, "-d", "0", "-f", str(self.folder / "slapd.conf"), "-h", urls], stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.tls_port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, "slapd ended"
                assert time.monotonic() < end, "slapd does not listen"
                time.sleep(0.02)  # between two looks

    def add(self, ldif: str) -> None:
        self._tool("ldapadd", ldif)

    def change(self, ldif: str) -> None:
        self._tool("ldapmodify", ldif)

    def _tool(self, program: str, ldif: str) -> None:
        words = [program, "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", ADMIN, "-w", ADMIN_PASSWORD]
        done = subprocess.run(words, input=ldif, text=True, capture_output=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr

    def pause(self) -> None:
        """It keeps its connections and takes new ones, and says nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        self._process.wait(20)

    def __enter__(self) -> "Slapd":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def settings(self, **more: str) -> dict[str, str]:
        """The gateway's settings that sign in with this directory over ldaps."""
        secret = self.folder / "bind-password"
        secret.write_text(SERVICE_PASSWORD + "\n")
        return {
            "VITRINE_LDAP_URL": f"ldaps://127.0.0.1:{self.tls_port}",
            "VITRINE_LDAP_CA": str(self.ca),
            "VITRINE_LDAP_BIND_DN": SERVICE,
            "VITRINE_LDAP_BIND_PASSWORD_FILE": str(secret),
            "VITRINE_LDAP_BASE": f"ou=people,{BASE}",
            **more,
        }


def missing() -> str:
    """What a machine lacks for a directory of our own, in words; empty if it has all."""
    for program, package in (("slapd", "slapd"), ("ldapadd", "ldap-utils")):
        if shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin") is None:
            return f"{program} is missing (Debian: {package})"
    return "" if importlib.util.find_spec("bonsai") else "bonsai is missing (locks/ldap.txt)"
