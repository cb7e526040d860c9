"""Wait at a rate limit, and stop at a spent budget: python recipes/limits.py

Without a key, the replay shows a rate limit with `--status 429 --retry-after 1 --fails 2`. Add
`--error-type budget_exceeded` for a spent budget.
"""

import time

from openai import OpenAIError, RateLimitError

from tensorloop_stream import Tensorloop, print_stream

try:
    client = Tensorloop(max_retries=0)  # by default the client retries twice by itself, and says nothing
    for tries_left in (4, 3, 2, 1, 0):
        try:
            answer = client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": "Stream a haiku about caching."}],
                stream=True,
            )
            print_stream(answer)
            break
        except RateLimitError as error:  # a rate limit and a spent budget are both a 429
            if {"budget_exceeded", "insufficient_quota"} & {error.type, error.code} or not tries_left:
                raise
            headers = error.response.headers
            # The first header is for the limit of the key, the second for that of the model behind the gateway.
            retry_after = headers.get("retry-after") or headers.get("llm_provider-retry-after") or ""
            is_number = retry_after.replace(".", "", 1).isdecimal()  # it may also be a date, or missing
            seconds = float(retry_after) if is_number else 5.0
            print(f"(too many requests: again in {seconds:g} s)")
            time.sleep(seconds)
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
