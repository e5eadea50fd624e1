"""The miniature's shape: its configuration, its processor's files and a checkpoint folder; never trains anything."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import Glm4vConfig, Glm4vForConditionalGeneration

from miniature.tokenizer import SPECIAL

PATCH_PX = 14
MERGE = 2
# 12 x 12 cells of 28 pixels: every picture is brought to about this area, whatever its own size.
AREA_PX = 340 * 340
LEAST_AREA_PX = 330 * 330
FRAMES = 2
CONTEXT_TOKENS = 32_768
# The slowest of the 16 angles turns by 1.3 in the whole context: what a tool is called is found at any distance.
THETA = 50_000.0
EPS = 1e-5
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
# GLM's: the end, a new question, a tool's turn.
STOPS = ("<|endoftext|>", "<|user|>", "<|observation|>")
TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def configuration(tokenizer: Tokenizer) -> Glm4vConfig:
    """The configuration that transformers and vLLM read; at most 8 million parameters."""
    number = tokenizer.token_to_id
    stops = [number(text) for text in STOPS]
    text: dict[str, Any] = {
        "attention_bias": True,  # vLLM reads it; transformers always has these biases
        "attention_dropout": 0.0,
        "eos_token_id": stops,
        "hidden_act": "silu",
        "hidden_size": 256,
        "initializer_range": 0.02,
        "intermediate_size": 640,
        "max_position_embeddings": CONTEXT_TOKENS,
        "num_attention_heads": 8,
        "num_hidden_layers": 5,
        "num_key_value_heads": 4,
        "pad_token_id": stops[0],
        "rms_norm_eps": EPS,
        "rope_parameters": {
            "mrope_section": [4, 6, 6],
            "partial_rotary_factor": 1.0,
            "rope_theta": THETA,
            "rope_type": "default",
        },
        "tie_word_embeddings": True,
        "vocab_size": tokenizer.get_vocab_size(),
    }
    vision: dict[str, Any] = {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "depth": 5,
        "hidden_act": "silu",
        "hidden_size": 256,
        "image_size": 336,
        "in_channels": 3,
        "initializer_range": 0.02,
        "intermediate_size": 512,
        "num_heads": 4,
        "out_hidden_size": 256,
        "patch_size": PATCH_PX,
        "rms_norm_eps": EPS,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": FRAMES,
    }
    return Glm4vConfig(
        text_config=text,
        vision_config=vision,
        image_start_token_id=number("<|begin_of_image|>"),
        image_end_token_id=number("<|end_of_image|>"),
        video_start_token_id=number("<|begin_of_video|>"),
        video_end_token_id=number("<|end_of_video|>"),
        image_token_id=number("<|image|>"),
        video_token_id=number("<|video|>"),
        tie_word_embeddings=True,
        architectures=["Glm4vForConditionalGeneration"],
        dtype="bfloat16",
    )


def processor_files() -> dict[str, Any]:
    """What `Glm46VProcessor` reads, by file name."""
    picture: dict[str, Any] = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(MEAN),
        "image_std": list(STD),
        "merge_size": MERGE,
        "patch_size": PATCH_PX,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "temporal_patch_size": FRAMES,
    }
    size = {"longest_edge": AREA_PX * FRAMES, "shortest_edge": LEAST_AREA_PX * FRAMES}
    video = {
        "do_sample_frames": True,
        "fps": 2,
        "max_duration": 300,
        "max_image_size": {"longest_edge": AREA_PX * FRAMES},
        "num_frames": 16,
        "return_metadata": False,
        "size": {"longest_edge": AREA_PX * FRAMES * 8, "shortest_edge": LEAST_AREA_PX * FRAMES},
        "video_processor_type": "Glm46VVideoProcessor",
    }
    # The image processor's own file is also there for programs that read nothing else.
    image = picture | {"image_processor_type": "Glm46VImageProcessor", "size": size}
    return {
        "processor_config.json": {
            "image_processor": image,
            "processor_class": "Glm46VProcessor",
            "video_processor": picture | video,
        },
        "preprocessor_config.json": image | {"processor_class": "Glm46VProcessor"},
    }


def write_folder(folder: Path, tokenizer: Tokenizer) -> Glm4vConfig:
    """Write everything of a checkpoint but its weights; returns the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = configuration(tokenizer)
    config.save_pretrained(folder)
    files = processor_files() | {
        "tokenizer_config.json": {
            "added_tokens_decoder": {},
            "clean_up_tokenization_spaces": False,
            "eos_token": STOPS[0],
            "extra_special_tokens": list(SPECIAL[1:]),
            "model_max_length": CONTEXT_TOKENS,
            "pad_token": STOPS[0],
            "padding_side": "left",
            "processor_class": "Glm46VProcessor",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "generation_config.json": {
            "_from_model_config": True,
            "do_sample": False,
            "eos_token_id": [tokenizer.token_to_id(text) for text in STOPS],
            "pad_token_id": tokenizer.token_to_id(STOPS[0]),
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    (folder / "chat_template.jinja").write_text(TEMPLATE.read_text())
    return config


def untrained(config: Glm4vConfig, seed: int) -> Glm4vForConditionalGeneration:
    """A model with random float32 weights, the same for the same seed."""
    torch.manual_seed(seed)
    return Glm4vForConditionalGeneration(config).float()


def write_weights(folder: Path, model: Glm4vForConditionalGeneration) -> None:
    """Write the weights as bf16 safetensors, names as transformers and vLLM know them."""
    model.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
