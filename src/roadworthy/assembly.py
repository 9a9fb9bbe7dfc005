"""Assembly: the only place where a name becomes an object.

In: a project file. Out: a ``Project`` (what is declared) and a ``World`` (what it runs in): sources, lake,
registry, keys and trainers behind their protocols.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from roadworthy.adapters.keys import Hasher, Keys, create_keys, load_hasher, load_keys
from roadworthy.adapters.lake import Lake
from roadworthy.adapters.trainers import trainer_named
from roadworthy.errors import Problem, RegistryError, UnknownName, UsageError
from roadworthy.formats.bundle import OpenBundle, read_bundle, require_registered
from roadworthy.formats.project import read_project
from roadworthy.lifecycle.api_keys import KeyRecord
from roadworthy.lifecycle.registry import CHAMPION, Registry
from roadworthy.protocols import Reporter, Source
from roadworthy.records.digests import Digest
from roadworthy.records.project import ProjectSpec
from roadworthy.records.version import Version
from roadworthy.serving.predictor import BundlePredictor, Hash
from roadworthy.settings import Settings, read_settings
from roadworthy.standard import Standard, parse_standard
from roadworthy.transforms.cleaning import contract_for_hashed

if TYPE_CHECKING:
    from roadworthy.pipeline import World
    from roadworthy.serving.engine import Engine

__all__ = [
    "PROJECT_FILE",
    "REPORT_FILE",
    "Project",
    "Seen",
    "SystemClock",
    "engine",
    "is_project",
    "open_project",
    "opened_registry",
    "predictor",
    "seen",
    "source_of",
    "watched_registry",
    "world",
]

PROJECT_FILE = "roadworthy.toml"
REPORT_FILE = "report.html"


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Aware, in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Project:
    """A project as declared, its standard resolved, its personal columns read as the hashes they become."""

    file: Path
    spec: ProjectSpec
    standard: Standard
    settings: Settings
    lines: Mapping[str, int]

    @property
    def folder(self) -> Path:
        """Where the project file stands."""
        return self.file.parent


def is_project(path: Path | str = PROJECT_FILE) -> bool:
    """Whether a project file, or a folder with one, is there."""
    file = Path(path)
    return (file / PROJECT_FILE if file.is_dir() else file).is_file()


def open_project(path: Path | str = PROJECT_FILE) -> Project:
    """Read a project file, or the one in a folder; every problem in it comes at once."""
    file = Path(path)
    if file.is_dir():
        file = file / PROJECT_FILE
    if not file.exists():
        raise UsageError(
            f"there is no project file {file}",
            next_step="roadworthy init DATA --target COLUMN   # writes one",
        )
    read = read_project(file)
    spec = read.spec
    standard = parse_standard(
        spec.standard,
        spec.task,
        columns=(*spec.contract.columns, *spec.features),
        target=spec.target,
        lines=read.lines,
        file=file.name,
    )
    hashed = msgspec.structs.replace(spec, contract=contract_for_hashed(spec.contract, spec.data.personal))
    return Project(file, hashed, standard, read_settings(file.parent), read.lines)


def project_keys(project: Project) -> Keys:
    """The project's keys; what is missing of them is made as long as no version was registered with older ones."""
    try:
        return load_keys(project.folder)
    except UsageError:
        with opened_registry(project) as registry:
            if registry.versions(project.spec.name):
                raise
    return create_keys(project.folder)


@contextmanager
def opened_registry(project: Project, *, watched: bool = False) -> Iterator[Registry]:
    """The project's registry, closed at the end; ``watched`` neither creates nor migrates it."""
    registry = Registry(project.settings.registry, SystemClock(), watched=watched)
    try:
        yield registry
    finally:
        registry.close()


@contextmanager
def world(project: Project, reporter: Reporter, *, source: Source | None = None) -> Iterator[World]:
    """Everything a run needs. ``source`` replaces the declared one (frames from Python)."""
    from roadworthy.adapters.sources import open_source  # noqa: PLC0415 - Arrow; a server needs none of it
    from roadworthy.pipeline import World, check_plans  # noqa: PLC0415 - all of training; predictions need none of it

    check_plans(project.spec, project.lines, project.file.name)
    keys = project_keys(project)
    spec = project.spec
    trainers = {name: trainer_named(name, project.folder) for name in spec.training.candidates}
    with opened_registry(project) as registry:
        yield World(
            source=source or open_source(spec.data.source, project.folder),
            store=Lake(project.settings.lake),
            registry=registry,
            trainers=trainers,
            keys=keys,
            reporter=reporter,
        )


def source_of(data: Any) -> Source:
    """Rows that a call names: a path, URL or mapping (from the working directory), or a frame from Python."""
    from roadworthy.adapters.sources import frame_source, open_source  # noqa: PLC0415 - as above

    if isinstance(data, Path):
        return open_source(str(data), Path.cwd())
    return open_source(data, Path.cwd()) if isinstance(data, str | Mapping) else frame_source(data)


def chosen_version(registry: Registry, name: str, wanted: str) -> Version:
    """The version that a word means: a number, ``champion``, or ``latest``."""
    if wanted == "latest":
        versions = registry.versions(name)
        if not versions:
            raise RegistryError(f"{name} has no version yet", next_step="roadworthy run")
        return versions[0]
    if wanted == CHAMPION:
        champion = registry.alias(name)
        if champion is None:
            raise RegistryError(
                f"{name} has no champion yet", next_step="roadworthy promote VERSION, or ask with --version latest"
            )
        return champion
    if wanted.isdecimal():
        return registry.version(name, int(wanted))
    raise UnknownName("version", wanted, ["latest", CHAMPION, "a number"], next_step="roadworthy status")


@contextmanager
def opened_bundle(project: Project, wanted: str) -> Iterator[tuple[Version, OpenBundle]]:
    """A registered version and its verified bundle."""
    with opened_registry(project) as registry:
        version = chosen_version(registry, project.spec.name, wanted)
        yield version, bundle_of(project, registry, version)


def bundle_of(project: Project, registry: Registry, version: Version) -> OpenBundle:
    """The verified bundle of a version; BundleError when the lake holds another one in its place."""
    folder = Lake(project.settings.lake).path("package", version.digest) / "bundle"
    return require_registered(read_bundle(folder, registry.trusted_keys()), version)


def predictor(project: Project, bundle: OpenBundle, *, threads: int = 1) -> BundlePredictor:
    """The bundle, ready to answer, with the project's own hashing of personal columns."""
    return BundlePredictor(bundle, threads=threads, **_hiding(project, bundle))


def hasher_of(project: Project) -> Hasher | None:
    """What hides personal values for whoever answers; None where the key is not here.

    The key that signs is not asked for. Raises UsageError for a file that is no key, or that others may read.
    """
    file = project.settings.hashing_key
    return load_hasher(file) if file.exists() else None


class _Hiding(TypedDict):
    hash_personal: Hash | None
    hashing_key: Digest


def _hiding(project: Project, bundle: OpenBundle) -> _Hiding:
    """How a bundle's personal columns are hidden; UsageError where it has such and the key is not here."""
    contract, hasher = bundle.parts.contract, hasher_of(project)
    if hasher is not None:
        return {"hash_personal": hasher.hash, "hashing_key": hasher.fingerprint}
    if not contract.personal:
        return {"hash_personal": None, "hashing_key": ""}
    file = project.settings.hashing_key
    raise UsageError(
        f"{contract.name} hides personal columns, and the key that hides them is not here",
        problems=[
            Problem("no such file", where=str(file), expected=f"the key for {', '.join(sorted(contract.personal))}")
        ],
        next_step="copy hashing.key (not signing.pem) out of .roadworthy/keys of the project, and name it: "
        "ROADWORTHY_HASHING_KEY_FILE=PATH",
    )


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a server knows of the registry: all it takes to serve, and to notice that something changed since.

    ``link`` is the newest link of the audit chain when it was read. ``fallback`` is the champion before ``version``.
    """

    link: tuple[int, Digest]
    version: Version
    fallback: Version | None
    trusted: tuple[bytes, ...]
    keys: tuple[KeyRecord, ...]


def watched_registry(project: Project) -> Registry:
    """The registry for whoever follows it: it may be gone and come back, and nothing creates it anew."""
    return Registry(project.settings.registry, SystemClock(), watched=True)


def seen(project: Project, registry: Registry, wanted: str) -> Seen:
    """What the registry says now of the version that a server serves. A change meanwhile shows in the next ``link``."""
    name = project.spec.name
    link = registry.newest()
    version = chosen_version(registry, name, wanted)
    return Seen(
        link=link,
        version=version,
        fallback=registry.before(name) if wanted == CHAMPION else None,
        trusted=registry.trusted_keys(),
        keys=registry.api_keys(),
    )


def engine(project: Project, known: Seen, version: Version) -> Engine:
    """A registered version, verified, warm and self-tested; BundleError when the lake holds another in its place."""
    from roadworthy.serving.engine import Engine  # noqa: PLC0415 - only a server needs it

    folder = Lake(project.settings.lake).path("package", version.digest) / "bundle"
    bundle = require_registered(read_bundle(folder, known.trusted), version)
    return Engine(bundle, version.title, **_hiding(project, bundle))
