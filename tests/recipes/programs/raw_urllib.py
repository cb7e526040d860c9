import json
import os
import urllib.request

request = urllib.request.Request(
    os.environ["TENSORLOOP_BASE_URL"] + "/chat/completions",
    data=json.dumps(
        {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Ping?"}], "stream": True}
    ).encode(),
    headers={"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['TENSORLOOP_KEY']}"},
)
with urllib.request.urlopen(request) as response:
    for line in response:
        if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
            for choice in json.loads(line[6:])["choices"]:
                print(choice["delta"].get("content") or "", end="", flush=True)
print()
