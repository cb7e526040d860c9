"""Add up what many answers cost, broken ones too, and stop at a budget: python recipes/cost_of_many.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, StreamError, Tensorloop

PRICES = {"gpt-4o-mini": (0.15e-6, 0.60e-6)}  # dollars per token asked and answered, in OpenAI's price list
BUDGET = 0.01  # dollars
QUESTIONS = ["What is a cache?", "Stream a haiku about caching.", "Name a colour."]

spent, unknown = 0.0, 0
try:
    client = Tensorloop()
    for question in QUESTIONS:
        if spent >= BUDGET:
            print(f"--- the budget of ${BUDGET} is spent")
            break
        answer = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},  # without it, a stream has no usage
        )
        with ChatStream(answer) as stream:
            try:
                stream.until_done()
            except StreamError as error:
                print(f"({error})")
        if usage := stream.usage:
            asked, answered = PRICES["gpt-4o-mini"]
            price = usage.prompt_tokens * asked + usage.completion_tokens * answered
            spent += price
            print(f"${price:.7f}  {usage.total_tokens:5} tokens  {question}")
        else:
            unknown += 1  # it broke before its usage, which comes last; it is billed all the same
    print(f"${spent:.7f}  in all", f"({unknown} of unknown price)" if unknown else "")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
