"""What bash, zsh and fish read to complete our commands, generated from the command line.

Everything is in the text: completing starts no Python, so that it is there at once, whether the daemon runs or not.
Names of namespaces are those of the folder where they usually are.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from string import Template
from typing import get_args

from anetcon.config.model import DEFAULT_NETNS, AuditSettings, Engine
from anetcon.record import CLASSES
from tools.described import Command, Parameter

FILE, FOLDER, NETNS = "file", "folder", "netns"
KINDS = {"FILE": FILE, "DIR": FOLDER, "NETNS": NETNS}
"""What a value is, by the word that stands for it, without the brackets and dots around it."""
WORDS: dict[str, tuple[str, ...]] = {
    "--class": tuple(CLASSES),
    "--proto": ("tcp", "udp", "icmp", "icmpv6", "sctp", "dccp", "gre", "udplite"),
    "--engine": get_args(Engine),
}
"""What may be put for an option that takes a text."""
NETNS_OPTIONS = ("--netns", "--namespace")
NETNS_DIR = AuditSettings().netns_dir


BASH = Template("""\
# Completion of anetcon for bash. Written by `anetcon install` from the commands themselves.
_anetcon() {
    local cur=$${COMP_WORDS[COMP_CWORD]} prev=$${COMP_WORDS[COMP_CWORD - 1]} command= word words i
    if [[ $$cur == "=" ]]; then
        cur=
    elif [[ $$prev == "=" ]]; then
        prev=$${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="$$command $${COMP_WORDS[i]}"
        case $$word in
            $known) command=$${word# } ;;
        esac
    done
    COMPREPLY=()
    case "$$command $$prev" in
$cases
    esac
    case $$command in
$words
    esac
    if [[ $$cur == -* || -z $$command ]]; then
        _anetcon_words "$$words"
        return
    fi
    case $$command in
$rest
        *) _anetcon_words "$$words" ;;
    esac
}
_anetcon_words() {
    local IFS=$$' \\t\\n'
    mapfile -t COMPREPLY < <(compgen -W "$$1" -- "$$cur")
}
_anetcon_folders() {
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -d -- "$$cur")
}
_anetcon_netns() {
    _anetcon_words "$default $$(command ls $folder 2>/dev/null)"
}
complete -o default -F _anetcon anetcon
""")


def scripts(program: Command) -> dict[str, str]:
    """The text for each shell."""
    return {shell: made(program) for shell, made in GENERATORS.items()}


def leaves(command: Command) -> Iterator[Command]:
    """Every command, groups too, but not the program itself."""
    for each in command.commands:
        yield each
        yield from leaves(each)


def values(parameter: Parameter) -> tuple[str, tuple[str, ...]]:
    """What completes a value: a kind, or words."""
    for name in parameter.names:
        if name in NETNS_OPTIONS:
            return NETNS, ()
        if name in WORDS:
            return "", WORDS[name]
    return KINDS.get(parameter.value.strip("[]."), ""), parameter.choices


def short(command: Command) -> str:
    """Its name without the program's."""
    return command.name.partition(" ")[2]


def flags(command: Command) -> list[str]:
    """Every option as it is typed; all have --help."""
    return [name for option in command.options for name in option.names] + ["--help"]


def bash(program: Command) -> str:
    """A function for `complete -F`; files are what readline itself completes where the function finds nothing."""
    every = [program, *leaves(program)]
    known = " | ".join(f'" {short(each)}"' if " " not in short(each) else f'"{short(each)}"' for each in every[1:])
    words = "\n".join(f'        "{short(each)}") words="{" ".join(_next(each))}" ;;' for each in every)
    valued: dict[str, list[str]] = {}
    for each in every:
        for option in each.options:
            if option.value:
                patterns = [f'"{short(each)} {name}"' for name in option.names]
                valued.setdefault(_bash_values(*values(option)), []).extend(patterns)
    cases = "\n".join(f"        {' | '.join(patterns)}) {action}; return ;;" for action, patterns in valued.items())
    arguments: dict[str, list[str]] = {}
    for each in every:
        for argument in each.arguments:
            arguments.setdefault(_bash_values(*values(argument)), []).append(f'"{short(each)}"')
    rest = "\n".join(f"        {' | '.join(names)}) {action} ;;" for action, names in arguments.items())
    made = {"known": known, "cases": cases, "words": words, "rest": rest, "default": DEFAULT_NETNS, "folder": NETNS_DIR}
    return BASH.substitute(made)


def _next(command: Command) -> list[str]:
    return [*(each.name.rpartition(" ")[2] for each in command.commands), *flags(command)]


def _bash_values(kind: str, words: tuple[str, ...]) -> str:
    if words:
        return f'_anetcon_words "{" ".join(words)}"'
    return {FOLDER: "_anetcon_folders", NETNS: "_anetcon_netns"}.get(kind, ":")


def zsh(program: Command) -> str:
    """A function that zsh loads by its name."""
    every = [program, *leaves(program)]
    functions = "\n".join(_zsh_function(each) for each in every)
    return f"""\
#compdef anetcon
# Completion of anetcon for zsh. Written by `anetcon install` from the commands themselves.
_anetcon_netns() {{
    local -a names=({DEFAULT_NETNS} {NETNS_DIR}/*(N:t))
    compadd -a names
}}
{functions}
if [[ $funcstack[1] == _anetcon ]]; then _anetcon_main "$@"; else compdef _anetcon_main anetcon; fi
"""


def _zsh_function(command: Command) -> str:
    name = "_anetcon_main" + "".join(f"_{part}" for part in short(command).split())
    specs = [_zsh_option(option, each) for option in command.options for each in option.names]
    specs.append("'(- *)'--help'[show what there is]'")
    if not command.commands:
        specs += [
            f"'*:{_zsh_text(each.value.strip('[].'))}:{_zsh_values(*values(each))}'" for each in command.arguments
        ]
        return f"{name}() {{\n    _arguments -s {_zsh_lines(specs)}\n}}"
    described = "\n".join(
        f"        {shlex.quote(each.name.rpartition(' ')[2] + ':' + each.first_line)}" for each in command.commands
    )
    calls = "\n".join(
        f"        {each.name.rpartition(' ')[2]}) {name}_{each.name.rpartition(' ')[2]} ;;" for each in command.commands
    )
    specs += ["'1: :->command'", "'*:: :->rest'"]
    return f"""\
{name}() {{
    local state line
    local -a commands=(
{described}
    )
    _arguments -C {_zsh_lines(specs)}
    case $state in
        command) _describe command commands ;;
        rest) case $line[1] in
{calls}
        esac ;;
    esac
}}"""


def _zsh_lines(specs: list[str]) -> str:
    return " \\\n        ".join(["", *specs]).lstrip()


def _zsh_option(option: Parameter, name: str) -> str:
    about = _zsh_text(option.help)
    equals = "=" if option.value and name.startswith("--") else ""
    value = f":{option.value.replace('|', ' ').lower()}:{_zsh_values(*values(option))}" if option.value else ""
    return f"'*{name}{equals}[{about}]{value}'"


def _zsh_text(text: str) -> str:
    """Text that means nothing to _arguments."""
    return text.replace("'", "").replace("[", "(").replace("]", ")").replace(":", "\\:")


def _zsh_values(kind: str, words: tuple[str, ...]) -> str:
    if words:
        return f"({' '.join(words)})"
    return {FILE: "_files", FOLDER: "_files -/", NETNS: "_anetcon_netns"}.get(kind, "")


def fish(program: Command) -> str:
    """A line for each command and option."""
    lines = [
        "# Completion of anetcon for fish. Written by `anetcon install` from the commands themselves.",
        "complete -c anetcon -f",
    ]
    for each in [program, *leaves(program)]:
        condition = _fish_condition(each)
        for inner in each.commands:
            about = shlex.quote(inner.first_line)
            lines.append(f"complete -c anetcon -n {condition} -a {inner.name.rpartition(' ')[2]} -d {about}")
        lines += [_fish_option(condition, option) for option in each.options]
        for argument in each.arguments:
            if given := _fish_values(*values(argument)):
                lines.append(f"complete -c anetcon -n {condition} {given}")
    return "\n".join([*lines, ""])


def _fish_condition(command: Command) -> str:
    name = short(command)
    if not name:
        return "__fish_use_subcommand"
    seen = "; and ".join(f"__fish_seen_subcommand_from {part}" for part in name.split())
    inner = " ".join(each.name.rpartition(" ")[2] for each in command.commands)
    return shlex.quote(f"{seen}; and not __fish_seen_subcommand_from {inner}" if inner else seen)


def _fish_option(condition: str, option: Parameter) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = f" -x {_fish_values(*values(option))}".rstrip() if option.value else ""
    if option.value and values(option)[0] == FILE:
        value = " -r -F"
    return f"complete -c anetcon -n {condition} {names}{value} -d {shlex.quote(option.help)}"


def _fish_values(kind: str, words: tuple[str, ...]) -> str:
    if words:
        return f"-a {shlex.quote(' '.join(words))}"
    return {
        FILE: "-F",
        FOLDER: "-a '(__fish_complete_directories)'",
        NETNS: f"-a '{DEFAULT_NETNS} (command ls {NETNS_DIR} 2>/dev/null)'",
    }.get(kind, "")


GENERATORS: dict[str, Callable[[Command], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
