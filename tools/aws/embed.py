#!/usr/bin/env python3
"""Writes policies, event patterns and rules into CloudFormation templates, between their `begin` and `end` comments.

usage: embed.py SOURCES TEMPLATE…

A comment names what follows it, below SOURCES: `# begin policies/cost.json` a JSON document, `# begin item …` the same as an item of a list, `# begin text …`
a text that stays as it is. CloudFormation fills in its own names for partition, account and Region, its parameters for all others.
"""
import json
import re
import sys
from pathlib import Path

PSEUDO = {"Partition": "AWS::Partition", "AccountId": "AWS::AccountId", "Region": "AWS::Region"}
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
BEGIN = re.compile(r"^( *)# begin (item |text )?(\S+)\n", re.MULTILINE)


def substituted(text):
    return PLACEHOLDER.sub(lambda found: "${" + PSEUDO.get(found[1], found[1]) + "}", text)


def scalar(value):
    if not isinstance(value, str):
        return json.dumps(value)
    whole = PLACEHOLDER.fullmatch(value)
    if whole:
        return f'!Ref {json.dumps(PSEUDO.get(whole[1], whole[1]))}'
    return ("!Sub " if PLACEHOLDER.search(value) else "") + json.dumps(substituted(value))


def lines(value, indent=0):
    """YAML in block style."""
    pad = " " * indent
    if isinstance(value, dict):
        for key, inner in value.items():
            name = key if re.fullmatch(r"[A-Za-z]+", key) and key != "Null" else json.dumps(key)
            if isinstance(inner, (dict, list)):
                yield f"{pad}{name}:"
                yield from lines(inner, indent + 2)
            else:
                yield f"{pad}{name}: {scalar(inner)}"
    else:
        for inner in value:
            if isinstance(inner, (dict, list)):
                first, *rest = lines(inner, indent + 2)
                yield f"{pad}- {first.lstrip()}"
                yield from rest
            else:
                yield f"{pad}- {scalar(inner)}"


def has_placeholder_key(value):
    if isinstance(value, dict):
        return any(PLACEHOLDER.search(key) or has_placeholder_key(inner) for key, inner in value.items())
    return isinstance(value, list) and any(map(has_placeholder_key, value))


def document(path, is_item):
    text = path.read_text()
    value = json.loads(text)
    if has_placeholder_key(value):
        # Names of members are not substituted in YAML: the whole is a text then, which CloudFormation reads as JSON.
        block = ["Fn::Sub: |", *("  " + line for line in substituted(text).rstrip().split("\n"))]
    else:
        block = list(lines(value))
    return [("- " if i == 0 else "  ") + line for i, line in enumerate(block)] if is_item else block


def embed(template, sources):
    out, at = [], 0
    for begin in BEGIN.finditer(template):
        indent, mode, name = begin.groups()
        end = template.index(f"{indent}# end\n", begin.end())
        path = sources / name
        block = path.read_text().rstrip("\n").split("\n") if mode == "text " else document(path, mode == "item ")
        out += [template[at : begin.end()], *(f"{indent}{line}".rstrip() + "\n" for line in block)]
        at = end
    return "".join(out) + template[at:]


def main():
    sources = Path(sys.argv[1])
    for name in sys.argv[2:]:
        path = Path(name)
        path.write_text(embed(path.read_text(), sources))


main()
