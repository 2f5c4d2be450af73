#!/usr/bin/env python3
"""mutants.py CRATE RESULTS: judges the mutants on its input, as `cargo mutants --list --json` writes them, with the tests of a crate.

All are compiled into one program: a function holds its body once for each of its mutants, and the variable MUTANT says which of them runs. Where that
cannot be (constants, functions that return `impl Trait`), a mutant is compiled by itself. RESULTS remembers what was noticed: only the others, and those
in functions that have changed since, are tried again. Whatever few random cases miss is judged once more with many.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

# The tests that cost least come first. The plan is none of the policies' tests' concern.
SUITES = {"policy": ["encrypted_queue", "policies", "pure"], "plan": ["pure"]}
QUICK = {"PROPTEST_CASES": "20", "JUDGED_DECLARATIONS": "150"}
THOROUGH = {"PROPTEST_CASES": "400", "JUDGED_DECLARATIONS": "800"}
# A program that took so long, or so much, never ends.
SECONDS, BYTES = {"quick": 120, "thorough": 900}, 4 << 30
SKIPPED = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|\'(?:\\.[^\']*|[^\\\'])\'', re.S)


class Source:
    """A file and its functions with their mutants."""

    def __init__(self, root, file, mutants):
        self.path, self.text = root / file, (root / file).read_text()
        starts = [0]
        for line in self.text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.at = lambda position: starts[position["line"] - 1] + position["column"] - 1
        spans = {self.span(mutant["function"]) for mutant in mutants if mutant["function"]}
        for mutant in mutants:
            start, end = self.span(mutant)
            # The outermost, where one is defined within another.
            outer = min((span for span in spans if span[0] <= start and end <= span[1]), default=None)
            mutant["outer"] = outer
            returns = (mutant["function"] or {}).get("return_type", "")
            mutant["alone"] = outer is None or "impl " in returns
            around = self.text[slice(*outer)] if outer else self.text
            where = [start - (outer or (0,))[0], mutant["file"], mutant["genre"], mutant["replacement"], around]
            mutant["key"] = hashlib.sha256(json.dumps(where).encode()).hexdigest()
        self.mutants = mutants

    def span(self, what):
        return self.at(what["span"]["start"]), self.at(what["span"]["end"])

    def body(self, function):
        """Where the body of a function begins and ends, within its braces."""
        code = SKIPPED.sub(lambda skipped: " " * len(skipped[0]), self.text[slice(*function)])
        return function[0] + code.index("{") + 1, function[1] - 1

    def mutated(self, mutant, start, end):
        """A part of the file with one mutation."""
        first, last = self.span(mutant)
        return f'{self.text[start:first]}{mutant["replacement"]}{self.text[last:end]}'

    def alone(self, mutant):
        return self.mutated(mutant, 0, len(self.text))

    def together(self, mutants):
        """The file with all these mutations, each between the lines that tell its number."""
        text, done = [], 0
        for function in sorted({mutant["outer"] for mutant in mutants}):
            here = [mutant for mutant in mutants if mutant["outer"] == function]
            start, end = self.body(function)
            head = re.sub(r"\bconst fn\b", "fn", self.text[done:start])
            arms = "".join(f'{mutant["id"]} => {{\n// mutant {mutant["id"]}\n{self.mutated(mutant, start, end)}\n// end\n}}\n' for mutant in here)
            # The original comes first: by it the compiler judges the types of the others.
            numbers = " | ".join(str(mutant["id"]) for mutant in here)
            original = f"mutant if !matches!(mutant, {numbers}) => {{\n{self.text[start:end]}\n}}\n"
            text.append(f"{head}match crate::mutant() {{\n{original}{arms}_ => unreachable!() }}")
            done = end
        return "".join(text) + self.text[done:]


def compiled(crate):
    """The programs by name, or the errors' places."""
    environment = os.environ | {"RUSTFLAGS": "--cap-lints=warn -Awarnings"}
    command = ["cargo", "test", "--no-run", "--message-format=json", "--lib", "--tests"]
    run = subprocess.run(command, cwd=crate, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    programs, errors = {}, []
    for message in map(json.loads, run.stdout.splitlines()):
        if message["reason"] == "compiler-artifact" and message.get("executable"):
            programs[message["target"]["name"]] = message["executable"]
        if message["reason"] == "compiler-message" and message["message"]["level"].startswith("error"):
            errors.append(message["message"])
    if run.returncode and not errors:
        sys.exit(run.stderr)
    return programs, errors


def culprits(crate, errors, sources):
    """The mutants that errors are about; the text of an error that is about none."""
    lines, found, strange = {}, set(), []
    for source in sources:
        current = None
        for number, line in enumerate(source.path.read_text().splitlines(), 1):
            if line.startswith("// mutant "):
                current = int(line.removeprefix("// mutant "))
            elif line == "// end":
                current = None
            lines[str(source.path.relative_to(crate)), number] = current
    for error in errors:
        spans = sorted(error["spans"], key=lambda span: not span["is_primary"])
        guilty = next(filter(None, (lines.get((span["file_name"], span["line_start"])) for span in spans)), None)
        if guilty:
            found.add(guilty)
        elif spans:
            strange.append(error["rendered"])
    return found, strange


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def judged(crate, programs, part, number, how):
    """How a mutant ends, and who noticed."""
    environment = os.environ | (QUICK if how == "quick" else THOROUGH)
    environment |= {"MUTANT": str(number), "PROPTEST_MAX_SHRINK_ITERS": "0", "RUST_TEST_THREADS": "1", "RUST_BACKTRACE": "0", "RUST_MIN_STACK": str(256 << 20)}
    environment |= {"CARGO_MANIFEST_DIR": str(crate)}
    for suite in SUITES[part]:
        try:
            run = subprocess.run(
                [programs[suite]], cwd=crate, env=environment, preexec_fn=limited, timeout=SECONDS[how], check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            )
        except subprocess.TimeoutExpired as expired:
            begun = re.findall(r"test (\S+) \.\.\.", (expired.stdout or b"").decode(errors="replace"))
            return "timeout", f"{suite} {begun[-1] if begun else ''}"
        if run.returncode:
            by = re.search(r"thread '([^']*)'", run.stdout) or re.search(r"test (\S+) \.\.\. (?!ok)", run.stdout)
            return "caught", f"{suite} {by[1] if by else run.stdout[-200:]}"
    return "missed", ""


class Results:
    """What became of each mutant, kept in a file."""

    def __init__(self, path):
        self.path = path
        self.known = json.loads(path.read_text()) if path.exists() else {}

    def note(self, mutant, outcome, by, quiet=False):
        self.known[mutant["key"]] = {"outcome": outcome, "by": by}
        passing = self.path.with_suffix(".new")
        passing.write_text(json.dumps(self.known, indent=1))
        passing.rename(self.path)
        if not quiet:
            print(f'{outcome:8} {mutant["name"]}{by and "  by " + by}', flush=True)

    def outcome(self, mutant):
        return self.known.get(mutant["key"], {}).get("outcome")

    def summary(self, mutants):
        by_outcome = {}
        for mutant in mutants:
            by_outcome.setdefault(self.outcome(mutant) or "unknown", []).append(mutant["name"])
        for outcome, names in sorted(by_outcome.items()):
            (self.path.parent / f"{outcome}.txt").write_text("".join(f"{name}\n" for name in names))
        for stale in {"caught", "missed", "timeout", "unknown", "unviable"} - set(by_outcome):
            (self.path.parent / f"{stale}.txt").unlink(missing_ok=True)
        print(", ".join(f"{len(names)} {outcome}" for outcome, names in sorted(by_outcome.items())))
        return not set(by_outcome) & {"missed", "unknown"}


def expanded(crate, sources, mutants, results):
    """Builds the program of all these mutants; those that do not compile are noted and left out."""
    mutants = list(mutants)
    while True:
        for source in sources:
            source.path.write_text(source.together([mutant for mutant in mutants if mutant in source.mutants]))
        programs, errors = compiled(crate)
        if not errors:
            return programs, mutants
        found, strange = culprits(crate, errors, sources)
        if not found:
            sys.exit("\n".join(strange))
        for mutant in mutants:
            if mutant["id"] in found:
                results.note(mutant, "unviable", "", quiet=True)
        mutants = [mutant for mutant in mutants if mutant["id"] not in found]
        print(f"{len(found)} do not compile", flush=True)


def part_of(mutant):
    return mutant["file"].split("/")[1]


def judge_together(crate, sources, mutants, results, jobs):
    programs, mutants = expanded(crate, sources, mutants, results)
    for part in sorted({part_of(mutant) for mutant in mutants}):
        outcome, by = judged(crate, programs, part, 0, "quick")
        if outcome != "missed":
            sys.exit(f"without a mutation: {outcome} by {by}")
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for how in ["quick", "thorough"]:
            todo = [mutant for mutant in mutants if results.outcome(mutant) not in ("caught", "timeout", "unviable") or how == "quick"]
            print(f"{len(todo)} to judge, {how}", flush=True)
            futures = {pool.submit(judged, crate, programs, part_of(mutant), mutant["id"], how): mutant for mutant in todo}
            for future in concurrent.futures.as_completed(futures):
                results.note(futures[future], *future.result())
    for source in sources:
        source.path.write_text(source.text)


def judge_alone(crate, source, mutant, results):
    source.path.write_text(source.alone(mutant))
    programs, errors = compiled(crate)
    outcome, by = ("unviable", "") if errors else judged(crate, programs, part_of(mutant), 0, "quick")
    if outcome == "missed":
        outcome, by = judged(crate, programs, part_of(mutant), 0, "thorough")
    results.note(mutant, outcome, by)
    source.path.write_text(source.text)


def main():
    crate, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    mutants, results, began = json.load(sys.stdin), Results(folder / "results.json"), time.monotonic()
    files = sorted({mutant["file"] for mutant in mutants})
    sources = [Source(crate, file, [mutant for mutant in mutants if mutant["file"] == file]) for file in files]
    for number, mutant in enumerate(mutants, 1):
        mutant["id"] = number
    todo = [mutant for mutant in mutants if results.outcome(mutant) not in ("caught", "unviable")]
    # Policies first: their tests are the quickest.
    todo.sort(key=part_of, reverse=True)
    print(f"{len(mutants)} mutants, {len(todo)} to judge", flush=True)
    together = [mutant for mutant in todo if not mutant["alone"]]
    if together:
        judge_together(crate, sources, together, results, int(os.environ.get("JOBS", "2")))
    for source in sources:
        for mutant in source.mutants:
            if mutant["alone"] and mutant in todo:
                judge_alone(crate, source, mutant, results)
    noticed = results.summary(mutants)
    print(f"{time.monotonic() - began:.0f} s; {folder} holds the lists")
    sys.exit(0 if noticed else 2)


main()
