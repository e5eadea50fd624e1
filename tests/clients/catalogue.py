"""Every client that is tried: where its driver and its pins are, and what it can't do, with the reason; runs nothing."""

from dataclasses import dataclass, field

TASKS = ("chat", "image", "stream", "second turn", "tools", "schema")


@dataclass(frozen=True)
class Client:
    """``program`` is the driver below programs/, ``environment`` the lock below locks/clients/, ``package`` the one whose version
    is told. ``cannot`` has the reason for each task that this client, or the miniature with it, can't do."""

    name: str
    program: str
    environment: str
    package: str
    cannot: dict[str, str] = field(default_factory=dict)
    quick: bool = False
    note: str = ""

    @property
    def can(self) -> tuple[str, ...]:
        """The tasks that it is asked to do."""
        return tuple(task for task in TASKS if task not in self.cannot)


def _quick(name: str, program: str, environment: str, package: str) -> Client:
    return Client(name, program, environment, package, quick=True)


_ITS_CLIENTS = "it leaves this to OpenAI's client"
_FORMS_ALONE = dict.fromkeys(("chat", "image", "stream", "second turn", "tools"), _ITS_CLIENTS)
_DSPY = {
    "stream": "its streams are of fields in a text form of its own, which the miniature does not know",
    "tools": "its loop asks for thoughts and calls as fields, which the miniature does not know",
    "schema": "of a model that it does not know it asks json_object, and the miniature then chooses the fields",
}
_NOT_YET = "base64 without a prefix is not read yet"

CLIENTS = (
    _quick("openai (Python)", "openai_python.py", "quick", "openai"),
    _quick("openai (Node)", "openai_node.mjs", "node", "openai"),
    _quick("LangChain (Python)", "langchain_python.py", "quick", "langchain-openai"),
    _quick("LangChain (Node)", "langchain_node.mjs", "node", "@langchain/openai"),
    _quick("LiteLLM SDK", "litellm_sdk.py", "quick", "litellm"),
    _quick("LiteLLM proxy", "litellm_proxy.py", "quick", "litellm"),
    _quick("pydantic-ai", "pydantic_ai_python.py", "quick", "pydantic-ai-slim"),
    _quick("AI SDK", "ai_sdk.mjs", "node", "ai"),
    Client(
        "zai-sdk",
        "zai_sdk.py",
        "quick",
        "zai-sdk",
        dict.fromkeys(("image", "stream", "second turn", "schema"), _NOT_YET),
        quick=True,
    ),
    _quick("Java HttpClient", "Client.java", "java", "java"),
    Client("LlamaIndex", "llama_index_python.py", "frameworks", "llama-index-llms-openai-like"),
    Client("instructor", "instructor_python.py", "frameworks", "instructor", _FORMS_ALONE),
    Client("DSPy", "dspy_python.py", "frameworks", "dspy", _DSPY),
    Client("smolagents", "smolagents_python.py", "frameworks", "smolagents"),
    Client("Haystack", "haystack_python.py", "frameworks", "haystack-ai"),
    Client("semantic-kernel", "semantic_kernel_python.py", "semantic-kernel", "semantic-kernel"),
    Client("AutoGen", "autogen_python.py", "autogen", "autogen-ext"),
    Client("llm", "llm_command.py", "llm", "llm"),
)

# Those of the long list that were not tried, each with the reason.
NOT_TRIED: dict[str, str] = {}
