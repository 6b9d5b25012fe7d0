"""Questions asked until they are answered, given up or the server is."""

from collections.abc import Callable

from pipeline.judging.asking import ChatClient
from pipeline.judging.config import JudgeConfig
from pipeline.judging.questions import Question, Reply
from pipeline.serving.requests import Fate, RequestError, Watch


class Asker:
    """Asks one question as often as the configuration allows."""

    def __init__(self, client: ChatClient, watch: Watch, config: JudgeConfig) -> None:
        self._client = client
        self._watch = watch
        self._config = config

    async def ask(self, question: Question, asking: Callable[[], None], tried: Callable[[], None]) -> Reply:
        """The reply; `asking` is called before every attempt, `tried` after, however it ended."""
        attempt = 0
        while True:
            attempt += 1
            asking()
            try:
                score = await self._client.score(question.messages)
            except RequestError as error:
                tried()
                await self._watch.failed(error)
                if error.fate is not Fate.RETRY:
                    return Reply(None, error.text, num_attempts=attempt)
                if attempt >= self._config.max_attempts:
                    return Reply(None, f"{error.text}; {attempt} attempts", num_attempts=attempt)
                await self._watch.pause(attempt, error)
            else:
                tried()
                self._watch.answered(with_answer=True)
                return Reply(score, num_attempts=attempt)
