"""Makes a miniature of glm-4v-9b as it is published, with random weights; never fetches anything.

The folder has what the real one has: safetensors shards with an index, `tokenizer.model` as ranks, and Python files,
which here end the process that runs them.
"""

import base64
import json
from pathlib import Path
from typing import Any

from serve.chatglm.vocabulary import SPECIAL_TOKENS

IMAGE_TOKENS = 16  # 112 px in patches of 14, then 2 x 2 patches a token

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's what they've said, and we'll say it: don't.",
    "What is in this picture? A red circle on the left, a blue square on the right.",
    "图片里有什么？左边是一个红色的圆形，右边是一个蓝色的正方形。你好，世界！",
    "def answer(question: str) -> str:\n    return {'a': 1, \"b\": [2, 3.14]}[question]\n\n\n",
    "1234567890 12,345.67 © 2024 😀👍🏽 naïve café \t\tend\r\n",
]


def ranks_text(tokens: int = 600) -> str:
    """A `tokenizer.model` of that many tokens, trained on CORPUS: one line of base64 and rank for each."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=tokens, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    byte_of = _byte_of_character()
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    return "".join(
        f"{base64.b64encode(bytes(byte_of[character] for character in token)).decode()} {rank}\n"
        for token, rank in vocabulary
    )


def _byte_of_character() -> dict[str, int]:
    """The byte-level alphabet: printable bytes stand for themselves, the others follow from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


def config(base_tokens: int) -> dict[str, Any]:
    """config.json with the published one's keys and small numbers."""
    return {
        "model_type": "chatglm",
        "architectures": ["ChatGLMModel"],
        "auto_map": {
            "AutoConfig": "configuration_chatglm.ChatGLMConfig",
            "AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration",
        },
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "ffn_hidden_size": 128,
        "hidden_size": 64,
        "kv_channels": 32,
        "layernorm_epsilon": 1.5625e-07,
        "multi_query_attention": True,
        "multi_query_group_num": 1,
        "num_attention_heads": 2,
        "num_layers": 2,
        "original_rope": True,
        "padded_vocab_size": 640,
        "post_layer_norm": True,
        "rmsnorm": True,
        "seq_length": 512,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.44.0",
        "eos_token_id": [base_tokens, base_tokens + 7, base_tokens + 9],
        "pad_token_id": base_tokens,
        "boi_token_id": base_tokens + 10,
        "eoi_token_id": base_tokens + 11,
        "vision_config": {
            "dropout_prob": 0.0,
            "hidden_act": "gelu",
            "in_channels": 3,
            "num_hidden_layers": 1,
            "hidden_size": 64,
            "patch_size": 14,
            "num_heads": 2,
            "intermediate_size": 128,
            "layer_norm_eps": 1e-06,
            "num_positions": 65,
            "image_size": 112,
            "scaling_factor": 8,
        },
    }


def shapes() -> dict[str, tuple[int, ...]]:
    """Tensor name → shape, named as in the published checkpoint; `config`'s numbers."""
    named: dict[str, tuple[int, ...]] = {
        "embedding.word_embeddings.weight": (640, 64),
        "output_layer.weight": (640, 64),
        "encoder.final_layernorm.weight": (64,),
        "rotary_pos_emb.inv_freq": (8,),
    }
    for layer in range(2):
        named |= {
            f"encoder.layers.{layer}.input_layernorm.weight": (64,),
            f"encoder.layers.{layer}.post_attention_layernorm.weight": (64,),
            f"encoder.layers.{layer}.self_attention.query_key_value.weight": (128, 64),
            f"encoder.layers.{layer}.self_attention.query_key_value.bias": (128,),
            f"encoder.layers.{layer}.self_attention.dense.weight": (64, 64),
            f"encoder.layers.{layer}.mlp.dense_h_to_4h.weight": (256, 64),
            f"encoder.layers.{layer}.mlp.dense_4h_to_h.weight": (64, 128),
        }
    block = "vision.transformer.layers.0."
    for name, shape in {
        "vision.patch_embedding.proj": (64, 3, 14, 14),
        block + "attention.query_key_value": (192, 64),
        block + "attention.dense": (64, 64),
        block + "mlp.fc1": (128, 64),
        block + "mlp.fc2": (64, 128),
        block + "input_layernorm": (64,),
        block + "post_attention_layernorm": (64,),
        "vision.linear_proj.norm1": (64,),
        "vision.conv": (64, 64, 2, 2),
    }.items():
        named |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    named |= {
        "vision.patch_embedding.cls_embedding": (1, 64),
        "vision.patch_embedding.position_embedding.weight": (65, 64),
        "vision.linear_proj.linear_proj.weight": (64, 64),
        "vision.linear_proj.gate_proj.weight": (128, 64),
        "vision.linear_proj.dense_h_to_4h.weight": (128, 64),
        "vision.linear_proj.dense_4h_to_h.weight": (64, 128),
        "vision.boi": (1, 1, 64),
        "vision.eoi": (1, 1, 64),
    }
    return {f"transformer.{name}": shape for name, shape in named.items()}


def publish(folder: Path, ranks: str) -> Path:
    """Write the published files but for the weights' content (empty shards)."""
    folder.mkdir()
    base_tokens = ranks.count("\n")
    (folder / "tokenizer.model").write_text(ranks, encoding="ascii")
    write_json(folder / "config.json", config(base_tokens))
    write_json(folder / "generation_config.json", {"do_sample": True, "temperature": 0.8, "top_p": 0.8})
    added = {str(base_tokens + place): {"content": token} for place, token in enumerate(SPECIAL_TOKENS)}
    remote = {"AutoTokenizer": ["tokenization_chatglm.ChatGLM4Tokenizer", None]}
    write_json(
        folder / "tokenizer_config.json",
        {"auto_map": remote, "tokenizer_class": "ChatGLM4Tokenizer", "added_tokens_decoder": added},
    )
    for module in ("configuration_chatglm", "modeling_chatglm", "tokenization_chatglm", "visual"):
        (folder / f"{module}.py").write_text("raise SystemExit('remote code ran')\n", encoding="utf-8")
    names = sorted(shapes())
    shard_of = {name: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(names)}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": shard_of})
    for shard in set(shard_of.values()):
        (folder / shard).touch()
    return folder


def fill_weights(folder: Path) -> None:
    """Replace the empty shards of `publish` with random weights, about half a MB."""
    import torch
    from safetensors.torch import save_file

    shard_of = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))["weight_map"]
    generator = torch.Generator().manual_seed(20240605)
    for shard in set(shard_of.values()):
        tensors = {
            name: (torch.randn(shape, generator=generator) * 0.2 + ("norm" in name)).to(torch.bfloat16)
            for name, shape in shapes().items()
            if shard_of[name] == shard
        }
        save_file(tensors, folder / shard, metadata={"format": "pt"})


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
