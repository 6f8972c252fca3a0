"""The request of `serve`; needs no FastAPI."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gfnet_dynn.bundle.builtin import HELP
from gfnet_dynn.errors import OptionError
from gfnet_dynn.images.options import DecodeOptions
from gfnet_dynn.options import lenient, option, require
from gfnet_dynn.runtime.engine import default_threads
from gfnet_dynn.runtime.request import (
    EngineName,
    PrecisionName,
    engine_option,
    policy_option,
    precision_option,
)
from gfnet_dynn.units import parse_bytes, parse_share

_network, _limits = partial(option, panel="Network"), partial(option, panel="Limits")
_time, _access = partial(option, panel="Time"), partial(option, panel="Access")
_maps = partial(option, panel="Maps")

MOST_BATCH = 64
TOKEN_VARIABLE = "GFNET_DYNN_TOKEN"  # its name, not its value
_FEWEST_TOKEN = 16  # characters
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
@lenient
class ServeRequest:
    """Options."""

    bundles: tuple[str, ...] = option(
        (), f"{HELP} Several may be given; the first one is the default. [default: all built-in models]", argument=True
    )
    host: str = option("127.0.0.1", "Address to listen on; 0.0.0.0: all of this device's.", panel="Access")
    port: int = option(8000, "Port; 0: any that is free, which is printed.", panel="Access")
    token: str | None = _access(
        None,
        f"Bearer token that requests must carry. Better given as {TOKEN_VARIABLE} in the environment or by "
        "--token-file: other users of the device see command lines. [default: none]",
    )
    token_file: Path | None = _access(None, "File with the token in its first line.")
    allowed_host: tuple[str, ...] = _access(
        (), "Name by which clients may call a server on the loopback address, as behind a proxy.", rare=True
    )
    policy: str | None = policy_option()
    lower_exits: bool = _time(
        True, "Under load and near deadlines, let images exit earlier before any request is rejected."
    )
    lower_to: str | None = _time(
        None, "Lowest policy that load may lower to. [default: the cheapest, then earlier and earlier exits]"
    )
    most_wait_ms: float = _time(
        50.0, "Expected wait in the queue above which exits are lowered; half of its deadline where a request has one."
    )
    time_limit_s: float = _time(
        5.0, "Most seconds that an image may take; a request's own deadline can only be shorter."
    )
    upload_s: float = _time(30.0, "Most seconds that a request may take to arrive.")
    scene_upload_s: float = _maps(900.0, "Most seconds that a scene may take to arrive.")
    batch: int = _network(8, "Images in a batch, at most; batches form across requests and again after each exit.")
    engine: EngineName = engine_option()
    precision: PrecisionName = precision_option()
    threads: int | None = option(
        None, "Processor threads of the network. [default: one fewer than there are, at most four]", panel="Engine"
    )
    max_body: int = _limits(
        32 * 2**20, "Largest request, such as 32M; maps have --max-scene.", parse=parse_bytes, metavar="SIZE"
    )
    max_images: int = _limits(64, "Most images in a request.")
    queue: int = _limits(256, "Most images that wait or are classified; more are answered with status 429.")
    concurrency: int = _limits(256, "Most requests at once; more are answered with status 503.")
    false_alarms: float = option(
        0.01,
        "Probability that the test for a shift ever raises a false alarm, for each policy.",
        parse=parse_share,
        panel="Promise",
    )
    maps: bool = _maps(True, "Offer maps of GeoTIFFs; needs the extra geo.")
    jobs: Path | None = _maps(None, "Folder of map jobs, which outlive a restart. [default: a temporary one]")
    max_scene: int = _maps(2 * 2**30, "Largest scene, such as 2G.", parse=parse_bytes, metavar="SIZE")
    decode: DecodeOptions = DecodeOptions()

    def __post_init__(self) -> None:
        require(self, ("port",), lambda value: 0 <= value < 65536, "be from 0 to 65535")
        require(self, ("batch",), lambda value: 1 <= value <= MOST_BATCH, f"be from 1 to {MOST_BATCH}")
        counts = ("queue", "concurrency", "max_images", "threads", "max_body", "max_scene")
        require(self, counts, lambda value: value >= 1, "be at least 1")
        times = ("most_wait_ms", "time_limit_s", "upload_s", "scene_upload_s")
        require(self, times, lambda value: value > 0, "be above 0")
        require(self, ("false_alarms",), lambda value: 1e-6 <= value < 0.5, "be from 0.0001% to below 50%")
        if self.token is not None and self.token_file is not None:
            raise OptionError("give --token or --token-file, not both")
        if self.lower_to is not None and not self.lower_exits:
            raise OptionError("--lower-to says how far, and --no-lower-exits that not at all: give one of them")

    @property
    def engine_threads(self) -> int:
        """Threads of the network: one processor is left for requests and decoding."""
        return self.threads or max(1, min(default_threads(), (os.cpu_count() or 1) - 1))

    @property
    def is_local(self) -> bool:
        """Only programs on this device reach it."""
        return self.host in _LOOPBACK

    def secret(self) -> str | None:
        """The token, wherever it comes from.

        Raises:
            OptionError: it cannot be read, or is too short to be one.
        """
        found = self.token
        if self.token_file is not None:
            try:
                found = self.token_file.read_text(encoding="utf-8").partition("\n")[0].strip()
            except (OSError, ValueError) as error:
                raise OptionError(f"--token-file {self.token_file} cannot be read: {error}") from error
        if found is None:
            found = os.environ.get(TOKEN_VARIABLE, "").strip() or None
        if found is not None and len(found) < _FEWEST_TOKEN:
            raise OptionError(
                f"a token has at least {_FEWEST_TOKEN} characters, not {len(found)}: `openssl rand -hex 32` makes one"
            )
        return found
