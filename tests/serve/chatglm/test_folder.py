"""A published folder becomes a servable one, whole or not at all, and is itself left as it was."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from serve.chatglm import NotThisModel, SourceIncomplete, TargetInTheWay, VocabularyBroken, prepare
from tests.serve.chatglm.published import write_json


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_prepared_folder_points_to_no_code(published: Path, tmp_path: Path) -> None:
    done = prepare(published, tmp_path / "models" / "prepared")
    names = {path.name for path in (tmp_path / "models" / "prepared").iterdir()}
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert names == shards | {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not any("auto_map" in read(path) for path in (tmp_path / "models" / "prepared").glob("*.json"))
    assert (done.weight_files, done.base_tokens) == (2, read(published / "config.json")["pad_token_id"])


def test_the_config_keeps_every_number_of_the_published_one(published: Path, tmp_path: Path) -> None:
    prepare(published, tmp_path / "prepared")
    old, new = read(published / "config.json"), read(tmp_path / "prepared" / "config.json")
    assert new.pop("architectures") == ["GLM4VForCausalLM"]
    del old["architectures"], old["auto_map"]
    assert new == old


def test_a_config_of_no_version_gets_one(published: Path, tmp_path: Path) -> None:
    config = read(published / "config.json")
    del config["transformers_version"]
    write_json(published / "config.json", config)
    prepare(published, tmp_path / "prepared")
    assert read(tmp_path / "prepared" / "config.json")["transformers_version"] == "5.0.0"


def test_an_answer_ends_where_anybody_else_would_speak(published: Path, tmp_path: Path) -> None:
    prepare(published, tmp_path / "prepared")
    base = read(published / "config.json")["pad_token_id"]
    generation = read(tmp_path / "prepared" / "generation_config.json")
    assert generation["eos_token_id"] == [base, base + 7, base + 9]
    assert generation["temperature"] == 0.8


def test_weights_are_linked_and_the_source_is_untouched(published: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in published.iterdir()}
    assert prepare(published, tmp_path / "prepared").hard_links
    shard = "model-00001-of-00002.safetensors"
    assert (tmp_path / "prepared" / shard).samefile(published / shard)
    assert {path.name: path.read_bytes() for path in published.iterdir()} == before


def test_weights_of_another_file_system_are_linked_by_name(published: Path, tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    elsewhere = memory / f"vitrine-{os.getpid()}-{tmp_path.name}"
    try:
        assert not prepare(published, elsewhere).hard_links
        shard = "model-00002-of-00002.safetensors"
        assert (elsewhere / shard).is_symlink()
        assert (elsewhere / shard).samefile(published / shard)
    finally:
        for path in elsewhere.iterdir():
            path.unlink()
        elsewhere.rmdir()


def test_a_download_cache_of_symbolic_links_is_followed(published: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in published.iterdir():
        (snapshot / path.name).symlink_to(path)
    prepare(snapshot, tmp_path / "prepared")
    assert not any(path.is_symlink() for path in (tmp_path / "prepared").iterdir())


def test_one_file_of_weights_needs_no_index(published: Path, tmp_path: Path) -> None:
    (published / "model.safetensors.index.json").unlink()
    (published / "model-00001-of-00002.safetensors").rename(published / "model.safetensors")
    assert prepare(published, tmp_path / "prepared").weight_files == 1


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.model", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
)
def test_a_missing_file_is_named_and_nothing_is_made(published: Path, tmp_path: Path, name: str) -> None:
    (published / name).unlink()
    said = "model.safetensors" if name.endswith("index.json") else name
    with pytest.raises(SourceIncomplete, match=f"has no {said}. Fetch"):
        prepare(published, tmp_path / "prepared")
    assert [path.name for path in tmp_path.iterdir()] == ["published"]


def test_a_failure_half_way_leaves_nothing(published: Path, tmp_path: Path) -> None:
    write_json(published / "generation_config.json", {})
    (published / "generation_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(SourceIncomplete, match=r"generation_config\.json is not JSON"):
        prepare(published, tmp_path / "prepared")
    assert [path.name for path in tmp_path.iterdir()] == ["published"]


def test_a_folder_in_the_way_is_left_alone(published: Path, tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "mine").touch()
    with pytest.raises(TargetInTheWay, match="Remove it"):
        prepare(published, tmp_path / "prepared")
    assert (tmp_path / "prepared" / "mine").exists()


def test_a_newer_glm_is_told_that_it_needs_no_preparation(published: Path, tmp_path: Path) -> None:
    write_json(published / "config.json", {"model_type": "glm4v", "vision_config": {}})
    with pytest.raises(NotThisModel, match="serve their folder as it is"):
        prepare(published, tmp_path / "prepared")


def test_a_vocabulary_that_lost_its_last_line_is_noticed(published: Path, tmp_path: Path) -> None:
    lines = (published / "tokenizer.model").read_text(encoding="ascii").splitlines(keepends=True)
    (published / "tokenizer.model").write_text("".join(lines[:-1]), encoding="ascii")
    with pytest.raises(NotThisModel, match="one is cut short"):
        prepare(published, tmp_path / "prepared")


def test_special_tokens_in_another_order_are_noticed(published: Path, tmp_path: Path) -> None:
    config = read(published / "tokenizer_config.json")
    first, second, *_ = config["added_tokens_decoder"].values()
    first["content"], second["content"] = second["content"], first["content"]
    write_json(published / "tokenizer_config.json", config)
    with pytest.raises(NotThisModel, match="is published as token"):
        prepare(published, tmp_path / "prepared")


def test_an_index_cannot_reach_outside_the_folder(published: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.safetensors").touch()
    write_json(published / "model.safetensors.index.json", {"weight_map": {"a": "../secret.safetensors"}})
    with pytest.raises(SourceIncomplete, match="does not name this folder's"):
        prepare(published, tmp_path / "prepared")


def test_a_git_lfs_pointer_is_not_a_vocabulary(published: Path, tmp_path: Path) -> None:
    (published / "tokenizer.model").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="ascii")
    with pytest.raises(VocabularyBroken, match="line 1 "):
        prepare(published, tmp_path / "prepared")
