"""What of a trajectory is compared to find its duplicates: the task and the attempt, not the scaffold around them."""

import polars as pl


def comparison_text() -> pl.Expr:
    """The task as asked and everything after the first user message, parts joined by line breaks.

    System text and demonstrations are left out: a scaffold shared by a whole source would make strangers alike. Where
    no message is a user's, all of them count. Reasoning counts as the text it is when a format leaves it in content.

    Reads: prompt String; messages List[Struct].
    """
    element = pl.element().struct
    call = pl.concat_str(
        pl.element().struct.field("name"), pl.element().struct.field("arguments"), separator=" ", ignore_nulls=True
    )
    text = pl.concat_str(
        element.field("reasoning"),
        element.field("content"),
        element.field("tool_calls").list.eval(call).list.join("\n", ignore_nulls=True),
        separator="\n",
        ignore_nulls=True,
    )
    is_user = element.field("role").eq_missing(pl.lit("user"))
    after_task = (is_user.cum_sum().shift(1, fill_value=0) > 0) | ~is_user.any()
    compared = after_task & element.field("role").ne_missing(pl.lit("system"))
    attempt = pl.col("messages").list.eval(text.filter(compared)).list.join("\n", ignore_nulls=True)
    return pl.concat_str("prompt", attempt, separator="\n", ignore_nulls=True)


def image_references() -> pl.Expr:
    """The image references of all messages, one a line: two attempts at the same words about other images differ.

    Reads: messages List[Struct].
    """
    of_message = pl.element().struct.field("images").list.join("\n", ignore_nulls=True)
    return pl.col("messages").list.eval(of_message.filter(of_message != "")).list.join("\n", ignore_nulls=True)
