"""Valkey's part: the queue that carries a step's name from the dispatcher to a worker.

Nothing here is remembered on purpose. Whatever Valkey loses, the next sweep of the database puts
back.
"""

from __future__ import annotations

from functools import lru_cache

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

from app.base.config import settings
from jobs.registry import all_steps

# A second job for a step is put on the queue only when the first has begun, or after this long.
QUEUED_SECONDS = 15
JOB_TIMEOUT_SECONDS = 300
FAILED_JOB_SECONDS = 3600
CONNECT_SECONDS = 2
ANSWER_SECONDS = 3


@lru_cache(maxsize=1)
def valkey() -> Redis:
    """This function will return the dispatcher's connection, which gives up soon and says so."""
    return Redis.from_url(
        settings().redis_url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 1),
        health_check_interval=30,
    )


def wake(step_name: str) -> bool:
    """This function will put one job for a step on its queue, unless one waits there already.

    Raises: redis.RedisError when Valkey is away; KeyError for a step that is not ours.
    """
    step = all_steps()[step_name]
    flag = _flag(step_name)
    if not valkey().set(flag, "1", nx=True, ex=QUEUED_SECONDS):
        return False
    try:
        queue(step.queue).enqueue(
            "jobs.worker.run",
            args=(step_name,),
            job_timeout=JOB_TIMEOUT_SECONDS,
            result_ttl=0,
            failure_ttl=FAILED_JOB_SECONDS,
            description=step_name,
        )
    except BaseException:
        valkey().delete(flag)
        raise
    return True


def begun(step_name: str) -> None:
    """This function will let the next wake-up through: called before a job looks for rows."""
    valkey().delete(_flag(step_name))


def queue(name: str) -> Queue:
    """This function will return one of our two queues; jobs travel as JSON, never as pickles."""
    return Queue(name, connection=valkey(), serializer=JSONSerializer)


def _flag(step_name: str) -> str:
    return f"queued:{step_name}"
