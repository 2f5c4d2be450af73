"""The book in docs/: its generated references, its links, and the copy that mdBook builds. Run by tools/docs.sh on moto's own Python, which has PyYAML."""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
REPOSITORY = "https://github.com/encrypted-queue-operator/encrypted-queue-operator"
COMMANDS = ["run", "plan", "explain", "approve", "audit", "adopt", "cost", "crds"]
KINDS = ["encryptedqueues", "tenants", "sensitivitytiers", "queuekeys", "accessapprovals"]
CLASSES = {
    "Fine": ("Fine", "As it should be: `Ready=True`, if nothing else is in the way."),
    "Progressing": ("Progressing", "On its way: `Ready=False`, `Reconciling=True`. Nobody has to act, but an approver on `AwaitingApproval`."),
    "Stalled": ("Stalled", "Somebody has to act: `Ready=False`, `Stalled=True`. The message says what to do."),
}


def generated_from(source):
    return f"<!-- Generated from {source} by tools/docs.sh; do not edit. -->\n\n"


def cell(text):
    """Text as it stands in a table: no tag begins in it, except in code, which shows as it is."""
    parts = " ".join(str(text).split()).replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def literal(value):
    """A value as it stands in a table."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (dict, list)):
        value = yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()
    return cell(f"`{value}`") if value != "" else "empty"


# --- The API ---


def type_of(schema):
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {type_of(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {type_of(schema['additionalProperties'])}"
    return schema.get("format", kind) if schema.get("format") == "date-time" else kind


def bounds_of(schema):
    """What the schema asks of a value, but for its rules."""
    found = []
    if values := schema.get("enum"):
        found.append(" \\| ".join(f"`{value}`" for value in values if value is not None))
    pairs = [("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items"), ("minProperties", "maxProperties", " entries")]
    for lowest, highest, unit in pairs:
        low, high = schema.get(lowest), schema.get(highest)
        if low is not None and high is not None:
            found.append(f"{low}{unit}" if low == high else f"{low} to {high}{unit}")
        elif low is not None or high is not None:
            found.append(f"at least {low}{unit}" if high is None else f"at most {high}{unit}")
    if pattern := schema.get("pattern"):
        found.append(cell(f"`{pattern}`"))
    for inner, name in [(schema.get("items"), "each"), (schema.get("additionalProperties"), "each")]:
        if isinstance(inner, dict) and (of_inner := bounds_of(inner)):
            found.append(f"{name}: {of_inner}")
    return "; ".join(found)


def rows_of(path, schema, required):
    """A field and those below it."""
    default = literal(schema["default"]) if "default" in schema else ("required" if required else "")
    yield f"| `{path}` | {type_of(schema)} | {default} | {bounds_of(schema)} | {cell(schema.get('description', ''))} |"
    inner, below = schema, path
    if schema.get("type") == "array":
        inner, below = schema["items"], f"{path}[]"
    yield from fields_of(below, inner)


def fields_of(path, schema):
    for name, field in schema.get("properties", {}).items():
        yield from rows_of(f"{path}.{name}", field, name in schema.get("required", []))


def rules_of(path, schema):
    """What CEL rules ask, in the words in which the API server refuses."""
    for rule in schema.get("x-kubernetes-validations", []):
        yield f"- `{path}`: {cell(rule.get('message') or rule.get('messageExpression') or rule['rule'])}"
    for name, field in schema.get("properties", {}).items():
        yield from rules_of(f"{path}.{name}", field)
    if isinstance(schema.get("items"), dict):
        yield from rules_of(f"{path}[]", schema["items"])


def kind_page(definition):
    spec = definition["spec"]
    names, version = spec["names"], spec["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    yield f"## {names['kind']}\n"
    yield f"{schema.get('description', '')}\n"
    short = ", ".join(f"`{name}`" for name in names.get("shortNames", []))
    yield f"`{spec['group']}/{version['name']}`, {spec['scope'].lower().replace('cluster', 'cluster-scoped')}" + (f", short name {short}" if short else "") + ".\n"
    for part in ["spec", "status"]:
        if not schema["properties"].get(part, {}).get("properties"):
            continue
        yield f"### {names['kind']} {part}\n"
        yield "| field | type | default | bounds | what it is |\n|---|---|---|---|---|"
        yield from fields_of(part, schema["properties"][part])
        yield ""
    if rules := list(dict.fromkeys(rules_of("spec", schema["properties"]["spec"]))):
        yield f"### {names['kind']} rules\n"
        yield "Beyond bounds, the API server refuses what breaks these:\n"
        yield from rules
        yield ""


def documented(text, pattern):
    """Doc comments and what they stand above: [(comment, match)]."""
    comment = []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("///"):
            comment.append(line[3:].strip())
        elif match := re.match(pattern, line):
            yield " ".join(comment), match
            comment = []
        else:
            comment = []


def api():
    yield generated_from("crds/ and src/api/labels.rs") + "# API\n"
    yield "Group `encryptedqueue.dev`, version `v1alpha1`. `kubectl explain encryptedqueue.spec` says the same at a prompt.\n"
    definitions = [yaml.safe_load((ROOT / f"crds/encryptedqueue.dev_{kind}.yaml").read_text()) for kind in KINDS]
    for definition in definitions:
        yield from kind_page(definition)
    yield "## Annotations, labels and tags\n"
    yield "| name | what it is |\n|---|---|"
    labels = (ROOT / "src/api/labels.rs").read_text()
    for comment, match in documented(labels, r'pub const \w+: &str = "(.*)";'):
        yield f"| `{match[1]}` | {cell(comment)} |"


# --- Reasons ---


def reasons():
    yield generated_from("src/api/reasons.rs and src/api/conditions.rs") + "# Conditions and reasons\n"
    yield "Every condition has a reason of this list, and a message that names the field or the call. `Ready` takes the reason of the first condition that is"
    yield "Stalled, else of the first that is Progressing. Events use the same words where they are about the same thing.\n"
    yield "## Conditions\n\n| condition | True means |\n|---|---|"
    for comment, match in documented((ROOT / "src/api/conditions.rs").read_text(), r'pub const \w+: &str = "(.*)";'):
        yield f"| `{match[1]}` | {cell(comment)} |"
    text = (ROOT / "src/api/reasons.rs").read_text()
    entries = list(documented(text[text.index("\nreasons! {"):], r"(\w+) => (\w+),$"))
    unknown = {match[2] for _, match in entries} - set(CLASSES)
    if unknown or not entries:
        sys.exit(f"src/api/reasons.rs: {'unknown classes: ' + ', '.join(sorted(unknown)) if unknown else 'no reason found'}")
    for name, (title, meaning) in CLASSES.items():
        yield f"\n## {title}\n\n{meaning}\n\n| reason | what it means |\n|---|---|"
        for comment, match in entries:
            if match[2] == name:
                yield f"| `{match[1]}` | {cell(comment)} |"


# --- Command line ---


def command_line(program):
    yield generated_from("encrypted-queue COMMAND --help") + "# Command line\n"
    yield "Each command is described by its own `--help`, which this page holds. [Exit codes](exit-codes.md) are on a page of their own.\n"
    yield "Commands read the cluster that `KUBECONFIG` names and the AWS credentials of the environment; `AWS_ENDPOINT_URL` and its kin are honoured."
    for command in [None, *COMMANDS]:
        arguments = [program] + ([command] if command else []) + ["--help"]
        # Neither the terminal's width nor a variable that happens to be set shows.
        answer = subprocess.run(arguments, env={"COLUMNS": "100", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True).stdout
        lines = "\n".join(line.rstrip() for line in answer.rstrip().splitlines())
        yield f"\n## encrypted-queue{' ' + command if command else ''}\n\n```text\n{lines}\n```"


# --- Links ---


def prose(text):
    """A page without its code."""
    text = re.sub(r"^(```|~~~).*?^\1[^\n]*$", "", text, flags=re.M | re.S)
    return re.sub(r"<!--.*?-->", "", text, flags=re.S)


def anchors(page):
    """Ids of headings, as mdBook and GitHub make them."""
    found = set()
    for heading in re.findall(r"^#+ +(.*?) *$", prose(page.read_text()), flags=re.M):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number, unique = 0, name
        while unique in found:
            number, unique = number + 1, f"{name}-{number + 1}"
        found.add(unique)
    return found


def links(page):
    without_code = re.sub(r"`[^`\n]*`", lambda code: "x" * len(code[0]), prose(page.read_text()))
    return re.findall(r"\]\(([^)\s]+)\)", without_code)


def broken_links():
    for page in [*DOCS.rglob("*.md"), ROOT / "ARCHITECTURE.md"]:
        for file, test in re.findall(r"`([\w/]+\.rs)::(\w+)`", page.read_text()):
            if not (ROOT / file).exists() or f"fn {test}(" not in (ROOT / file).read_text():
                yield f"{page.relative_to(ROOT)}: {file}::{test}: there is no such test"
    in_book = {(DOCS / link).resolve() for link in links(DOCS / "SUMMARY.md")}
    pages = sorted(DOCS.rglob("*.md"))
    for page in [*pages, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        name = page.relative_to(ROOT)
        if page in pages and page.name != "SUMMARY.md" and page not in in_book:
            yield f"{name}: not in docs/SUMMARY.md"
        for link in links(page):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists():
                yield f"{name}: {link}: there is no {path}"
            elif ROOT != target and ROOT not in target.parents:
                yield f"{name}: {link}: outside the repository"
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                yield f"{name}: {link}: no heading of {target.relative_to(ROOT)} has this anchor"


# --- Commands of this program ---


def generate(arguments):
    pages = {
        "reference/api.md": api(),
        "reference/reasons.md": reasons(),
        "reference/command-line.md": command_line(arguments.program) if arguments.program else None,
    }
    stale = []
    for name, parts in pages.items():
        if parts is None:
            continue
        page, text = DOCS / name, "\n".join(parts).rstrip() + "\n"
        if page.exists() and page.read_text() == text:
            continue
        stale.append(f"docs/{name}")
        if not arguments.check:
            page.write_text(text)
    if stale and arguments.check:
        sys.exit(f"{', '.join(stale)}: stale; run tools/docs.sh and commit the result")


def check_links(_arguments):
    broken = list(broken_links())
    if broken:
        sys.exit("\n".join(broken))
    print(f"docs: links and tests of {len(list(DOCS.rglob('*.md')))} pages hold")


def stage(arguments):
    """The pages as mdBook builds them: what is linked outside docs/ is found in the repository's own place."""
    target = pathlib.Path(arguments.directory)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(DOCS, target)
    for page in DOCS.rglob("*.md"):
        def outward(match, page=page):
            path = (page.parent / match[1]).resolve()
            inside = path == DOCS or DOCS in path.parents
            return match[0] if inside else f"]({REPOSITORY}/blob/main/{path.relative_to(ROOT)}{match[2] or ''})"
        text = re.sub(r"\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)", outward, page.read_text())
        (target / page.relative_to(DOCS)).write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("generate")
    command.add_argument("--check", action="store_true")
    command.add_argument("--program", help="the operator's binary; without it the command line's page is left as it is")
    command.set_defaults(run=generate)
    commands.add_parser("links").set_defaults(run=check_links)
    command = commands.add_parser("stage")
    command.add_argument("directory")
    command.set_defaults(run=stage)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
