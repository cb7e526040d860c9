import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])

names = [model.id for model in client.models.list()]
print(names)
assert names
print(client.models.retrieve(names[0]).owned_by)
