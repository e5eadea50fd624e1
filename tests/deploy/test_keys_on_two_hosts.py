"""Keys are a file on each gateway host: that a copy under a running gateway holds at once, as docs/scaling.md says."""

from tests.deploy.site import Site, copy_keys, create_key
from tests.support.process import run


def test_a_key_made_on_one_host_works_on_the_other_as_soon_as_the_file_is_copied(site: Site) -> None:
    first, second = site.hosts
    key = create_key(first.home)
    assert (first.gateway.chat(key).status, second.gateway.chat(key).status) == (200, 401)
    copy_keys(first.home, second.home)
    assert second.gateway.chat(key).status == 200


def test_a_revocation_holds_where_it_was_made_and_elsewhere_after_the_copy(site: Site) -> None:
    first, second = site.hosts
    key = create_key(first.home)
    copy_keys(first.home, second.home)
    revoked = run("gateway.keys", "revoke", first.gateway.key_ids()[-1], env={"VITRINE_HOME": str(first.home)})
    assert revoked.returncode == 0, revoked.stderr
    assert (first.gateway.chat(key).status, second.gateway.chat(key).status) == (401, 200)
    copy_keys(first.home, second.home)
    assert second.gateway.chat(key).status == 401


def test_the_same_revocation_can_be_made_on_each_host_and_each_log_has_it(site: Site) -> None:
    first, second = site.hosts
    key = create_key(first.home)
    copy_keys(first.home, second.home)
    key_id = first.gateway.key_ids()[-1]
    for host in site.hosts:
        assert run("gateway.keys", "revoke", key_id, env={"VITRINE_HOME": str(host.home)}).returncode == 0
        assert host.gateway.chat(key).status == 401
        assert host.ledger.records(kind="key", event="revoked", key=key_id)
