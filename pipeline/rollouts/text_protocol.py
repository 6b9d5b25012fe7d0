"""Tools in plain text, for chat templates that know none: told in the system message, answered in the user's."""

import json
from collections.abc import Sequence
from typing import Any

_TOLD = """You can use tools. To use one, write a call in this form and end your message:
<tool_call>
{"name": <name of the tool>, "arguments": <JSON object>}
</tool_call>
What it returns comes back within <tool_response> tags. Then call again or give your answer without a call.
The tools, as JSON schemas:"""


def tools_told(tools: Sequence[dict[str, Any]]) -> str:
    """What the policy is told of its tools, one schema a line."""
    return "\n".join([_TOLD, *(json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools)])


def observations_told(texts: Sequence[str]) -> str:
    """The user message that brings what the calls of one turn returned, in order."""
    return "\n".join(f"<tool_response>\n{text}\n</tool_response>" for text in texts)
