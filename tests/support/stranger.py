"""Checks an evidence bundle by what its formats say, without a line of ANetCon: `python stranger.py BUNDLE ROOT-KEY`.

RFC 6962, C2SP signed notes, SHA-256, Ed25519, a zip file. Prints what it read; ends with a sentence if anything is off.
"""

import base64
import hashlib
import io
import json
import re
import sys
import zipfile

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha(content: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(content).digest()


def root_over(leaves: list[bytes]) -> bytes:
    """The root of RFC 6962 over some leaves, as its definition has it."""
    if len(leaves) == 1:
        return sha(b"\0" + leaves[0])
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return sha(b"\1" + root_over(leaves[:left]) + root_over(leaves[left:]))


def read_key(text: str) -> tuple[str, bytes]:
    """Name and key of `name+id+base64(1, key)`."""
    name, number, encoded = text.strip().split("+", 2)
    key = base64.b64decode(encoded)[1:]
    assert sha(name.encode() + b"\n\1" + key)[:4].hex() == number, "a public key is not as it is written"
    return name, key


def signed_text(note: str, name: str, key: bytes) -> str:
    """The text of a note that this key signed."""
    text, _, below = note.rpartition("\n\n")
    text += "\n"
    number = sha(name.encode() + b"\n\1" + key)[:4]
    for line in below.splitlines():
        _, signer, encoded = line.split(" ")
        signature = base64.b64decode(encoded)
        if signer == name and signature[:4] == number:
            Ed25519PublicKey.from_public_bytes(key).verify(signature[4:], text.encode())
            return text
    raise SystemExit(f"{name} has not signed it")


def certified(bundle: zipfile.ZipFile, root: tuple[str, bytes]) -> tuple[str, tuple[str, bytes], dict[int, bytes]]:
    """What the root key certified: the origin, the node's key, the keys of epochs by number."""
    epochs: dict[int, bytes] = {}
    origin, node = "", ("", b"")
    for name in sorted(bundle.namelist()):
        if re.fullmatch(r"certificates/[0-9]+\.note", name):
            lines = signed_text(bundle.read(name).decode(), *root).splitlines()
            content = bundle.read(name[:-5] + ".keys")
            keys = [content[at : at + 32] for at in range(0, len(content), 32)]
            assert len(keys) == int(lines[1]), "a certificate has another number of keys"
            assert root_over(keys) == base64.b64decode(lines[2]), "the keys are not those that were certified"
            said = dict(line.split(" ", 1) for line in lines[3:])
            origin, node = lines[0].removesuffix("/keys"), read_key(said["node"])
            epochs |= {int(said["first"]) + at: key for at, key in enumerate(keys)}
    return origin, node, epochs


def checked_files(bundle: zipfile.ZipFile, lines: list[bytes]) -> int:
    """How many files of the bundle are what the manifest says; the chain of its lines holds."""
    entries: dict[str, dict[str, str]] = {}
    head = "0" * 64
    for line in lines:
        said = json.loads(line)
        assert said["prev"] == head, "the chain of the manifest is broken"
        head = sha(line).hex()
        if "file" in said:
            entries[said["file"]] = said
        for gone in said.get("removes", ()):
            del entries[gone]
    names = bundle.namelist()
    known = {"README.txt", "custody.json", "checkpoint", "root.pub", "manifest.jsonl"}
    notes = [name for name in names if re.fullmatch(r"certificates/[0-9]+\.note", name)]
    files = [name for name in names if name not in known.union(notes, (f"{note[:-5]}.keys" for note in notes))]
    assert len(set(names)) == len(names), "a member is there twice"
    assert set(files) <= set(entries), "files were added"
    for name in files:
        assert sha(bundle.read(name)).hex() == entries[name]["sha256"], f"{name} is not what the manifest says"
    custody = json.loads(bundle.read("custody.json"))
    if custody["since_us"] is None and custody["until_us"] is None:
        assert set(files) == set(entries), "files were left out"
    return len(files)


def main(path: str, key: str) -> None:
    """Check it."""
    with zipfile.ZipFile(path) as bundle:
        origin, node, epochs = certified(bundle, read_key(key))
        note = bundle.read("checkpoint").decode()
        text = signed_text(note, *node)
        by = next(line.split(" ")[1] for line in note.splitlines() if f"{origin}/epoch/" in line)
        number = int(by.rpartition("/")[2])
        assert signed_text(note, by, epochs[number]) == text, "two texts"
        said = text.splitlines()
        lines = list(io.BytesIO(bundle.read("manifest.jsonl")))
        assert said[0] == origin, "it is of another store"
        assert int(said[1]) == len(lines), "the manifest has another number of lines"
        assert base64.b64decode(said[2]) == root_over(lines), "the manifest is not what was signed"
        sys.stdout.write(f"{checked_files(bundle, lines)} files, epoch {number}, {said[3]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
