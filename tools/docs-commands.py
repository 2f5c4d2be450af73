"""Runs the commands of the book, page by page in its order, where `make demo KEEP=1` left the operator running (tools/docs-test.sh).

A fence `sh,test` holds commands, run by one shell a page with `set -eu`, in a scratch directory that has the clone's folders. A fence `yaml,test` holds
manifests, which the API server must accept (server-side dry run)."""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["charts", "deploy", "examples"]
FENCE = re.compile(r"^( *)```(sh|yaml),test\n(.*?)^\1```$", re.M | re.S)
MANIFEST = """printf '\\n-- manifest\\n'
kubectl apply --dry-run=server -f - <<'END-OF-MANIFEST'
{}END-OF-MANIFEST
"""


def pages(only):
    """Pages with something to run, in the book's order."""
    for link in re.findall(r"\]\(([^)\s]+\.md)\)", (ROOT / "docs/SUMMARY.md").read_text()):
        found = FENCE.findall((ROOT / "docs" / link).read_text())
        blocks = [(kind, textwrap.dedent(text)) for _, kind, text in found]
        if blocks and (not only or link in only):
            yield link, blocks


def script(blocks):
    return "set -eu\n" + "".join(text if kind == "sh" else MANIFEST.format(text) for kind, text in blocks)


def environment(file):
    """Variables that the demo's lines `export …` set, as a shell reads them."""
    answer = subprocess.run(["bash", "-c", f". {file} && env -0"], capture_output=True, check=True).stdout
    return dict(entry.split("=", 1) for entry in answer.decode().split("\0") if entry)


def run(page, blocks, variables):
    with tempfile.TemporaryDirectory(prefix="encrypted-queue-docs-") as scratch:
        for folder in FOLDERS:
            os.symlink(ROOT / folder, pathlib.Path(scratch) / folder)
        began = time.monotonic()
        ended = subprocess.run(["bash", "-x", "-c", script(blocks)], cwd=scratch, env=variables, capture_output=True, text=True, timeout=600)
        took = time.monotonic() - began
        if ended.returncode:
            print(ended.stdout, ended.stderr, sep="\n")
        print(f"{page}: {'passed' if not ended.returncode else f'FAILED with {ended.returncode}'}, {len(blocks)} blocks, {took:.0f} s", flush=True)
        return ended.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", help="only these, as docs/SUMMARY.md links them")
    parser.add_argument("--environment", help="file of lines `export …` that the demo printed")
    parser.add_argument("--list", action="store_true", help="print what would be run, and run nothing")
    arguments = parser.parse_args()
    found = list(pages(arguments.pages))
    if not found:
        sys.exit("no page has anything to run")
    if arguments.list:
        for page, blocks in found:
            print(f"# {page}\n{script(blocks)}")
        return
    if not arguments.environment:
        parser.error("--environment is missing")
    variables = environment(arguments.environment)
    failed = [page for page, blocks in found if not run(page, blocks, variables)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
