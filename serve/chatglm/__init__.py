"""Makes a published glm-4v-9b folder servable without its remote code; never runs a Python file of that folder.

glm-4v-9b (architecture GLM4VForCausalLM) publishes its vocabulary as `tokenizer.model` and the code that reads it as
remote Python. `prepare` writes, once, a folder beside it that needs no such code.
"""

from serve.chatglm.folder import NotThisModel, Prepared, SourceIncomplete, TargetInTheWay, prepare
from serve.chatglm.vocabulary import PrepareError, VocabularyBroken

__all__ = [
    "NotThisModel",
    "PrepareError",
    "Prepared",
    "SourceIncomplete",
    "TargetInTheWay",
    "VocabularyBroken",
    "prepare",
]
