"""Endless small talk in Dutch and English: what the actors of the pretraining data say."""

from __future__ import annotations

import numpy as np

WORDS = {
    "en": {
        "who": "my brother|the old baker|your neighbour|a young doctor|the mayor|our teacher|my best friend|the whole family|"
               "a famous painter|the girl with the blue coat|every fisherman|the postman|somebody|the prime minister|a huge dog|"
               "the judge|nobody here|a quiet farmer|both of my cousins|the woman from Leeds|his boss|the goalkeeper",
        "did": "bought|forgot|found|painted|sold|wanted|broke|carried|loved|described|measured|photographed|moved|followed|"
               "watched|changed|brought|pushed|washed|borrowed|opened|remembered|fixed|invented",
        "what": "a yellow bicycle|the purple umbrella|seven fresh fish|an enormous wooden boat|the same funny book|a map of the valley|"
                "five empty bottles|the garden behind the church|this old piano|a very thin thread|the last piece of pie|"
                "some warm bread|a box of matches|the whole orchestra|two pounds of mushrooms|a beautiful voice|the mouth of the river|"
                "that odd machine|a pair of gloves|the first page of the newspaper|a cheap phone|half a million votes",
        "when": "yesterday morning|last summer|every Thursday|before breakfast|in the middle of the night|twice a week|after the game|"
                "fifteen years ago|on the eighth of May|as usual|without thinking|because of the weather|during the war|at noon",
        "where": "at the harbour|near the railway station|in a small village|under the bridge|on the roof|by the sea|in the museum|"
                 "behind the barn|across the border|in front of the camera|at my grandmother's house|on top of the mountain",
        "say": "Well, to be honest,|Believe me,|You know what?|I think that|Of course,|People often say that|We all heard that|Funny enough,|"
               "As far as I know,|It is true that|Oh boy,|Please imagine that|Why would anyone think that|So,|My point is that",
        "end": "And that was that.|What a mess.|Thank you very much.|I would do it again.|Can you believe it?|Who knows why.|"
               "We laughed a lot.|It took about forty minutes.|Maybe I should stop.|The rest is history.|How beautiful.|No problem at all.",
    },
    "nl": {
        "who": "mijn broer|de oude bakker|onze buurvrouw|een jonge dokter|de burgemeester|de juf|mijn beste vriend|de hele familie|"
               "een bekende schilder|het meisje met de blauwe jas|elke visser|de postbode|iemand|de minister|een grote hond|"
               "de rechter|niemand hier|een stille boer|allebei mijn neven|de vrouw uit Groningen|zijn baas|de keeper",
        "did": "kocht|vergat|vond|verfde|verkocht|wilde|brak|droeg|bewaarde|beschreef|mat|fotografeerde|verplaatste|volgde|"
               "zag|veranderde|bracht|duwde|waste|leende|opende|herkende|maakte|bedacht",
        "what": "een gele fiets|de paarse paraplu|zeven verse vissen|een enorme houten boot|hetzelfde grappige boek|een kaart van het dal|"
                "vijf lege flessen|de tuin achter de kerk|die oude piano|een heel dun draadje|het laatste stuk taart|"
                "wat warm brood|een doosje lucifers|het hele orkest|twee pond champignons|een mooie stem|de monding van de rivier|"
                "dat rare apparaat|een paar wanten|de eerste bladzijde van de krant|een goedkope telefoon|een half miljoen stemmen",
        "when": "gisterochtend|vorige zomer|elke donderdag|voor het ontbijt|midden in de nacht|twee keer per week|na de wedstrijd|"
                "vijftien jaar geleden|op acht mei|zoals altijd|zonder na te denken|vanwege het weer|tijdens de oorlog|om twaalf uur",
        "where": "in de haven|vlak bij het station|in een klein dorp|onder de brug|op het dak|aan zee|in het museum|"
                 "achter de schuur|over de grens|voor de camera|bij mijn oma thuis|boven op de berg",
        "say": "Nou, eerlijk gezegd:|Geloof me,|Weet je wat?|Volgens mij:|Natuurlijk,|Men zegt vaak:|We hoorden allemaal:|Gek genoeg:|"
               "Voor zover ik weet:|Het is waar:|Tjonge,|Stel je voor:|Waarom denkt men dat?|Dus,|Mijn punt is:",
        "end": "En dat was dat.|Wat een puinhoop.|Heel erg bedankt.|Ik zou het weer doen.|Geloof je dat nou?|Wie weet waarom.|"
               "We hebben veel gelachen.|Het duurde ongeveer veertig minuten.|Misschien moet ik stoppen.|De rest kennen jullie.|Wat mooi.|Geen probleem.",
    },
}  # fmt: skip
SHAPES = (
    "say who did what when",
    "who did what where",
    "who did what when where",
    "say who did what end",
    "who did what end",
)


def sentences(rng: np.random.Generator, language: str, n: int) -> list[str]:
    """Make n sentences in "en" or "nl"; about ten million different ones exist in each."""
    words = {kind: text.split("|") for kind, text in WORDS[language].items()}
    return [_sentence(rng, words) for _ in range(n)]


def _sentence(rng, words):
    parts = [str(rng.choice(words[kind])) for kind in str(rng.choice(SHAPES)).split()]
    text = parts[0]
    for part in parts[1:]:
        text += (". " if part[0].isupper() and text[-1] not in ".,:?" else " ") + part
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?" else ".")
