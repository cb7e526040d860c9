"""Wait at a rate limit, and stop at a spent budget: python recipes/limits.py

Try it with `--status 429 --retry-after 1 --fails 2` of the replay, or, for a limit inside a stream, with
`--error-after 0 --error-type rate_limit_exceeded --fails 2`. `--error-type budget_exceeded` is a spent budget.
"""

import time

from openai import OpenAIError, RateLimitError

from tensorloop_stream import StreamProviderError, Tensorloop, print_stream

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
        except (RateLimitError, StreamProviderError) as error:  # before the stream, or inside of it
            words = {error.code, error.type}  # texts, also where the gateway sends a number
            if {"budget_exceeded", "insufficient_quota"} & words or not tries_left:  # a spent budget is a 429, too
                raise
            retry_after = ""
            if isinstance(error, RateLimitError):
                headers = error.response.headers
                # The first header is for the limit of the key, the second for that of the model behind the gateway.
                retry_after = headers.get("retry-after") or headers.get("llm_provider-retry-after") or ""
            elif error.text or not {"429", "rate_limit_exceeded", "rate_limit_error"} & words:
                raise
            seconds = float(retry_after) if retry_after.replace(".", "", 1).isdecimal() else 5.0  # or it is a date
            print(f"(too many requests: again in {seconds:g} s)")
            time.sleep(seconds)
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
