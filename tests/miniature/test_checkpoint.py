"""The committed checkpoint is what its card says, small enough, and sees pictures as the processor does."""

import hashlib
import json
import re
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from miniature import dialogue, examples, unclear
from miniature.conversation import spans
from miniature.data_loader import Coder, encode
from miniature.tokenizer import load
from tests.support.process import TOP

CHECKPOINT = TOP / "serve" / "checkpoint"
PICTURES = TOP / "docs" / "examples" / "pictures"

# Each test imports PyTorch and transformers itself: every worker collects this file, and few of them run it.
pytestmark = pytest.mark.process  # transformers asks programs of the system when it is imported
# transformers hands tensors to numpy in a way that numpy 2 deprecates.
arrays = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def processor() -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module")
def model() -> Any:
    import torch
    from transformers import Glm4vForConditionalGeneration

    return Glm4vForConditionalGeneration.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()


def test_the_card_names_every_file_with_its_digest() -> None:
    told = dict(re.findall(r"^\| `([^`]+)` \| `([0-9a-f]{64})` \|", (CHECKPOINT / "README.md").read_text(), re.M))
    files = {file.name: file for file in CHECKPOINT.iterdir() if file.name != "README.md"}
    assert told == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}


def test_it_is_small() -> None:
    with safe_open(CHECKPOINT / "model.safetensors", "pt") as weights:
        sizes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118  no mapping
        kinds = {weights.get_slice(name).get_dtype() for name in sizes}
    assert kinds == {"BF16"}
    assert sum(int(np.prod(size)) for size in sizes.values()) <= 8_000_000
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= 20_000_000


def test_the_folder_is_what_the_code_would_write(tmp_path: Path) -> None:
    from miniature import model_config

    model_config.write_folder(tmp_path, load(CHECKPOINT))
    for file in tmp_path.iterdir():
        if file.suffix == ".json":
            written, kept = (json.loads(one.read_text()) for one in (file, CHECKPOINT / file.name))
            assert {**written, "transformers_version": 0} == {**kept, "transformers_version": 0}
        else:
            assert file.read_bytes() == (CHECKPOINT / file.name).read_bytes()


@pytest.mark.parametrize("size", [(336, 336), (392, 280), (448, 252)])
def test_patches_are_the_processors_patches(processor: Any, size: tuple[int, int]) -> None:
    import torch

    from miniature.network import patches

    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), np.uint8))
    theirs = processor.image_processor(images=[picture], return_tensors="pt")["pixel_values"]
    ours = patches(torch.from_numpy(np.asarray(picture).copy())[None])[0]
    # The processor repeats the picture as two frames.
    frames = theirs.view(len(ours), 3, 2, 14, 14)
    assert torch.equal(frames[:, :, 0], frames[:, :, 1])
    assert torch.allclose(frames[:, :, 0].flatten(1), ours, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "cells"),
    [
        ((336, 336), (12, 12)),
        ((224, 224), (12, 12)),
        ((512, 512), (12, 12)),
        ((640, 480), (10, 14)),
        ((1920, 1080), (9, 16)),
    ],
)
def test_every_picture_is_brought_to_about_144_cells(
    processor: Any, size: tuple[int, int], cells: tuple[int, int]
) -> None:
    made = processor.image_processor(images=[Image.new("RGB", size)], return_tensors="pt")
    assert made["image_grid_thw"].tolist() == [[1, 2 * cells[0], 2 * cells[1]]]


@arrays
def test_training_computes_what_transformers_computes(processor: Any, model: Any) -> None:
    import torch

    from miniature.network import Network

    sample = dialogue.pair_sample(Random(4), (392, 280))
    text = "".join(piece.text for piece in spans(sample.conversation))
    inputs = processor(text=[text], images=sample.pictures, return_tensors="pt")
    row = encode(Coder(load(CHECKPOINT)), sample.conversation, (10, 14))
    assert inputs["input_ids"][0].tolist() == row.ids
    network = Network(model)
    with torch.no_grad():
        seen = network.see(torch.from_numpy(np.stack([np.asarray(one) for one in sample.pictures])))
        places = torch.from_numpy(row.places.astype(np.int64))[None]
        ours = torch.nn.functional.linear(network.hidden(torch.tensor([row.ids]), places, seen), model.lm_head.weight)
        theirs = model(**inputs).logits
    assert torch.allclose(ours, theirs, atol=1e-2, rtol=1e-3)


def test_the_examples_are_current_and_small() -> None:
    for name in (*examples.SCENES, *examples.TEXTS):
        kept = PICTURES / name
        assert kept.stat().st_size <= 30_000
        if name in examples.SCENES:  # PIL's own font may change with its version
            assert np.array_equal(np.asarray(Image.open(kept)), np.asarray(examples.draw(name)))
    assert json.loads((PICTURES / "answers.json").read_text()) == examples.truths()


@arrays
def test_the_model_sees_the_first_example(processor: Any, model: Any) -> None:
    import torch

    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe the picture."}]}]
    text = processor.tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, tokenize=False, enable_thinking=False
    )
    inputs = processor(text=[text], images=[examples.draw("circle-and-square.png")], return_tensors="pt")
    with torch.inference_mode():
        out = model.generate(**inputs, max_new_tokens=40, do_sample=False)
    told = processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert told == "A large red circle on the left, a large blue square on the right."


@arrays
def test_a_thought_is_followed_by_the_answer_at_once_and_noise_is_not_guessed_at(processor: Any, model: Any) -> None:
    import torch

    def said(picture: Image.Image, question: str, thinking: bool) -> str:
        asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
        text = processor.tokenizer.apply_chat_template(
            asked, add_generation_prompt=True, tokenize=False, enable_thinking=thinking
        )
        inputs = processor(text=[text], images=[picture], return_tensors="pt")
        with torch.inference_mode():
            out = model.generate(**inputs, max_new_tokens=60, do_sample=False)
        return str(processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    thought, _, answer = said(examples.draw("circle-and-square.png"), "What color is the circle?", True).partition(
        "</think>"
    )
    assert thought.startswith("<think>")
    assert answer == "The circle is red."
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8))
    assert said(noise, "Read the text.", False) == unclear.UNCLEAR["en"]


def test_moves_are_nearly_orthogonal() -> None:
    import torch

    from miniature.muon import orthogonal

    torch.manual_seed(0)
    for size in ((3, 16, 32), (3, 32, 16)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(size)).float())
        assert values.min() > 0.3
        assert values.max() < 1.5
