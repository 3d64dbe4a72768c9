"""What a run of the training library is set to: from arguments, else from the run environment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from skep.errors import InputError
from skep.runenv import RunEnv, parse_address
from skep.train.choice import AUTO
from skep.train.codec import codec as codec_named
from skep.train.fragments import MOST
from skep.train.lanes import MOST as MOST_LANES
from skep.train.lead import Options
from skep.train.mllog import MLLog, checked
from skep.train.outer import Outer

OnEvent = Callable[[str], None]
MIN_REASON = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked settings. Times in seconds, speed in FLOP/s of one process."""

    site: str = "local"
    rank: int = 0
    run: str = ""
    seat: str = ""  # in a job: its share, which another site may take over
    listen: str = ""
    peers: Mapping[str, str] = field(default_factory=dict)
    proxy: str = ""
    relay: str = ""
    token: bytes = b""
    plain: str = ""  # why links are not encrypted; empty: they are
    progress_file: str = ""
    checkpoint_dir: str = ""
    speed: float | None = None
    overlap: bool = True
    fragments: int | None = None  # None: by the size of the model
    options: Options = field(default_factory=Options)
    start_wait: float = 30.0
    finish_wait: float | None = None  # by the link and what is to come (``ending``)
    sharded: bool = False
    lengthen: bool = False  # local steps of Adam, as on the batches of all sites
    streams: int | None = None  # connections for data to each peer; None: by its link
    trace: str = ""
    tensorboard: str = ""
    mllog: MLLog | None = None
    on_event: OnEvent | None = None

    @property
    def alone(self) -> bool:
        return not self.peers and not self.listen and not self.relay


def settings(
    env: RunEnv,
    processes: int,
    *,
    site: str | None = None,
    listen: str | None = None,
    peers: Mapping[str, str] | None = None,
    relay: str | None = None,
    token: str | None = None,
    plain: str = "",
    interval: float | None = None,
    interval_steps: int | None = None,
    outer: Outer | None = None,
    codec: str = AUTO,
    fragments: int | None = None,
    overlap: bool = True,
    grace: float | None = None,
    start_wait: float = 30.0,
    finish_wait: float | None = None,
    sharded: bool = False,
    lengthen: bool = False,
    average_last: float | None = None,
    streams: int | None = None,
    trace: str = "",
    tensorboard: str = "",
    mllog: MLLog | None = None,
    on_event: OnEvent | None = None,
) -> Settings:
    """Settings for one of ``processes`` ranks of a site. Raises ``InputError``."""
    name = site if site is not None else env.site
    made = Settings(
        site=name,
        rank=env.site_rank,
        run=env.run or f"run-a{time.time_ns() // 1_000_000}-{name}",
        seat=f"share {env.site_rank}" if env.job else "",
        listen=_address("listen", listen if listen is not None else env.listen),
        peers=_peers(peers if peers is not None else env.peers, name),
        proxy=_address("proxy", env.proxy),
        relay=_address("relay", relay if relay is not None else env.relay),
        token=_token(token, env),
        plain=_reason("plain", plain),
        progress_file=env.progress_file,
        checkpoint_dir=env.checkpoint_dir,
        speed=_speed(env, processes),
        overlap=overlap,
        fragments=_fragments(fragments, overlap),
        options=_options(interval, interval_steps, outer, codec, grace, average_last),
        start_wait=_positive("start_wait", start_wait),
        finish_wait=None if finish_wait is None else _positive("finish_wait", finish_wait),
        sharded=sharded,
        lengthen=lengthen,
        streams=None if streams is None else _whole("streams", streams, MOST_LANES),
        trace=trace,
        tensorboard=tensorboard,
        mllog=checked(mllog),
        on_event=on_event,
    )
    if not made.alone and len(made.token) < 8:
        raise InputError("token", "…" if made.token else "", "allowed: a secret of 8 bytes or more")
    return made


def for_rail(chosen: Settings, rail: int, run: str) -> Settings:
    """The same for one of several ranks that exchange: ``run`` is that of rank 0.

    Each hears from rank 0 where to dial; where it listens ``listening`` says.
    """
    own = replace(chosen, run=run)
    if rail == 0:
        return own
    tell = chosen.on_event
    told = None if tell is None else lambda text: tell(f"rank {rail}: {text}")
    return replace(own, peers={}, on_event=told)


def _options(
    interval: float | None,
    interval_steps: int | None,
    outer: Outer | None,
    codec: str,
    grace: float | None,
    average_last: float | None,
) -> Options:
    try:
        if codec != AUTO:
            codec_named(codec)
    except ValueError as error:
        raise InputError("codec", codec, f"{error}, {AUTO}") from error
    if outer is not None and not (0 < outer.lr <= 10 and 0 <= outer.momentum < 1):
        raise InputError("outer", outer, "allowed: lr above 0 up to 10, momentum from 0 below 1")
    return Options(
        outer=outer,
        codec=codec,
        interval=None if interval is None else _positive("interval", interval),
        interval_steps=None if interval_steps is None else _whole("interval_steps", interval_steps),
        grace=None if grace is None else _positive("grace", grace),
        average_last=None if average_last is None else _share("average_last", average_last),
    )


def _share(field_name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise InputError(field_name, value, "allowed: a share from 0 to 1")
    return float(value)


def _whole(field_name: str, value: int, most: int = 1 << 31) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        upto = "" if most == 1 << 31 else f" to {most}"
        raise InputError(field_name, value, f"allowed: a whole number from 1{upto}")
    return value


def _fragments(value: int | None, overlap: bool) -> int | None:
    if not overlap:
        if value not in (None, 1):
            raise InputError("fragments", value, "allowed: 1, as overlap is off")
        return 1
    return None if value is None else _whole("fragments", value, MOST)


def _positive(field_name: str, value: float) -> float:
    if not 0 <= value < float("inf"):
        raise InputError(field_name, value, "allowed: seconds, zero or more and finite")
    return float(value)


def _address(field_name: str, text: str) -> str:
    if text:
        try:
            parse_address(text)
        except ValueError as error:
            raise InputError(field_name, text, "allowed: host:port") from error
    return text


def _reason(field_name: str, text: str) -> str:
    if text and (not isinstance(text, str) or len(text.strip()) < MIN_REASON):
        allowed = f"allowed: a reason of {MIN_REASON} letters or more, such as 'inside our VPN'"
        raise InputError(field_name, text, allowed)
    return text.strip()


def _peers(peers: Mapping[str, str], me: str) -> dict[str, str]:
    return {
        site: _address(f"peers.{site}", address) for site, address in peers.items() if site != me
    }


def _token(token: str | None, env: RunEnv) -> bytes:
    if token is not None:
        return token.encode()
    if not env.token_file:
        return b""
    try:
        with open(env.token_file, "rb") as file:
            return file.read(4096).strip()
    except OSError as error:
        raise InputError("SKEP_TOKEN_FILE", env.token_file, f"{error.strerror}") from error


def _speed(env: RunEnv, processes: int) -> float | None:
    """A process drives this site's chips over its processes; its speed is theirs together."""
    if env.chip_speed is None:
        return None
    if not 0 < env.chip_speed < float("inf"):
        raise InputError("SKEP_CHIP_SPEED", env.chip_speed, "allowed: FLOP/s above zero")
    return env.chip_speed * max(env.chips, 1) / max(processes, 1)
