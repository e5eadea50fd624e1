"""One published miniature for the tests of this folder."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ranks() -> str:
    """The text of a trained `tokenizer.model`."""
    pytest.importorskip("tokenizers", reason="needs an engine's packages: make setup")
    pytest.importorskip("transformers", reason="needs an engine's packages: make setup")
    from tests.serve.chatglm.published import ranks_text

    return ranks_text()


@pytest.fixture
def published(tmp_path: Path, ranks: str) -> Path:
    """A published miniature whose shards are empty."""
    from tests.serve.chatglm.published import publish

    return publish(tmp_path / "published", ranks)
