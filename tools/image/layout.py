#!/usr/bin/env python3
"""Writes a container image as an OCI layout and as an archive of it, without a daemon.

usage: layout.py OUT NAME:TAG CERTIFICATES ARCHITECTURE=PROGRAM…

The image holds the program and the authorities' certificates, nothing else, and runs as 65532. The same input gives the same bytes: names are sorted, and
every time is SOURCE_DATE_EPOCH (0).
"""
import hashlib
import io
import json
import os
import sys
import tarfile
from datetime import datetime, timezone
from pathlib import Path

EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
CREATED = datetime.fromtimestamp(EPOCH, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
USER = 65532
MEDIA = "application/vnd.oci.image"


def archive(files):
    """A tar of {path: (mode, content)}, folders included."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        folders = {str(parent) for path in files for parent in Path(path).parents if str(parent) != "."}
        for path in sorted(folders | set(files)):
            member = tarfile.TarInfo(path)
            member.mtime = EPOCH
            if path in folders:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.mode, content = files[path]
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sha256(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def encoded(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def main():
    out, name = Path(sys.argv[1]), sys.argv[2]
    certificates = Path(sys.argv[3]).read_bytes()
    blobs = {}

    def descriptor(kind, content, **more):
        digest = sha256(content)
        blobs[digest] = content
        return {"mediaType": f"{MEDIA}.{kind}", "digest": digest, "size": len(content), **more}

    manifests = []
    for argument in sys.argv[4:]:
        architecture, program = argument.split("=", 1)
        files = {
            "etc/ssl/certs/ca-certificates.crt": (0o644, certificates),
            "encrypted-queue": (0o755, Path(program).read_bytes()),
        }
        layer = archive(files)
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": CREATED,
            "config": {"User": f"{USER}:{USER}", "Entrypoint": ["/encrypted-queue"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]},
            "history": [{"created": CREATED, "created_by": "tools/image.sh"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{MEDIA}.manifest.v1+json",
            "config": descriptor("config.v1+json", encoded(config)),
            "layers": [descriptor("layer.v1.tar", layer)],
        }
        platform = {"architecture": architecture, "os": "linux"}
        manifests.append(descriptor("manifest.v1+json", encoded(manifest), platform=platform))
    # Who imports the archive finds the name on the first descriptor: the one manifest, or the index of several.
    top = manifests[0] if len(manifests) == 1 else descriptor(
        "index.v1+json", encoded({"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": manifests})
    )
    named = {**top, "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}}
    layout = {f"blobs/sha256/{digest.removeprefix('sha256:')}": (0o644, content) for digest, content in blobs.items()}
    layout["oci-layout"] = (0o644, encoded({"imageLayoutVersion": "1.0.0"}))
    layout["index.json"] = (0o644, encoded({"schemaVersion": 2, "manifests": [named]}))
    for path, (_, content) in layout.items():
        target = out / "oci" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (out / "image.tar").write_bytes(archive(layout))
    print(top["digest"])


main()
