"""The keys of a node as files, in the folder of whoever signs: what is secret is his alone (0600).

    root.pub               the public key of the root, which the others come from; of several the newest is the last
    certificates/0001.note     what the root said of them, and beside it 0001.keys: the keys of the epochs
    node.key               the secret key that stays
    epoch-00000017.json    the secret of the epoch that is

Epochs are counted and not bound to a clock: whoever sets one gains nothing. The next epoch's secret is on the disk
before this one's is overwritten and removed, so that a crash at any step leaves one of the two. What was on a disk may
be found there afterwards all the same: overwriting is not erasure.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anetcon.errors import InputError, KeyringError
from anetcon.proof import certificate
from anetcon.proof.certificate import ELSEWHERE, EPOCHS, HERE, ROOT, Certificate, Signed, Trusted
from anetcon.proof.checkpoints import Checkpoints
from anetcon.proof.merkle import SIZE
from anetcon.proof.note import Note, NoteError, PublicKey, SigningKey, read_keys
from anetcon.store import layout
from anetcon.system import ondisk

EPOCH_SECONDS = 3600
"""An epoch is over after so long, if something was signed in it."""

FOLDER_MODE, SECRET_MODE = 0o750, 0o600
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Epoch(NamedTuple):
    """The epoch that is: its number and secret, the boot in which it began and when in it (s)."""

    number: int
    seed: bytes
    boot: str
    since: float

    def is_over(self) -> bool:
        """Whether it has lasted long enough, or the machine was booted since."""
        return self.boot != boot_id() or time.clock_gettime(time.CLOCK_BOOTTIME) - self.since >= EPOCH_SECONDS


def boot_id() -> str:
    """The kernel's name of this boot."""
    return BOOT_ID.read_text().strip()


def new_root() -> SigningKey:
    """A root key."""
    return SigningKey(ROOT, Ed25519PrivateKey.generate())


def root_of(path: Path) -> SigningKey:
    """The root key in a file, which is made if it is not there. Raises InputError."""
    if not path.exists():
        root = new_root()
        pem = root.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            _write(path, pem, SECRET_MODE)
        except OSError as error:
            raise InputError(f"cannot write the root key {path}: {error.strerror}") from error
        return root
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise InputError(f"cannot read the root key {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is no root key: an Ed25519 key in PEM, without a passphrase") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} has another kind of key: Ed25519 is needed (`openssl genpkey -algorithm ed25519`)")
    return SigningKey(ROOT, key)


class Keyring:
    """The keys in a folder. Raises KeyringError where they cannot be used, OSError where they cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def exists(self) -> bool:
        """Whether keys were made here, to their end."""
        return bool(self._epochs())

    def init(
        self, node: str, root: SigningKey | None = None, count: int = EPOCHS, owner: int = -1, made: str = ELSEWHERE
    ) -> Trusted:
        """Make the keys of a node, for a user of this number. Without a root one is made, and forgotten when it has
        signed; `made` is where the one that is given was made."""
        if self.exists():
            raise KeyringError(f"{self.folder} has keys already: `anetcon keys renew` certifies more epochs")
        if Checkpoints(self.folder).epochs():
            raise KeyringError(f"{self.folder} has checkpoints and no secret of an epoch: move it away as evidence")
        for folder in (self.folder, self.folder / "certificates"):
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            _give(folder, FOLDER_MODE, owner)
        for left in (self.folder / "certificates").iterdir():  # of one that was not made to its end
            left.unlink()
        origin = f"anetcon/{quote(node, safe='')}/{secrets.token_hex(8)}"
        stays = SigningKey(origin, Ed25519PrivateKey.generate())
        with self._alone():
            self._put("node.key", stays.private.private_bytes_raw(), SECRET_MODE)
            self._put("root.pub", b"")
            self._certify(root, Certificate(stays.name, 1, (), stays.public, made if root else HERE), count, [])
        return self.trusted()

    def renew(self, root: SigningKey | None = None, count: int = EPOCHS, made: str = ELSEWHERE) -> Trusted:
        """Certify more epochs, the next of which begins now. A root that is made here is signed for by the epoch."""
        with self._alone():
            epoch = self._epoch()
            trusted = self.trusted()
            signing = certificate.epoch_key(trusted.origin, epoch.number, epoch.seed)
            next_one = epoch.number + Checkpoints(self.folder).has(epoch.number)  # no epoch is without a checkpoint
            node = trusted.nodes[-1]
            said = Certificate(node.name, next_one, (), node, made if root else HERE)
            self._certify(root, said, count, [signing])
            self._epoch()
        return self.trusted(root.public if root else None)

    def trusted(self, root: PublicKey | None = None, earlier: Sequence[PublicKey] = ()) -> Trusted:
        """What holds for who trusts this root and earlier ones; by default for who trusts the node."""
        try:
            *before, named = self._roots()
            return Trusted(root or named, self.certificates(), earlier if root else before)
        except NoteError as error:
            raise KeyringError(f"{self.folder / 'certificates'}: {error}") from error

    def root(self) -> PublicKey:
        """The public key of the newest root, as the node says."""
        return self._roots()[-1]

    def _roots(self) -> list[PublicKey]:
        try:
            return read_keys(self._read("root.pub").decode(errors="replace"))
        except NoteError as error:
            raise KeyringError(f"{self.folder / 'root.pub'}: {error}") from error

    def certificates(self) -> list[Signed]:
        """What was certified, oldest first."""
        try:
            return [
                certificate.read(note.decode(errors="replace"), keys)
                for note, keys in self.certificate_files().values()
            ]
        except NoteError as error:
            raise KeyringError(f"{self.folder / 'certificates'}: {error}") from error

    def certificate_files(self) -> dict[str, tuple[bytes, bytes]]:
        """The files of each certificate, by its name: the note, and the keys that it is of."""
        names = sorted(path.stem for path in (self.folder / "certificates").glob("*.note"))
        parts = {name: [self._read(f"certificates/{name}.{end}") for end in ("note", "keys")] for name in names}
        return {name: (note, keys) for name, (note, keys) in parts.items()}

    def epoch(self) -> int:
        """The number of the epoch that is; 0 where there is none."""
        return max(self._epochs(), default=0)

    def left(self) -> int:
        """How many epochs are certified after this one."""
        last = max(each.first + len(each.keys) - 1 for each in self.trusted().certificates)
        return max(0, last - self.epoch())

    def signing_keys(self) -> list[SigningKey]:
        """The keys to sign with: the one that stays, and that of the epoch. The next epoch begins where this one is
        over and its key has signed."""
        with self._alone():
            trusted = self.trusted()
            stays = SigningKey.of(trusted.origin, self._read("node.key"))
            epoch = self._epoch()
            is_over = Checkpoints(self.folder).has(epoch.number) and epoch.is_over()
            seed = certificate.after(epoch.seed)
            after = certificate.epoch_key(trusted.origin, epoch.number + 1, seed)
            if is_over and after.public in trusted.epochs(epoch.number + 1):
                self._begin(epoch.number + 1, seed)
                self._erase(epoch.number)
                epoch, is_over = self._epoch(), False
            key = certificate.epoch_key(trusted.origin, epoch.number, epoch.seed)
            is_certified = key.public in trusted.epochs(epoch.number)
            return [stays, key] if is_certified and not is_over else [stays]

    def _certify(self, root: SigningKey | None, said: Certificate, count: int, signing: Sequence[SigningKey]) -> None:
        """Make an epoch and those after it, have the root and others sign for them, and begin it."""
        seed = secrets.token_bytes(SIZE)
        keys = tuple(certificate.public_keys(said.origin, seed, count))
        by = root or new_root()
        name = f"certificates/{len(list((self.folder / 'certificates').glob('*.note'))) + 1:04d}"
        self._put(f"{name}.keys", b"".join(keys))
        self._put(f"{name}.note", str(Note.signed(said._replace(keys=keys).text, [by, *signing])).encode())
        named, line = self._read("root.pub"), f"{by.public}\n".encode()
        if not named or (root and line not in named):  # one that was made here is known by the epoch's signature
            self._put("root.pub", named + line)
        self._begin(said.first, seed)

    def _begin(self, number: int, seed: bytes) -> None:
        said = {"seed": seed.hex(), "boot": boot_id(), "since": time.clock_gettime(time.CLOCK_BOOTTIME)}
        with _overwritten(self.folder / _name(number)):  # of a renewal before anything was signed
            self._put(_name(number), json.dumps(said).encode(), SECRET_MODE)

    def _epoch(self) -> Epoch:
        """The last that was begun; one before it that a crash left goes."""
        *left, number = self._epochs() or [0]
        if not number:
            raise KeyringError(f"{self.folder} has no keys: `anetcon keys init` makes them")
        for each in left:
            self._erase(each)
        try:
            said = json.loads(self._read(_name(number)))
            return Epoch(number, bytes.fromhex(said["seed"]), str(said["boot"]), float(said["since"]))
        except (ValueError, LookupError, TypeError) as error:
            raise KeyringError(
                f"{self.folder / _name(number)} is no key of an epoch: restore nothing; renew"
            ) from error

    def _epochs(self) -> list[int]:
        numbers = (path.stem.removeprefix("epoch-") for path in self.folder.glob("epoch-*.json"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def _erase(self, number: int) -> None:
        """Overwrite a secret, then remove it."""
        path = self.folder / _name(number)
        with _overwritten(path):
            pass
        path.unlink()
        ondisk.sync_folder(self.folder)

    def _read(self, name: str) -> bytes:
        path = self.folder / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise KeyringError(f"{path} is not there: `anetcon keys init` makes the keys") from None
        except OSError as error:
            raise KeyringError(f"cannot read {path}: {error.strerror}") from error

    def _put(self, name: str, content: bytes, mode: int = ondisk.FILE_MODE) -> None:
        """Write a file whole, on the disk when this returns, for the folder's owner."""
        path = self.folder / name
        _write(path, content, mode, self.folder.stat().st_uid)
        ondisk.sync_folder(path.parent)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the keys meanwhile."""
        descriptor = ondisk.open_file(self.folder / "keys.lock", os.O_RDWR | os.O_CREAT, SECRET_MODE)
        try:
            _give(descriptor, SECRET_MODE, self.folder.stat().st_uid)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _write(path: Path, content: bytes, mode: int, owner: int = -1) -> None:
    """Write aside, for this owner alone or for the group besides, then rename."""
    new = ondisk.aside(path)
    with contextlib.suppress(FileNotFoundError), _overwritten(new):  # what a crash left may be a secret
        new.unlink()
    descriptor = ondisk.open_file(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
    try:
        ondisk.write_all(descriptor, content)
        _give(descriptor, mode, owner)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.rename(path)


@contextlib.contextmanager
def _overwritten(path: Path) -> Iterator[None]:
    """The file that is there now, if any, has zeros in the end, whatever took its place or name meanwhile."""
    try:
        descriptor = ondisk.open_file(path, os.O_WRONLY)
    except FileNotFoundError:
        yield
        return
    try:
        yield
        ondisk.write_all(descriptor, bytes(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give(what: int | Path, mode: int, owner: int) -> None:
    group = layout.group()
    with contextlib.suppress(PermissionError):
        os.chown(what, owner, -1 if group is None else group)
    os.chmod(what, mode)  # noqa: PTH101 - or of a descriptor


def _name(number: int) -> str:
    """Of the file with the secret of an epoch."""
    return f"epoch-{number:08d}.json"
