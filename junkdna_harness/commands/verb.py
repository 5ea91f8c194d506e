"""How every verb of `junkdna` reads its command line: either spelling of an option, `--no-NAME` of a flag, a YAML file of options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from difficulty.visible import visible
from junkdna_harness.commands.pages import PAGES, Page

PLAN_FILES = (".yaml", ".yml")
PLAN = "PLAN.yaml"


def kebab(name: str) -> str:
    """`group_size` as options are written: both spellings are one. Only names come here, never values."""
    return name.replace("_", "-")


CONTEXT = {"token_normalize_func": kebab, "help_option_names": ["-h", "--help"]}


class _Described:
    """A verb with a page of help: see `commands.pages`."""

    page: Page | None = None

    def __init__(self, *args: Any, **settings: Any) -> None:
        """As typer makes it; then options get their headings, and the page its end."""
        super().__init__(*args, **settings)
        verb: Any = self
        if self.page is not None:
            self.page.arrange(verb.params)
            verb.help = self.page.paragraphs(verb.help or "")
            verb.epilog, verb.rich_help_panel = self.page.epilog, self.page.room or None


class Plain(_Described, TyperCommand):
    """A verb that reads no file of options."""


class Group(_Described, TyperGroup):
    """A verb that is nothing without one of its sub-commands."""


def with_page(base: type[Any], name: str) -> type[Any]:
    """The class of a verb with its page of help."""
    return type(base.__name__, (base,), {"page": PAGES[name]})


class Verb(Plain):
    """A verb, of whose arguments one may be a YAML file with options: those of the command line come before its own.

    `--no-NAME` of a flag is understood and not shown: it is for what a file says.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        """As typer makes it."""
        super().__init__(*args, **settings)
        for param in self.params:
            flag: Any = param
            if getattr(flag, "is_flag", False) and flag.default is False:
                flag.secondary_opts = []
        if self.epilog:
            self.epilog += (
                f"\n\n{PLAN} holds options, one per line as NAME: VALUE; the command line comes first."
            )

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS] [PLAN.yaml]`, and the arguments."""
        options, *arguments = super().collect_usage_pieces(ctx)
        return [options, f"[{PLAN}]", *arguments]

    def make_parser(self, ctx: Any) -> Any:
        """The parser, which also knows `--no-NAME` of a flag, for where a file sets it."""
        parser = super().make_parser(ctx)
        param: Any
        for param in self.get_params(ctx):
            if getattr(param, "is_flag", False) and param in self.params and not param.secondary_opts:
                no = [f"--no-{opt[2:]}" for opt in param.opts if opt.startswith("--")]
                parser.add_option(obj=param, opts=no, dest=param.name, action="store_const", const=False)
        return parser

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """The values of a call; options of a file are taken where the command line has none."""
        if any(arg.lower().endswith(PLAN_FILES) for arg in args) and not ctx.resilient_parsing:
            words = [_Word(arg) for arg in args]
            files = [
                word
                for word in self._positional(ctx, words)
                if word.lower().endswith(PLAN_FILES) and not Path(word).is_dir()
            ]
            if files:
                from junkdna_harness.commands.options_file import options_of

                ctx.default_map = {**(ctx.default_map or {}), **options_of(self, files)}
                args = [str(word) for word in words if not any(word is file for file in files)]
        with self._arguments_told():
            return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """What may follow, also where an option was begun as lm_eval spells it."""
        return super().shell_complete(ctx, kebab(incomplete) if incomplete.startswith("--") else incomplete)

    @contextmanager
    def _arguments_told(self) -> Iterator[None]:
        """Say of `--pretrained DIR` that the folder alone is to be given."""
        try:
            yield
        except Exception as error:
            given = str(getattr(error, "option_name", "")).removeprefix("--").replace("-", "_")
            if hasattr(error, "possibilities") and any(
                param.name == given and param.param_type_name == "argument" for param in self.params
            ):
                error.possibilities = []
                error.message = f"No such option: --{kebab(given)}. Give its value alone: {given.upper()} is an argument of junkdna {self.name}."  # type: ignore[attr-defined]
            raise

    def _positional(self, ctx: Any, words: Sequence[_Word]) -> list[_Word]:
        """The words that are no option and no option's value."""
        values, rest, _ = self.make_parser(ctx).parse_args(list(words))
        found = list(rest)
        for param in self.get_params(ctx):
            if param.param_type_name == "argument":
                value = values.get(param.name)
                found += value if isinstance(value, tuple) else [value]
        return [word for word in words if any(word is one for one in found)]


class _Word(str):
    """A word of the command line, which the parser hands on as it is, so that two equal ones can be told apart."""

    __slots__ = ()


class Verbs(TyperGroup):
    """The verbs. `junkdna help VERB` is `junkdna VERB --help`; what is said of a mistake shows no character that acts on a terminal."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        """As typer makes it, with the verbs in the order of their pages."""
        super().__init__(*args, **settings)
        self.commands = {name: self.commands[name] for name in PAGES if name in self.commands}

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Which verb, and its arguments."""
        if args[:1] == ["help"] and "help" not in self.commands:
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """The context of a call."""
        with _mistakes_shown():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        with _mistakes_shown():
            return super().invoke(ctx)


@contextmanager
def _mistakes_shown() -> Iterator[None]:
    """What typer says of a wrong option quotes what was given, which may be the name of a file that another made."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and isinstance(getattr(error, "message", None), str):
            error.message = visible(error.message)  # type: ignore[attr-defined]
        raise


class WithSubcommands(Group):
    """A verb that takes arguments of its own, and has sub-commands: `sweep PLAN.yaml`, and `sweep export DIR OUT`.

    The first word alone says which; a file of that name is reached as `./export`.
    """

    allow_interspersed_args = True

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """The values of the verb, or which sub-command and its arguments."""
        if args[:1] and args[0] in self.commands:
            ctx.invoked_subcommand, ctx.args = args[0], list(args)
            return ctx.args
        return TyperCommand.parse_args(self, ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb, or its sub-command alone."""
        if ctx.invoked_subcommand is None:
            return TyperCommand.invoke(self, ctx)
        with ctx:
            name, command, args = self.resolve_command(ctx, ctx.args)
            assert command is not None
            with command.make_context(name, args, parent=ctx) as inner:
                return command.invoke(inner)

    def get_params(self, ctx: Any) -> Any:
        """The parameters; arguments of the verb itself are none of a sub-command, whose usage would show them."""
        found = super().get_params(ctx)
        of_subcommand = ctx.parent is not None and ctx.parent.command is self
        return [param for param in found if param.param_type_name != "argument" or not of_subcommand]

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """As of a verb without sub-commands; these stand in a list below."""
        return [piece.removesuffix("...") for piece in TyperCommand.collect_usage_pieces(self, ctx)]
