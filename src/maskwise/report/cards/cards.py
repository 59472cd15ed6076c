"""All cards of a source, as files of one folder."""

import json

from maskwise.artefacts.tables import as_csv
from maskwise.report.cards.data_card import TABLE, data_card, images_table
from maskwise.report.cards.facts import CardInputs
from maskwise.report.cards.model_card import model_card

DATA = "data_card.json"
MODEL = "model_card.md"


def cards(inputs: CardInputs) -> dict[str, bytes]:
    """Return the content of each file by its path below the folder of cards.

    The same inputs give the same bytes: nothing in them is of the clock or the machine.
    """
    table = images_table(inputs)
    content = as_csv(table).encode()
    card = data_card(inputs, table, content)
    text = json.dumps(card, indent=2, ensure_ascii=False)
    files = {DATA: f"{text}\n".encode(), TABLE: content}
    for recipe, seed in inputs.files:
        card_of_model = model_card(inputs, (recipe, seed))
        files[f"{recipe}/s{seed}/{MODEL}"] = card_of_model.encode()
    return files
