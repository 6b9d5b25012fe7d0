"""Samples raw traces of the over-calling agent: `python -m training.world.traces [--num N] [--out FILE]`.

They are what any agent's log would be, one chat a line with its tools, and nothing in them says which calls were
needed: that is for curation to find. The kind of each task, which the world knows, stands in the metadata for tests.
"""

import argparse
from pathlib import Path

import orjson
import torch

from pipeline.rollouts.config import Limits, Sampling
from pipeline.rollouts.engine import RolloutEngine
from pipeline.rollouts.rollout import Rollout
from pipeline.rollouts.rows import raw_records
from training.sampling.policies import torch_policy
from training.world.build import AGENT
from training.world.environment import world_toolbox
from training.world.search import SearchStore
from training.world.tasks import distinct_tasks

TRACES = Path(__file__).parents[2] / "examples" / "world_rollouts.jsonl"
NUM, SEED = 150, 5
LIMITS = Limits(max_turns=6, max_tokens=448, wall_s=120.0)
SAMPLING = Sampling(temperature=1.0, max_new_tokens=96)


def sample(num: int, agent: Path = AGENT) -> list[Rollout]:
    """One rollout of each of so many tasks, in the order of the tasks."""
    store = SearchStore()
    toolbox = world_toolbox(store)
    try:
        engine = RolloutEngine(torch_policy(agent), toolbox, limits=LIMITS, sampling=SAMPLING, concurrency=64)
        tasks = distinct_tasks(num, SEED, split="train")
        place = {task.task_id: number for number, task in enumerate(tasks)}
        rollouts = engine.rollouts([(task.task(with_tools=True), 0) for task in tasks])
        return sorted(rollouts, key=lambda rollout: place[rollout.task.task_id])
    finally:
        toolbox.close()
        store.close()


def main() -> None:
    """Sample and write."""
    parser = argparse.ArgumentParser(description="Sample raw traces of the over-calling agent.")
    parser.add_argument("--num", type=int, default=NUM, help="tasks, one trace each")
    parser.add_argument("--out", type=Path, default=TRACES, help="JSON Lines file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    records = raw_records(sample(options.num))
    options.out.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    print(f"{len(records):,} traces in {options.out}")


if __name__ == "__main__":
    main()
