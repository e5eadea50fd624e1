"""What is prepared for a GPU: flags that vLLM knows, tables that can be read, metrics that are subtracted rightly."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest import scenario as scenario_
from loadtest.errors import WrongUsage
from loadtest.gpu import report, trace, watch
from loadtest.gpu.variants import read
from loadtest.words import of_tokenizer
from serve.profile import load
from tests.support.process import TOP, run

FOLDER = TOP / "loadtest" / "gpu"
FILES = ("h100.toml", "miniature.toml")


@pytest.mark.parametrize("name", FILES)
def test_every_load_asks_a_scenario_that_there_is_and_is_used(name: str) -> None:
    campaign = read(FOLDER / name)
    assert {load.scenario for load in campaign.loads.values()} <= set(scenario_.names())
    assert {label for variant in campaign.variants.values() for label in variant.loads} == set(campaign.loads)
    for variant in campaign.variants.values():
        assert variant.predicts
        # vLLM's profiler is there only where the flags ask for it.
        traced = any(campaign.loads[label].trace for label in variant.loads)
        assert traced == bool(variant.flags.get("profiler-config"))


def test_a_table_of_variants_that_can_not_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('max_model_len = 1\n[base]\n[loads]\n[variants.a]\npredicts = "x"\nloads = ["none"]\n')
    with pytest.raises(WrongUsage, match="variant a has no such loads: none"):
        read(path)
    done = run("loadtest.gpu", "model", "--variants", str(path), "--out", str(tmp_path), env={})
    assert done.returncode == 64
    assert done.stderr.startswith("error: ")


def test_a_variant_that_is_like_another_has_its_flags_and_its_own(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    one = '[variants.one]\npredicts = "x"\nloads = []\nflags = { a = 1, b = 2 }\nenvironment = { E = "1" }\n'
    two = '[variants.two]\npredicts = "y"\nlike = "one"\nloads = []\nflags = { b = "", c = 3 }\n'
    path.write_text(f"max_model_len = 1\n[base]\n[loads]\n{one}{two}")
    campaign = read(path)
    assert campaign.variants["two"].environment == {"E": "1"}
    assert campaign.arguments(campaign.variants["two"]) == ["--max-model-len", "1", "--a", "1", "--c", "3"]
    path.write_text(f"max_model_len = 1\n[base]\n[loads]\n{two}")
    with pytest.raises(WrongUsage, match="variant two is like one, which is no variant"):
        read(path)


def test_an_object_of_a_variant_keeps_the_keys_that_are_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    one = """[variants.one]\npredicts = "x"\nloads = []\nflags = { a = '{"b": 1, "c": 2}', d = '{"e": 1}' }\n"""
    two = """[variants.two]\npredicts = "y"\nlike = "one"\nloads = []\nflags = { a = '{"c": 3}', d = "", f = '{"g": 4}' }\n"""
    path.write_text(f"max_model_len = 1\n[base]\n[loads]\n{one}{two}")
    variants = read(path).variants
    assert variants["two"].flags == {"a": '{"b": 1, "c": 3}', "d": "", "f": '{"g": 4}'}
    assert variants["one"].flags["a"] == '{"b": 1, "c": 2}'


def test_a_variant_is_a_profile_but_for_what_the_campaign_says(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    one = (
        '[variants.one]\npredicts = "x"\nprofile = "glm-4.6v-flash-fp8"\nloads = []\nflags = { api-server-count = 3 }\n'
    )
    two = '[variants.two]\npredicts = "y"\nlike = "one"\nloads = []\nenvironment = { OMP_NUM_THREADS = "4" }\n'
    path.write_text(f'max_model_len = 7\n[base]\nload-format = "dummy"\n[loads]\n{one}{two}')
    campaign = read(path)
    shipped = load("glm-4.6v-flash-fp8")
    variant = campaign.variants["two"]
    words = campaign.arguments(variant)
    assert words[words.index("--load-format") + 1] == "dummy"
    assert [words[place + 1] for place, word in enumerate(words) if word == "--max-model-len"] == ["7"]
    assert {**shipped.flags, **variant.flags} == {**shipped.flags, "api-server-count": 3}
    assert variant.environment == {**shipped.environment, "OMP_NUM_THREADS": "4"}
    path.write_text(path.read_text().replace("glm-4.6v-flash-fp8", "none"))
    with pytest.raises(WrongUsage, match="there is no profile 'none'; choose one of"):
        read(path)


def test_a_tokenizers_own_words_are_whole_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": {"Ġtajifat": 1, "Ġ左": 2, "ab": 3, "Ġ12": 4, "Ġis": 5}}}))
    assert of_tokenizer(path) == ["tajifat", "is"]
    path.write_text('{"model": {"vocab": {"a": 1}}}')
    with pytest.raises(WrongUsage, match="no tokens that are whole words"):
        of_tokenizer(path)


def test_metrics_between_two_readings_are_means_and_differences() -> None:
    first = "vllm:time_to_first_token_seconds"
    before = {f"{first}_sum": 1.0, f"{first}_count": 10.0, "vllm:prompt_tokens_total": 5.0}
    after = {f"{first}_sum": 1.5, f"{first}_count": 20.0, "vllm:prompt_tokens_total": 25.0}
    assert watch.delta(before, after) == {"server's first token, ms": 50.0, "prompt tokens": 20.0}
    assert watch.delta(after, after) == {}


def test_stacks_and_kernels_are_ranked(tmp_path: Path) -> None:
    (tmp_path / "a.stacks").write_text("p;main (a.py:1);/x/decode (b.py:2) 30\np;main (a.py:1) 10\nbroken\n")
    assert watch.top_stacks(tmp_path / "a.stacks") == [("decode (b.py:2)", 0.75), ("main (a.py:1)", 0.25)]
    events = [
        {"cat": "kernel", "name": "gemm", "ts": 1000.0, "dur": 500.0},
        {"cat": "kernel", "name": "gemm", "ts": 2000.0, "dur": 500.0},
        {"cat": "gpu_memcpy", "name": "copy", "ts": 2500.0, "dur": 100.0},
        {"cat": "cpu_op", "name": "aten::mm", "ts": 0.0, "dur": 9000.0},
    ]
    (tmp_path / "t.pt.trace.json").write_text(json.dumps({"traceEvents": events}))
    found = trace.summary(tmp_path, within_s=1)
    assert (found["busy_ms"], found["span_ms"]) == (1.1, 1.6)
    assert found["kernels"][0] == {"name": "gemm", "ms": 1.0, "count": 2}
    assert found["steps"] == {}
    assert found["idle"] == {"ms": 0.5, "before": [{"name": "gemm", "ms": 0.5, "count": 1, "most": 0.5}]}
    assert trace.summary(tmp_path, since_s=time.time() + 60, within_s=0.1)["kernels"] == []


def test_a_step_is_known_by_its_annotation_on_both_sides(tmp_path: Path) -> None:
    prefill, decode = "execute_context_1(677)_generation_2(2)", "execute_context_0(0)_generation_3(3)"
    events = [
        {"cat": "user_annotation", "name": prefill, "ts": 0.0, "dur": 30_000.0},
        {"cat": "gpu_user_annotation", "name": prefill, "ts": 1_000.0, "dur": 40_000.0},
        {"cat": "kernel", "name": "a", "ts": 2_000.0, "dur": 10_000.0},
        {"cat": "kernel", "name": "b", "ts": 20_000.0, "dur": 15_000.0},
        {"cat": "user_annotation", "name": decode, "ts": 50_000.0, "dur": 2_000.0},
        {"cat": "kernel", "name": "c", "ts": 60_000.0, "dur": 5_000.0},
    ]
    (tmp_path / "t.pt.trace.json").write_text(json.dumps({"traceEvents": events}))
    assert trace.summary(tmp_path, within_s=1)["steps"] == {
        "with prompts": {"count": 1, "launched": 30.0, "tokens": 679, "span": 40.0, "busy": 25.0},
        "answers alone": {"count": 1, "launched": 2.0, "tokens": 3},
    }


def test_a_card_is_idle_only_while_no_stream_works(tmp_path: Path) -> None:
    events = [
        {"cat": "kernel", "name": "long", "ts": 0.0, "dur": 500.0},
        {"cat": "kernel", "name": "on another stream", "ts": 100.0, "dur": 50.0},
        {"cat": "kernel", "name": "soon", "ts": 510.0, "dur": 90.0},
        {"cat": "kernel", "name": "late", "ts": 700.0, "dur": 100.0},
        {"cat": "kernel", "name": "latest", "ts": 1800.0, "dur": 1.0},
    ]
    (tmp_path / "t.pt.trace.json").write_text(json.dumps({"traceEvents": events}))
    found = trace.summary(tmp_path, within_s=1)
    assert found["idle"]["ms"] == 1.1
    assert [(one["name"], one["ms"]) for one in found["idle"]["before"]] == [("latest", 1.0), ("late", 0.1)]
    lines = report.variant("a", "x", {"alone": {"failed": "no", "seen": {"kernels": found}}})
    assert "1.1 ms with nothing to do, in gaps of 20 µs or more" in lines
    assert "0.10 ms      1 × (at most 0.1) before late" in lines


def test_where_a_first_token_comes_from_adds_up() -> None:
    engine = {"server's first token, ms": 40.0, "queue, ms": 1.0, "prefill, ms": 25.0}
    load: dict[str, Any] = {"at_once": 1, "seen": {"engine": engine}, "first_token_ms": {"mean": 50.0}}
    rows = [line.split("|")[2].strip() for line in report.stages({"alone": load})[4:-1]]
    assert rows == ["50.00", "10.00", "14.00", "1.00", "25.00"]
    assert report.stages({"alone": {**load, "at_once": 2}}) == []


def test_a_gateway_that_does_not_start_ends_it_before_an_engine_is_started(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text(
        'max_model_len = 1\n[base]\n[gateway]\nVITRINE_NO_SUCH = "1"\n[loads]\n[variants.a]\npredicts = "x"\nloads = []\n'
    )
    done = run(
        "loadtest.gpu",
        "model",
        "--variants",
        str(path),
        "--out",
        str(tmp_path / "out"),
        "--place",
        str(tmp_path),
        "--english",
        env={},
        within_s=100,
    )
    assert done.returncode == 1
    assert "nothing measured: the gateway does not start on this machine" in done.stderr
    assert "unknown setting VITRINE_NO_SUCH" in done.stderr


def test_shared_memory_for_pictures_comes_with_what_vllm_demands_for_it() -> None:
    """vLLM 0.32 ends at its start otherwise; its parser does not tell."""
    for variant in read(FOLDER / "h100.toml").variants.values():
        shared = variant.flags.get("mm-tensor-ipc") == "torch_shm"
        ranks = {"data-parallel-size", "tensor-parallel-size"} & variant.flags.keys()
        assert not shared or (variant.environment.get("VLLM_WORKER_MULTIPROC_METHOD") == "spawn" and not ranks)
