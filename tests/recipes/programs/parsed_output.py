import os

from openai import OpenAI
from pydantic import BaseModel, Field

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])


class Ingredient(BaseModel):
    name: str
    grams: int = Field(ge=1, le=5000)


class Recipe(BaseModel):
    title: str
    vegetarian: bool
    ingredients: list[Ingredient]
    note: str | None


completion = client.chat.completions.parse(
    model="gpt-4o", messages=[{"role": "user", "content": "A recipe with leeks."}], response_format=Recipe
)
recipe = completion.choices[0].message.parsed
assert recipe is not None
print(recipe.title, [f"{each.grams} g {each.name}" for each in recipe.ingredients])
