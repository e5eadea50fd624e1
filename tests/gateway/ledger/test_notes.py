"""Notes, checkpoints and proofs against C2SP's formats: its own examples, round trips, then every byte mutated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.ledger.errors import Tampered
from gateway.ledger.format.checkpoint import TreeHead, open_head, parse_text, sign_head
from gateway.ledger.format.head_file import is_beginning, open_stored, read_heads, sign_stored
from gateway.ledger.format.merkle import ProofError, full_root, leaf_hash, prove_inclusion, root_of
from gateway.ledger.format.note import COSIGNATURE, NoteError, Signer, Verifier, open_note, parse_note, sign_note
from gateway.ledger.format.proof import InclusionProof, check_proof, format_proof, parse_proof
from gateway.ledger.readers import verify_proof
from gateway.ledger.storage.seal import Seal, parse_seal

# The well-known example of golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


@pytest.fixture
def signer() -> Signer:
    return Signer("test.example/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def test_the_example_of_gos_note_package_opens() -> None:
    text, time_s = open_note(GO_NOTE, Verifier.parse(GO_KEY))
    assert text.startswith("If you think cryptography")
    assert time_s is None


def test_a_key_has_one_text_form() -> None:
    assert Verifier.parse(GO_KEY).format() == GO_KEY


@pytest.mark.parametrize("text", ["", "a+b", "a+00000000+AAAA", GO_KEY[:-4] + "AAA=", GO_KEY.replace("c7", "c8")])
def test_a_broken_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Verifier.parse(text)


def test_the_head_tells_its_time_in_a_cosignature(signer: Signer) -> None:
    head = TreeHead("test.example/log", 3, bytes(32), 1_795_000_000)
    note = sign_head(head, signer)
    assert open_head(note, signer.verifier) == head
    _, lines = parse_note(note)
    assert lines[1].key_id == signer.verifier.key_id(COSIGNATURE)
    assert len(lines[1].signature) == 8 + 64


def test_signatures_of_others_are_ignored_but_one_of_ours_must_be_there(signer: Signer) -> None:
    other = Signer("witness.example", Ed25519PrivateKey.generate())
    text = TreeHead("test.example/log", 0, bytes(32)).text()
    both = sign_note(text, signer) + sign_note(text, other).rpartition("\n\n")[2]
    assert open_head(both, signer.verifier).size == 0
    with pytest.raises(NoteError):
        open_head(sign_note(text, other), signer.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "origin\n1\nAAAA\n",
        "origin\n01\n" + "A" * 43 + "=\n",
        "origin\n-1\n" + "A" * 43 + "=\n",
        "origin\n1\n",
        "\n1\n" + "A" * 43 + "=\n",
        "origin\n１\n" + "A" * 43 + "=\n",
        "origin\n1\n" + "A" * 43 + "=",
    ],
)
def test_a_checkpoint_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_text(text)


def each_flip(data: bytes) -> list[bytes]:
    return [
        data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :] for at in range(len(data)) for bit in (0x01, 0x20, 0x80)
    ]


def refused(check: Callable[[str], object], data: bytes) -> bool:
    try:
        check(data.decode())
    except (ValueError, Tampered):
        return True
    return False


def test_no_flipped_byte_of_a_stored_head_goes_unseen(signer: Signer) -> None:
    note = sign_stored(TreeHead("test.example/log", 5, bytes(range(32)), 1_795_000_000), signer)
    assert open_stored(note.decode(), signer.verifier).size == 5
    for changed in each_flip(note):
        assert refused(lambda text: open_stored(text, signer.verifier), changed)


def test_no_flipped_byte_of_a_file_of_heads_goes_unseen_not_even_the_last(signer: Signer) -> None:
    data = b"".join(sign_stored(TreeHead("test.example/log", n, bytes(32), 1_795_000_000 + n), signer) for n in (1, 2))
    for changed in each_flip(data):
        with pytest.raises(Tampered):
            read_heads(changed, signer.verifier, last=True)


def test_what_a_crash_leaves_of_a_head_is_known_as_such_at_every_length(signer: Signer) -> None:
    note = sign_stored(TreeHead("test.example/log", 1234, bytes(range(32)), 1_795_000_000), signer)
    for length in range(len(note)):
        heads, torn = read_heads(note + note[:length], signer.verifier, last=True)
        assert (len(heads), torn) == (1, length)
        if length:
            with pytest.raises(Tampered):
                read_heads(note + note[:length], signer.verifier, last=False)
    assert not is_beginning(note[:-1] + b"x", signer.verifier)


def test_no_flipped_byte_of_a_seal_goes_unseen(signer: Signer) -> None:
    digest = "0" * 64
    seal = Seal("test.example/log", 1, 0, 5, 900, digest, digest, digest, digest, 1, 2)
    note = sign_note(seal.text(), signer).encode()
    assert parse_seal(note, signer.verifier) == seal
    for changed in each_flip(note):
        with pytest.raises(Tampered):
            parse_seal(changed, signer.verifier)


@pytest.fixture
def proven(signer: Signer) -> str:
    records = [b'{"record":%d}' % number for number in range(11)]
    leaves = [leaf_hash(record) for record in records]
    path = prove_inclusion(6, 11, lambda level, index: full_root(leaves[index << level : (index + 1) << level]))
    checkpoint = sign_head(TreeHead("test.example/log", 11, root_of(leaves), 1_795_000_000), signer)
    return format_proof(InclusionProof(6, tuple(path), checkpoint, records[6]))


def test_a_proof_comes_back_as_it_was_written(proven: str, signer: Signer) -> None:
    proof = parse_proof(proven)
    assert format_proof(proof) == proven
    assert proof.extra == b'{"record":6}'
    assert check_proof(proof, leaf_hash(b'{"record":6}'), signer.verifier).size == 11
    with pytest.raises(ProofError):
        check_proof(proof, leaf_hash(b'{"record":7}'), signer.verifier)


def test_the_auditors_file_accepts_what_we_prove_and_gives_the_record(proven: str, signer: Signer) -> None:
    found = verify_proof.check(proven, signer.verifier.format())
    assert found == ("test.example/log", 6, 11, b'{"record":6}')


def test_no_flipped_byte_of_a_proof_convinces_the_auditors_file(proven: str, signer: Signer) -> None:
    unsigned = proven.rindex("— ")  # the second signature line is the time's, which this file does not read
    for changed in each_flip(proven.encode()[: len(proven[:unsigned].encode())]):
        try:
            text = changed.decode() + proven[unsigned:]
            found = verify_proof.check(text, signer.verifier.format())
        except (verify_proof.ProofRefused, UnicodeDecodeError):
            continue
        assert found == ("test.example/log", 6, 11, b'{"record":6}'), "another record was accepted"


def test_the_auditors_file_runs_alone(proven: str, signer: Signer, tmp_path: Path) -> None:
    program = tmp_path / "verify_proof.py"
    program.write_bytes(Path(verify_proof.__file__).read_bytes())
    (tmp_path / "x.tlog-proof").write_text(proven)
    (tmp_path / "key").write_text(signer.verifier.format())
    other = Signer("test.example/log", Ed25519PrivateKey.generate()).verifier.format()

    def run(*arguments: str) -> int:
        done = subprocess.run(
            [sys.executable, "-I", str(program), *arguments], cwd=tmp_path, capture_output=True, timeout=60, check=False
        )
        return done.returncode

    assert run("x.tlog-proof", "--key", "key") == 0
    assert run("x.tlog-proof", "--key", signer.verifier.format()) == 0
    assert run("x.tlog-proof", "--key", other) == 10
    assert run("x.tlog-proof", "--key", "key", "--leaf", "A" * 43 + "=") == 10
    assert run("missing", "--key", "key") == 64
    assert run() == 64
