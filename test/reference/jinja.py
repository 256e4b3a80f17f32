"""What Python's Jinja makes of templates, in the environment in which transformers renders chat templates.

Reads a JSON list of {"template", "context"} from stdin, writes a list of {"text"} or {"error", "message"}.
"""
import json
import signal
import sys
from datetime import datetime

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


class Namespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        values = dict(*args[1:], **kwargs)
        for name in values:
            Namespace.check(name)
        jinja2.utils.Namespace.__init__(args[0], values)

    def __setitem__(self, name, value):
        Namespace.check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace has no attribute {name!r}")


class Late(BaseException):
    """No Exception: Jinja takes those of a constant for one that is to be computed later, which has no alarm."""


def late(*_):
    raise Late()


def refuse(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    now = datetime(2026, 11, 28, 9, 5, 7)
    env.globals.update(raise_exception=refuse, strftime_now=lambda format: now.strftime(format), namespace=Namespace)
    return env


def render(env, template, context):
    signal.alarm(5)
    try:
        return {"text": env.from_string(template).render(**context)}
    except Late:
        return {"error": "Late", "message": ""}
    except Exception as e:
        return {"error": type(e).__name__, "message": str(e)[:200]}
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, late)
    env = environment()
    json.dump([render(env, c["template"], c["context"]) for c in json.load(sys.stdin)], sys.stdout)
