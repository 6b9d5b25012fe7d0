"""Tool calls with what came back for them, and the expressions gates share about messages."""

import polars as pl

TERMINAL_TOOL = (
    r"(?i)^(finish|finish_task|submit|submit_answer|answer|final_answer|give_answer|provide_final_answer|exit|stop|end"
    r"|done|complete|complete_task|task_complete|terminate|attempt_completion|exit_plan_mode|transfer_to_human_agents"
    r"|send_msg_to_user|report_infeasible)$"
)
"""Tools whose call ends an episode: nothing has to come back, and nothing has to be said afterwards."""

TERMINAL_ARGUMENTS = (
    r'COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT|^\s*\{\s*"(command|action|cmd|input)"\s*:\s*"\s*(submit|exit)\b'
)
"""Arguments of a shell that end an episode: mini-swe-agent's marker, SWE-agent's `submit`."""


def explode_messages(trajectories: pl.DataFrame, key: str = "trajectory_id") -> pl.DataFrame:
    """One row per message: `key`, message_index UInt32 and the message's fields.

    Grain: messages in order; a trajectory without messages has no row.
    """
    indices = pl.int_ranges(0, pl.col("messages").list.len(), dtype=pl.UInt32)
    return (
        trajectories.select(key, message_index=indices, messages="messages")
        .filter(pl.col("messages").list.len() > 0)
        .explode("message_index", "messages")
        .unnest("messages")
    )


def explode_calls(messages: pl.DataFrame, key: str = "trajectory_id") -> pl.DataFrame:
    """One row per tool call of the assistant: `key`, message_index, call_index, call_id, tool_name, arguments."""
    calls = messages.select(
        key,
        "message_index",
        "tool_calls",
        call_index=pl.int_ranges(0, pl.col("tool_calls").list.len(), dtype=pl.UInt32),
        role="role",
    ).filter(pl.col("role") == "assistant", pl.col("tool_calls").list.len() > 0)
    return (
        calls.drop("role")
        .explode("tool_calls", "call_index")
        .select(
            key,
            "message_index",
            "call_index",
            call_id=pl.col("tool_calls").struct.field("id"),
            tool_name=pl.col("tool_calls").struct.field("name"),
            arguments=pl.col("tool_calls").struct.field("arguments"),
        )
    )


def pair_observations(
    calls: pl.DataFrame, messages: pl.DataFrame, key: str = "trajectory_id"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The calls with `observation` and `observation_index` added, and the tool messages that answer none of them.

    An observation belongs to the latest message before it that made a call of its id, so an id used again in a later
    turn is another call; calls of one message that share an id are answered in order. Null ids pair with nothing.
    """
    observations = messages.filter(pl.col("role") == "tool").select(
        key, observation_index="message_index", call_id="tool_call_id", observation="content", name="name"
    )
    slot = [key, "call_id", "turn"]
    turns = calls.select(key, "call_id", turn="message_index").filter(pl.col("call_id").is_not_null()).unique()
    placed = (
        observations.sort("observation_index")
        .join_asof(
            turns.sort("turn"),
            left_on="observation_index",
            right_on="turn",
            by=[key, "call_id"],
            strategy="backward",
            check_sortedness=False,
        )
        .with_columns(turn_rank=pl.int_range(pl.len(), dtype=pl.UInt32).over(slot))
    )
    paired = calls.with_columns(
        turn="message_index", turn_rank=pl.int_range(pl.len(), dtype=pl.UInt32).over([key, "call_id", "message_index"])
    ).join(
        placed.drop("name").filter(pl.col("turn").is_not_null()),
        on=[*slot, "turn_rank"],
        how="left",
        maintain_order="left",
    )
    taken = paired.select(key, "observation_index").filter(pl.col("observation_index").is_not_null())
    orphans = observations.join(taken, on=[key, "observation_index"], how="anti", maintain_order="left")
    return paired.drop("turn", "turn_rank"), orphans


def explode_steps(trajectories: pl.DataFrame, key: str = "trajectory_id") -> tuple[pl.DataFrame, pl.DataFrame]:
    """One row per tool call with its observation, and one row per observation that answers no call.

    Grain: calls in order of trajectory, message_index and call_index; orphans in order.
    Reads: `key`, unique; messages as schema.MESSAGE.
    Writes: steps: `key`, message_index, call_index UInt32, call_id, tool_name, arguments, observation String,
        observation_index UInt32, the last two null where nothing came back; orphans: `key`, observation_index,
        call_id, observation, name.
    """
    messages = explode_messages(trajectories, key)
    return pair_observations(explode_calls(messages, key), messages, key)


def is_terminal(tool_name: str = "tool_name", arguments: str = "arguments") -> pl.Expr:
    """Whether a call ends the episode, judged by its tool's name and its arguments; never null."""
    named = pl.col(tool_name).str.strip_chars().str.contains(TERMINAL_TOOL)
    return named.fill_null(value=False) | pl.col(arguments).str.contains(TERMINAL_ARGUMENTS).fill_null(value=False)


def has_text(text: pl.Expr) -> pl.Expr:
    """Whether the text holds anything but white space; False where it is null."""
    return text.str.contains(r"\S").fill_null(value=False)
