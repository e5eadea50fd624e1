"""What was recorded: the receipt under an answer, and its proof checked in the browser as the auditor's file does it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Locator, Route, expect

from gateway.ledger.readers.verify_proof import check, read_proof
from tests.page.reader import Reader, drawn
from tests.page.trees import proofs
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway

RECEIPTS = re.compile("/v1/audit/receipts/")
CHECK = """async ([proof, key]) => {
    const { checkProof, Refused } = await import("/static/app/proof.js");
    try {
        const found = await checkProof(proof, key);
        return [found.origin, found.index, found.size, found.signature];
    } catch (error) {
        if (!(error instanceof Refused)) throw error;
        return error.message;
    }
}"""


def verified(answer: Locator) -> Locator:
    answer.locator(".verify").click()
    expect(answer.locator(".verdict")).to_be_visible(timeout=10_000)
    return answer.locator(".verdict")


def test_a_receipt_is_verified_and_shows_lengths_and_digests_but_no_content(
    reader: Reader, engine: FakeEngine, ledger: Ledger
) -> None:
    reader.choose(drawn(64, 48))
    answer = reader.whole(reader.ask("A very secret question?"))
    expect(answer.locator(".receipt-line")).to_contain_text("Recorded")
    expect(answer.locator(".receipt-line")).to_contain_text(re.compile(r"record \d+"))
    verdict = verified(answer)
    expect(verdict).to_contain_text("Verified: this exchange is in the signed log.")
    expect(verdict.locator(".steps li")).to_have_count(3)
    expect(verdict).to_contain_text("signed by the log's key (Ed25519)")
    expect(verdict).to_contain_text("23 characters")
    expect(verdict).to_contain_text("image/png, 64 × 48")
    expect(verdict).to_contain_text("completed, stop")
    expect(verdict).to_contain_text("21 characters")  # the answer's
    public = (ledger.home / "ledger-keys" / "public.key").read_text().strip()
    expect(verdict).to_contain_text(public)
    expect(verdict).to_contain_text("seen for the first time")
    assert "secret" not in verdict.inner_text()
    record = ledger.records(kind="admit")[-1]
    expect(verdict).to_contain_text(record["prompt"]["digest"])


def test_the_logs_key_is_remembered_and_a_saved_proof_passes_the_auditors_own_check(
    reader: Reader, ledger: Ledger, tmp_path: Path
) -> None:
    verified(reader.whole(reader.ask("One")))
    verdict = verified(reader.whole(reader.ask("Two")))
    expect(verdict).to_contain_text("this browser remembers from")
    saved: list[str] = []
    reader.page.on("download", lambda download: saved.append(Path(download.path()).read_text()))
    with reader.page.expect_download():
        verdict.get_by_role("button", name="Save proof").click()
    public = (ledger.home / "ledger-keys" / "public.key").read_text()
    origin, _, _, record = check(saved[0], public)
    assert record is not None
    assert json.loads(record)["kind"] in ("admit", "complete")
    assert public.startswith(origin)


def changed_proof(change: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    def apply(given: dict[str, Any]) -> None:
        given["proofs"][0] = change(given["proofs"][0])

    return apply


def another_record(given: dict[str, Any]) -> None:
    given["proofs"] = given["proofs"][1:] * 2


def another_key(given: dict[str, Any]) -> None:
    name, _, coded = given["key"].split("+", 2)  # base64 may have a plus of its own
    given["key"] = f"{name}+00000000+{coded}"


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (changed_proof(lambda proof: proof.replace("\nindex ", "\nindex 1", 1)), "does not lead to the signed head"),
        (
            changed_proof(lambda proof: re.sub(r"extra e", "extra f", proof, count=1)),
            "does not lead to the signed head",
        ),
        (
            changed_proof(lambda proof: re.sub(r"\n\n([^\n]+)\n(\d+)\n", r"\n\n\1\n1\2\n", proof)),
            "not signed by its key",
        ),
        (another_record, "not the one that came with this answer"),
        (another_key, "malformed"),
    ],
    ids=["index", "record", "size", "another record", "key"],
)
def test_a_proof_that_lies_is_refused(reader: Reader, lie: Callable[[dict[str, Any]], None], told: str) -> None:
    def tell(route: Route) -> None:
        answer = route.fetch()
        given = answer.json()
        if answer.status == 200:
            lie(given)
        route.fulfill(response=answer, json=given)

    answer = reader.whole(reader.ask("Hello"))
    reader.page.route(RECEIPTS, tell)
    verdict = verified(answer)
    expect(verdict).to_contain_text("Not verified.")
    expect(verdict).to_contain_text(told)


def test_a_log_that_shows_another_key_than_before_is_refused(reader: Reader) -> None:
    verified(reader.whole(reader.ask("One")))
    swapped = "Object.values(known)[0].key = Object.values(known)[0].key.replace('+', '+0')"
    reader.page.evaluate(
        f"""() => {{
            const known = JSON.parse(localStorage.getItem("vitrine.log-keys"));
            {swapped};
            localStorage.setItem("vitrine.log-keys", JSON.stringify(known));
        }}"""
    )
    expect(verified(reader.whole(reader.ask("Two")))).to_contain_text("another key than the one this browser remembers")


def proof_of(gateway: Gateway, key: str) -> tuple[str, str]:
    """A real proof, and the log's key as the server tells it."""
    answer = gateway.chat(key)
    path = f"/v1/audit/receipts/{answer.headers['x-audit-id']}"
    for _ in range(100):
        receipt = gateway.request("GET", path, key=key)
        if receipt.status == 200:
            return receipt.json["proofs"][0], receipt.json["key"]
    raise AssertionError("no head covered the exchange")


def test_the_browser_and_the_auditors_file_agree_on_every_changed_line(
    visitor: Reader, gateway: Gateway, key: str
) -> None:
    proof, public = proof_of(gateway, key)
    origin, index, size, _ = check(proof, public)
    assert visitor.page.evaluate(CHECK, [proof, public]) == [origin, index, size, True]
    lines = proof.split("\n")
    assert len(read_proof(proof)[2]) >= 2
    for number, line in enumerate(lines):
        dropped = "\n".join(lines[:number] + lines[number + 1 :])
        doubled = "\n".join([*lines[:number], line, *lines[number:]])
        flipped = "\n".join([*lines[:number], _flip(line), *lines[number + 1 :]])
        for mutation in {dropped, doubled, flipped} - {proof}:
            seen = visitor.page.evaluate(CHECK, [mutation, public])
            assert _passes(mutation, public) == (not isinstance(seen, str)), (number, mutation, seen)


def _flip(line: str) -> str:
    middle = len(line) // 2
    return line[:middle] + ("B" if line[middle : middle + 1] != "B" else "C") + line[middle + 1 :]


def _passes(proof: str, public: str) -> bool:
    try:
        check(proof, public)
    except Exception:  # noqa: BLE001  whatever a reader trips over is a refusal
        return False
    return True


def test_trees_of_every_size_are_walked_as_the_auditors_file_does_it(visitor: Reader) -> None:
    """The walk from leaf to root, on trees made here, for each leaf of each size up to 20."""
    made = list(proofs(Ed25519PrivateKey.generate(), most=20))
    found = visitor.page.evaluate(
        f"async (made) => {{ const one = {CHECK}; return Promise.all(made.map(one)); }}", [list(pair) for pair in made]
    )
    assert [tuple(one) for one in found] == [(*check(proof, public)[:3], True) for proof, public in made]
