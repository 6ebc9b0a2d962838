"""Writes chat_template/cases.json: chat templates rendered by Jinja as Hugging Face transformers sets it up.

    python make_chat_template.py        (needs jinja2 3.1)

The templates chat_template/*.jinja follow those of the model families; the snippets below are for single constructs.
"""

import json
import pathlib

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent / "chat_template"

USER = {"role": "user", "content": " Hello, wörld! \n"}
ASSISTANT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHi there."}
SYSTEM = {"role": "system", "content": "Be brief.  "}
SECOND = {"role": "user", "content": "What is 2 + 2?\n{% raw %} {{ x }} 'quoted' \"too\" 😀"}
TOOL = {"role": "tool", "content": "4"}

CONVERSATIONS = {
    "user": [USER],
    "system_user": [SYSTEM, USER],
    "two_turns": [USER, ASSISTANT, SECOND],
    "system_two_turns": [SYSTEM, USER, ASSISTANT, SECOND],
    "ends_with_assistant": [USER, ASSISTANT],
    "two_users": [USER, SECOND],
    "assistant_first": [ASSISTANT, USER],
    "system_only": [SYSTEM],
    "tool": [USER, ASSISTANT, TOOL, TOOL, SECOND],
    "empty_content": [{"role": "user", "content": ""}],
    "none": [],
}

EXPRESSIONS = r"""
1 + 2 * 3 - 4 // 3 | 7 / 2 | -7 // 2 | -7 % 3 | 7 % -3 | 2.5 * 2 | 1 / 3 | -(3) | +4 | 1.0 | 10 // 4 * 2.0 | 7.5 // 2 | -7.5 % 2
1 + 1 == 2 and not false | true or undefined_thing | none or 'x' | '' and 'y' | 1 < 2 < 3 | 1 < 3 < 2 | 'a' < 'b' | 2 >= 2.0 | 1 == true | 'a' != 'b'
'a' ~ 1 ~ none ~ true ~ 1.5 | 'a' + 'b' * 3 | 'x' in 'xyz' | 'q' not in 'xyz' | 'role' in messages[0] | 3 in [1, 2, 3] | 'a' in ['b'] | 'a' in undefined_thing
messages[0].content | messages[0]['role'] | messages[-1].role | messages[99] | messages[0].nothing | messages[1:]|length | messages[::-1][0].role | messages[:1][0].role
'hello'[1] | 'hello'[-1] | 'hello'[1:3] | 'hello'[::-1] | 'hello'[::2] | 'wörld😀'[1:] | 'wörld😀'|length | 'hello'[10:] | [1, 2, 3][-2:] | [1,2,3,4,5][4:0:-2] | 'abc'[-100:2]
' x '|trim ~ '.' | 'xxaxx'|trim('x') | 'Ab'|upper | 'Ab'|lower | 'hello WORLD foo'|title | 'hELLO'|capitalize | 'äöü é'|upper | [1,2]|length | 'abc'|count
undefined_thing|default('d') | ''|default('d') | ''|default('d', true) | ''|d('e', boolean=true) | none|default('n') | 0|default(5) | undefined_thing|d
['a', 'b']|join(', ') | [1, 2, none]|join('-') | 'abc'|join('.') | messages|join('|', attribute='role') | ['a','b']|first | ['a','b']|last | []|first | 'abc'|first | 'xyz'|last
{'a': 1, 'b': [true, none, 1.5, "q\"\n é 😀"]}|tojson | {'a': 1, 'b': []}|tojson(indent=2) | 'x</y>'|tojson | [1, {'k': {}}]|tojson(indent=4) | messages|tojson | "\u00e9\t\x01"|tojson
[1, 2, 3]|reverse|list | 'abc'|reverse | ['a', 'b']|list | 'ab'|list | {'a': 1}|list | {'a': 1, 'b': 2}|items|list | 'aXbX'|replace('X', 'yy') | 'aaa'|replace('a', 'b', 2)
'42'|int + 1 | 'x'|int | '3.7'|int(9) | 3.9|int | -3.9|int | true|int | -5|abs | 1.5|string ~ 'x' | [1, 'a', none]|string | 'x'|safe
messages|map(attribute='role')|list | ['a', 'B']|map('upper')|join | messages|selectattr('role', 'equalto', 'user')|list|length | messages|rejectattr('role', 'equalto', 'user')|map(attribute='role')|join(',') | messages|selectattr('role')|list|length
[1, 2, 3, 4]|select('odd')|list | [1, 2, 3]|reject('equalto', 2)|list | ['a', '', 'b']|select|list | 'a\nb\n\nc'|indent | 'a\nb'|indent(2, true) | 'a\n\nb'|indent(width=1, blank=true)
1 is defined | x is defined | x is undefined | none is none | 'a' is string | 1 is string | 1 is number | 1.5 is float | 1 is integer | true is boolean | true is integer | messages is mapping | messages[0] is mapping | messages is iterable | 'a' is iterable | messages is sequence | 1 is iterable
x is not defined | 1 is not none | 1 is odd | 2 is even | 1 is eq 1 | 1 is equalto 2 | 'a' is in ['a', 'b'] | true is true | 1 is true | false is false | 'a' is sameas 'b' | not x is defined | range is defined | raise_exception is defined
' a b '.strip() ~ '.' | ' a '.lstrip() ~ '.' | ' a '.rstrip() ~ '.' | 'xxaxx'.strip('x') | 'a,b,c'.split(',') | ' a  b c '.split() | 'a,b,c'.split(',', 1) | 'a,b,c'.rsplit(',', 1) | ''.split(',') | ''.split() | ' a b  c '.split(none, 1)
'abc'.startswith('ab') | 'abc'.endswith('bc') | 'abc'.startswith(('x', 'a')) | 'abc'.upper() | 'ABC'.lower() | 'a b'.title() | 'aBC d'.capitalize() | 'aXb'.replace('X', '-') | '-'.join(['a', 'b']) | 'añb'.find('b') | 'aaa'.count('a') | '12'.isdigit() | 'a\nb\r\nc'.splitlines() | 'abc'.replace('', '-')
{'a': 1}.items()|list | {'a': 1}.keys()|list | {'a': 1}.values()|list | {'a': 1}.get('a') | {'a': 1}.get('b') | {'a': 1}.get('b', 2) | {'a': 1}['a'] | {'a': 1}.a | {'a': 1, 'a': 2} | dict(a=1, b='x')
range(3)|list | range(1, 7, 2)|list | range(5, 0, -2)|list | range(0)|list | [1] + [2, 3] | (1, 2)|list | [] | {} | [[1, 'a'], {'b': none}] | 'it\'s' | "tab\there" | 'back\\slash' | ['it\'s "q"'] | 'a' 'b'
'yes' if true else 'no' | 'yes' if false | 'a' if false else 'b' if true else 'c' | (1 if x is defined else 2) + 1 | [1, 2, 3,]|length | namespace(a=1).a | (1, 2, 3)[1] | 'a'if 1 else'b' | not not 1 | 3 - -2 | 2 - 1 - 1 | 'a' ~ 'b' + 'c' | -2|abs | 1 + 2 ~ 3
messages[5].role | none + 1 | 'a' + 1 | (1, 2) | (1,) | (1, 2) == [1, 2] | x.y | 1 / 0 | 'a'|int + 'b' | 'a'.nothing() | x() | raise_exception('no good') | 5[0] | none.x | [1,2][0:none] | 'a' * -1 | messages[0].role[0]
"""

STATEMENTS = [
    "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a\n  {% if true %}  \n  b\n  {% endif %}\nc",
    "a  {%- if true -%}  b  {%- endif -%}  c",
    "a {{- 1 -}} b {{ 2 }}\n{{ 3 }}\n\nend\n\n",
    "  {%+ if true %} x{% endif +%}\n y",
    "x\n{# a comment #}\ny {#- another -#} z\n  {# third #}\nw",
    "a\r\n{% if true %}\r\nb{% endif %}\r\n",
    "\t{% set x = 1 %}\n{{ x }}\n \u00a0 {% set x = 2 %}\n{{ x }}",
    "{% for i in range(5) %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for i in [] %}x{% else %}empty{% endfor %}",
    "{% for i in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for i in [1, 2, 3] %}{{ loop.previtem }}<{{ i }}<{{ loop.nextitem }} {% endfor %}",
    "{% for i in [1, 2, 3, 4] if i % 2 == 0 %}{{ loop.index }}:{{ i }} {% endfor %}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in [[1, 2], [3, 4]] %}{{ k + v }} {% endfor %}",
    "{% for c in 'hé' %}[{{ c }}]{% endfor %}{% for k in {'x': 1} %}{{ k }}{% endfor %}",
    "{% for i in [1, 2, 3, 4] %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [3, 4] %}{{ i }}{{ j }}{{ loop.index }} {% endfor %}{{ loop.index }};{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}",
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set ns = namespace(n=0, s='') %}{% for i in [1, 2, 3] %}{% set ns.n = ns.n + i %}{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.n }}{{ ns.s }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = (3, 4) %}{{ c[0] }}",
    "{% set text %}  hello {{ 1 + 1 }}\n{% endset %}[{{ text }}]",
    "{% macro m(a, b='z', c=none) %}<{{ a }}{{ b }}{{ c }}>{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m('q', c=3) }}{{ m() }}",
    "{% set g = 'global' %}{% macro m() %}{{ g }}{% endmacro %}{% for i in [1] %}{% set g = 'local' %}{{ m() }}{% endfor %}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% if 0 %}a{% elif '' %}b{% elif [1] %}c{% else %}d{% endif %}",
    "{% if x %}a{% else %}b{% endif %}{{ x }}|{{ messages[7] }}|{{ none }}|{{ true }}|{{ 1.0 }}|{{ [1, 'a'] }}|{{ {'k': none} }}",
    "{% for message in messages %}{{ message.role|upper }}: {{ message['content']|trim }}{{ '\\n' if not loop.last }}{% endfor %}",
    "{% for message in messages|selectattr('role', 'ne', 'system') %}{{ loop.index }}{{ message.role }}{% endfor %}",
    "{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ tools }}{{ tools is none }}{{ documents is defined }}",
    "{{ '{{' }}{{ '%}' }}{ % } {{'a'}}}",
    "{% generation %}x{% endgeneration %}{% set ns = namespace() %}{% set ns.found = false %}{{ ns.found }}",
    "{% for i in 5 %}{% endfor %}",
    "{% if messages[0].role not in ['user', 'system'] %}{{ raise_exception('bad role ' ~ messages[0].role) }}{% endif %}ok",
    "{% set x = messages[0] %}{% set x.role = 'changed' %}{{ x.role }}",
    "{% set messages = messages[1:] %}{% for m in messages %}{{ m.role }}{% endfor %}",
    "{% for i in range(3) -%}\n  {{ i }}\n{%- endfor %}\n",
    "{%- for m in messages -%}\n{{ m.role }}\n{%- if not loop.last %} | {% endif -%}\n{%- endfor -%}\n tail ",
]


class Generation(jinja2.ext.Extension):
    """The block that transformers adds; its content is printed as it is."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_pass"), [], [], body).set_lineno(line)

    def _pass(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    return made


def render(source, messages, prompt):
    """What the template prints, or None where it raises an error."""
    try:
        template = environment().from_string(source)
        return template.render(
            messages=messages, tools=None, documents=None, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>"
        )
    except Exception:
        return None


def model_cases():
    for path in sorted(HERE.glob("*.jinja")):
        source = path.read_text().removesuffix("\n")
        for name, messages in CONVERSATIONS.items():
            for prompt in (True, False):
                yield f"{path.stem}/{name}", source, messages, prompt


def snippet_cases():
    messages = CONVERSATIONS["system_two_turns"]
    for line in EXPRESSIONS.strip().split("\n"):
        for expression in line.split(" | "):
            yield expression, "{{ " + expression + " }}", messages, True
    for source in STATEMENTS:
        yield source, source, messages, True


def main():
    cases = []
    for name, source, messages, prompt in [*model_cases(), *snippet_cases()]:
        cases.append({"name": name, "template": source, "messages": messages, "add_generation_prompt": prompt,
                      "expected": render(source, messages, prompt)})  # fmt: skip
    templates = sorted({case["template"] for case in cases})
    conversations = []
    for case in cases:
        if case["messages"] not in conversations:
            conversations.append(case["messages"])
        case["messages"] = conversations.index(case["messages"])
        case["template"] = templates.index(case["template"])
    out = {"templates": templates, "conversations": conversations, "cases": cases}
    (HERE / "cases.json").write_text(json.dumps(out, ensure_ascii=False, indent=0) + "\n")
    print(len(cases), "cases,", sum(case["expected"] is None for case in cases), "of them errors")


if __name__ == "__main__":
    main()
