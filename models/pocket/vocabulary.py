"""The words `pocket` knows, and a byte-pair tokenizer built so that each of them is one token.

Knows words and CLIP's tokenizer files (vocab.json, merges.txt); refuses to know about pictures and models.
A word outside the list falls apart into shorter known pieces, in the last resort into bytes, so no prompt is
refused. Built in a fixed order: same list, same ids.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

MAX_LENGTH = 32

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "glue": """
            a an the and or of in on at with without from to by for over under near behind between beside
            above below through across into around up down no not very some many few one two three four five
            six it its is are this that his her their as like while during""",
        "style": """
            photo photograph picture image video film movie clip scene still frame sketch pencil drawing
            drawn graphite charcoal ink line lines watercolor watercolour aquarelle painting painted paint
            paper wash oil canvas thick brush strokes stroke impasto impressionist night moonlight dark
            midnight moon autumn fall golden leaves colors colours color colour neon glow glowing cyberpunk
            light lights mosaic tile tiles tiled roman stained glass blueprint technical plan draft
            architect style styled artistic art artwork illustration cartoon comic anime poster print
            engraving etching vintage retro modern abstract minimal realistic cinematic portrait landscape
            pastel chalk crayon gouache acrylic fresco pixel render rendered texture detailed beautiful
            pretty soft hard sharp smooth bold rough warm cold cool bright dim pale vivid saturated dramatic
            dreamy moody high quality masterpiece studio lighting""",
        "colour": """
            red blue green yellow orange white purple pink black brown grey gray gold silver cyan magenta
            violet turquoise teal beige cream crimson scarlet rust umber amber indigo navy lime olive maroon
            colorful colourful monochrome sepia""",
        "people": """
            man woman person people boy girl child children kid kids baby lady guy player runner dancer
            rider driver worker astronaut girlfriend friend friends family crowd face head hair eyes eye
            hand hands arm arms leg legs foot feet body smile shirt dress coat hat jeans shoes trousers
            jacket mother father juggler footballer""",
        "animal": """
            dog puppy cat kitten bird fish horse cow sheep goat pig duck swan goose eagle owl crow parrot
            lion tiger bear elephant giraffe zebra monkey rabbit fox wolf deer mouse snake turtle frog
            butterfly bee dolphin whale shark animal animals pet""",
        "thing": """
            car bus truck van taxi bicycle bike motorcycle train tram boat ship sailboat plane airplane
            helicopter rocket balloon ball football soccer basketball bottle bottles cup mug glass plate
            table chair bench bed sofa lamp window door wall brick roof house home building tower castle
            church temple bridge fence road street path sidewalk pavement stairs sign flag clock book camera
            phone computer box bag umbrella toy kite guitar piano food bread cake apple fruit coffee tea
            water fire smoke object objects wheel engine garage leash coin coins stone stones rock rocks
            gravel""",
        "place": """
            city town village park garden forest wood woods jungle desert beach sea ocean lake river
            waterfall mountain mountains hill hills valley field fields meadow farm country countryside
            island sky cloud clouds sun sunset sunrise dawn dusk day rain snow storm fog mist wind star
            stars space room kitchen bedroom bathroom office school shop market restaurant station airport
            harbor harbour stadium theater museum outdoors outside indoors inside background foreground
            horizon ground floor grass tree trees bush flower flowers leaf plant plants china paris london
            tokyo rome winter spring summer season weather""",
        "verb": """
            run running walk walking jump jumping play playing sit sitting stand standing ride riding drive
            driving fly flying swim swimming sail sailing dance dancing throw throwing catch catching juggle
            juggling kick kicking hold holding look looking smile smiling talk talking eat eating drink
            drinking sleep sleeping move moving turn turning fall falling rise rising float floating drift
            drifting bounce bouncing cross crossing pass passing open opening close closing read reading
            write writing sing singing signs signing wave waving bend bending reach reaching chase chasing
            rolling parked""",
        "adjective": """
            big small large little tiny huge tall short long wide narrow old young new fast slow happy sad
            calm quiet busy empty full clean dirty wet dry sunny cloudy rainy snowy foggy windy shiny wooden
            metal plastic round square flat deep shallow lush wild ancient futuristic magic mystical fantasy
            cute funny fluffy furry lovely lonely single double left right front back top bottom center
            middle distant""",
    }
)


def words() -> list[str]:
    """Return every known word once, in the order of the list."""
    return list(dict.fromkeys(word for group in WORDS.values() for word in group.split()))


def byte_symbols() -> list[str]:
    """Return CLIP's 256 printable stand-ins for bytes, in the order of its vocabulary (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]


def learn_merges(known: list[str]) -> list[tuple[str, str]]:
    """Merge the most frequent pair (ties: alphabetical) until every known word is one symbol."""
    spelt = {word: [*word[:-1], word[-1] + "</w>"] for word in known}
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for parts in spelt.values() for pair in itertools.pairwise(parts))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word, parts in spelt.items():
            merged: list[str] = []
            for part in parts:
                if merged and (merged[-1], part) == best:
                    merged[-1] += part
                else:
                    merged.append(part)
            spelt[word] = merged


def write_tokenizer(folder: Path) -> int:
    """Write the files of a `transformers.CLIPTokenizer`; return the size of the vocabulary."""
    merges = learn_merges(words())
    symbols = byte_symbols()
    tokens = symbols + [symbol + "</w>" for symbol in symbols]
    tokens += list(dict.fromkeys(a + b for a, b in merges))
    tokens = [*list(dict.fromkeys(tokens)), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_LENGTH,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "do_lower_case": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    return len(tokens)
