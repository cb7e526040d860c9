"""Wait where the rate is limited, stop where the budget is spent: python recipes/limits.py

To see both without a key, give the replay `--status 429 --retry-after 1 --fails 2`, and then also
`--error-type budget_exceeded`.
"""

import time

from openai import OpenAIError, RateLimitError

from tensorloop_stream import Tensorloop, print_stream

try:
    client = Tensorloop(max_retries=0)  # else it does the same by itself, twice and in silence
    for tries_left in (4, 3, 2, 1, 0):
        try:
            answer = client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": "Stream a haiku about caching."}],
                temperature=0.2,
                max_tokens=60,
                stream=True,
            )
            print_stream(answer)
            break
        except RateLimitError as error:  # both are a 429
            if "budget_exceeded" in (error.type, error.code) or not tries_left:
                raise
            headers = error.response.headers
            # The key's own limit comes under the first name, that of the model behind the gateway under the second.
            told = headers.get("retry-after") or headers.get("llm_provider-retry-after") or ""
            seconds = float(told) if told.replace(".", "", 1).isdecimal() else 5.0  # it may be a date, or missing
            print(f"(too many requests: again in {seconds:g} s)")
            time.sleep(seconds)
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
