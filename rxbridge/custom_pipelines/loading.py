"""From `my_module:pipeline` to a function that is known to be a pipeline, or a clear word of what is wrong with it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import reactivex
from reactivex import Observable
from reactivex.abc import SchedulerBase

from operators import ReplayClock
from rxbridge.errors import ConfigError
from rxbridge.events import CustomEvent
from rxbridge.messages import Frame
from rxbridge.suggestions import nearest

BUILTIN = "builtin"
"""The name of the pipeline that rxbridge has itself."""

DEFAULT_FUNCTION = "pipeline"
"""The function that is meant if only a module is named."""

_SETTING = "run.pipeline"
_MARK = "__rxbridge_stateful__"
_NOT_THE_USERS = ("importlib", "site-packages", str(Path(__file__).parent))

Function = TypeVar("Function", bound=Callable[..., Any])
Chosen: TypeAlias = str | Callable[..., Observable[CustomEvent]]
"""A name, as in `run.pipeline`, or the function itself."""
Build: TypeAlias = Callable[[Observable[Frame], SchedulerBase], Observable[CustomEvent]]


class Pipeline(NamedTuple):
    """A user's pipeline.

    Attributes:
        name: Module, or file without its suffix, and function: `my_module:pipeline`.
        build: Makes the stream of events of a stream of frames, with timers by the scheduler.
        is_stateful: Whether it is marked as one that needs earlier frames.
    """

    name: str
    build: Build
    is_stateful: bool = False


class Pipelines(NamedTuple):
    """What turns frames into events.

    Attributes:
        builtin: Whether the built-in pipeline does.
        custom: The user's.
    """

    builtin: bool = True
    custom: tuple[Pipeline, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all of them, in the order in which they are given a frame."""
        return ((BUILTIN,) if self.builtin else ()) + tuple(pipeline.name for pipeline in self.custom)


BUILTIN_ONLY = Pipelines()
"""What holds if nobody chooses."""


def stateful(function: Function) -> Function:
    """Mark a pipeline as one that needs earlier frames, whether or not its first event says so.

    It then holds all that it was given, until an event says what it holds.

        @stateful
        def pipeline(frames):
            return reactivex.merge(alerts(frames), candle_events(frames))
    """
    setattr(function, _MARK, True)
    return function


def load_pipelines(names: Sequence[Chosen]) -> Pipelines:
    """Find the pipelines that are named, and try that each can be built.

    Args:
        names: `builtin`, `module:function` or `path/to/file.py:function`; without a function, `pipeline` is meant. In
            code, functions as well.

    Raises:
        ConfigError: There is none, or one is not there, cannot be imported, is no function of frames, or gives no
            Observable.
    """
    if not names:
        raise ConfigError(_SETTING, "names no pipeline", f"give at least one; {BUILTIN!r} is rxbridge's own")
    custom = [_load(name) if isinstance(name, str) else _pipeline(name) for name in names if name != BUILTIN]
    seen = [BUILTIN for name in names if name == BUILTIN] + [pipeline.name for pipeline in custom]
    for name in seen:
        if seen.count(name) > 1:
            raise ConfigError(_SETTING, f"{name!r} is named twice", "give each pipeline once, and files other names")
    return Pipelines(BUILTIN in names, tuple(custom))


def _load(spec: str) -> Pipeline:
    where, _, function_name = spec.rpartition(":") if ":" in spec else (spec, "", DEFAULT_FUNCTION)
    if not where or not function_name:
        raise ConfigError(_SETTING, f"{spec!r} names no pipeline", "write module:function, or path/to/file.py:function")
    is_file = where.endswith(".py") or "/" in where
    module = _import_file(spec, Path(where)) if is_file else _import_module(spec, where)
    function: Any = getattr(module, function_name, None)
    if function is None:
        own = [
            name for name, one in inspect.getmembers(module, inspect.isfunction) if one.__module__ == module.__name__
        ]
        hint = nearest(function_name, own) if own else "; it has no functions of its own"
        raise ConfigError(_SETTING, f"{spec!r}: {where} has no function {function_name!r}{hint}")
    if not callable(function):
        raise ConfigError(_SETTING, f"{spec!r} is no function, but of type {type(function).__name__}")
    name = f"{Path(where).stem if is_file else where}:{function_name}"
    return _pipeline(cast("Callable[..., Observable[CustomEvent]]", function), name, spec)


def _pipeline(function: Callable[..., Observable[CustomEvent]], name: str = "", spec: str = "") -> Pipeline:
    if not callable(function):  # pyright: ignore[reportUnnecessaryComparison] users' code
        given = type(function).__name__
        raise ConfigError(
            _SETTING, f"{function!r} is no pipeline, but of type {given}", "give a function of frames, or a name"
        )
    name = name or f"{function.__module__}:{getattr(function, '__qualname__', type(function).__qualname__)}"
    build = _builder(spec or name, function)
    _try(spec or name, build)
    return Pipeline(name, build, is_stateful=bool(getattr(function, _MARK, False)))


def _import_module(spec: str, name: str) -> ModuleType:
    # The command `rxbridge` has its own folder as the first of the import path, where `python -m` has the working one.
    working = str(Path.cwd())
    if working not in sys.path:
        sys.path.insert(0, working)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(
                _SETTING, f"{spec!r}: there is no module {error.name!r}", f"it is looked for in {working} first"
            ) from error
        raise _cannot("be imported", spec, error) from error
    except (Exception, SystemExit) as error:
        raise _cannot("be imported", spec, error) from error


def _import_file(spec: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(_SETTING, f"{spec!r}: there is no file {path}", f"it is looked for from {Path.cwd()}")
    # As for a script: what stands beside it can be imported.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    name = f"rxbridge_pipeline_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ConfigError(_SETTING, f"{spec!r}: {path} is no Python file", "its name must end in .py")
    module = importlib.util.module_from_spec(found)
    # Before it runs: dataclasses and the like look their module up.
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise _cannot("be imported", spec, error) from error
    return module


def _builder(spec: str, function: Callable[..., Observable[CustomEvent]]) -> Build:
    hint = "write pipeline(frames), or pipeline(frames, scheduler)"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise ConfigError(_SETTING, f"{spec!r}: its parameters cannot be read", hint) from None
    frames, clock = object(), object()
    if "scheduler" in signature.parameters:
        try:
            signature.bind(frames, scheduler=clock)
        except TypeError as error:
            raise ConfigError(_SETTING, f"{spec!r} cannot be called with frames and scheduler: {error}", hint) from None
        return lambda frames, scheduler: function(frames, scheduler=scheduler)
    try:
        signature.bind(frames)
    except TypeError as error:
        raise ConfigError(_SETTING, f"{spec!r} cannot be called with frames: {error}", hint) from None
    return lambda frames, _scheduler: function(frames)


def _try(spec: str, build: Build) -> None:
    try:
        events = build(reactivex.never(), ReplayClock(0))
    except (Exception, SystemExit) as error:
        raise _cannot("be built", spec, error) from error
    if not isinstance(events, Observable):  # pyright: ignore[reportUnnecessaryIsInstance] users' code
        given = type(events).__name__
        raise ConfigError(_SETTING, f"{spec!r} gives no Observable, but {given}", "return frames.pipe(...)")


def _cannot(what: str, spec: str, error: BaseException) -> ConfigError:
    """With the line of the user's that raised, rather than one of ours or of the import machinery."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if not any(place in frame.filename for place in _NOT_THE_USERS)]
    where = f" ({places[-1].filename}, line {places[-1].lineno})" if places else ""
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}, line {error.lineno})"
    return ConfigError(_SETTING, f"{spec!r} cannot {what}: {type(error).__name__}: {error}{where}")
