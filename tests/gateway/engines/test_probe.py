"""What an engine says of itself is taken only where it can be shown."""

from pathlib import Path

import pytest

from gateway.engines.endpoint import parse
from gateway.engines.probe import ProbeFailed, models, token
from tests.support.engine_connections import engine_connections
from tests.support.fake_engine import FakeEngine


@pytest.mark.parametrize(
    ("name", "why"),
    [("glm\x1b[2J", "U+001B"), ("glm\u202e", "U+202E"), ("glm\n", "U+000A"), ("", "empty"), ("g" * 257, "at most 256")],
)
async def test_an_engine_whose_model_has_a_name_that_would_mislead_is_not_asked(
    tmp_path: Path, name: str, why: str
) -> None:
    with FakeEngine(tmp_path, served_names=("glm-4v", name), tcp=True) as engine:
        async with engine_connections(parse(engine.url)) as connections:
            with pytest.raises(ProbeFailed, match="can't be used") as caught:
                await models(connections, 10)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


async def test_a_models_name_may_be_a_path_or_of_any_script(tmp_path: Path) -> None:
    with FakeEngine(tmp_path, served_names=("./models/glm-4v", "视觉"), tcp=True) as engine:
        async with engine_connections(parse(engine.url)) as connections:
            assert [model.id for model in await models(connections, 10)] == ["./models/glm-4v", "视觉"]


@pytest.mark.parametrize("said", [b'{"model": "\xff"}', b'{"model": ' + b"[" * 100_000])
async def test_an_answer_that_no_reader_understands_proves_nothing(tmp_path: Path, said: bytes) -> None:
    """Whatever it is, the prober must learn of it: an error that it does not expect would leave the engine in rotation."""
    with FakeEngine(tmp_path, tcp=True) as engine:
        engine.probes_misbehave, engine.raw = True, said
        async with engine_connections(parse(engine.url)) as connections:
            with pytest.raises(ProbeFailed, match="not understood"):
                await token(connections, "glm-4v", 10)
