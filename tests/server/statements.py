"""Statements that make much of little, each in another way."""
# ruff: noqa: S608 - statements are what is made here

from __future__ import annotations

_MANY = "unnest(string_to_array(repeat('abcdefgh,', 30000), ',')) a(a)"
_DOUBLING = [f"q{own} as (select a.x from q{own - 1} a, q{own - 1} b)" for own in range(1, 31)]
_CONSTANTS = [f"length(lpad('a', {4_000_000 - own}))" for own in range(400)]
_LIST = ", ".join(["'x'"] * 20_000)
_ITEMS = [f"unnest(string_to_array(repeat('a,', 10000), ',')) t{own}" for own in range(4)]

STATEMENTS = {
    "doubling": f"with q0 as (select 1 as x), {', '.join(_DOUBLING)} select count(*) from q30",
    "constants": f"select {', '.join(_CONSTANTS)}",
    "cross joins": f"select count(*) from {', '.join(_ITEMS)}",
    "wide rows": f"select repeat(a.a, 1000) as w from {_MANY} order by w, 1",
    "aggregates": f"select string_agg(repeat(a.a, 1000), ','), array_agg(repeat(a.a, 999)), "
    f"count(distinct repeat(a.a, 998)) from {_MANY}",
    "a long list": f"select name from streams where name in ({_LIST})",
    "regular expressions": "select count(*) from unnest(string_to_array(repeat("
    "repeat('a', 60000) || ',', 50), ',')) a(a) where a.a ~ '([ab]?){300}c'",
    "nesting": f"select {'(' * 39}1{')' * 39} + {'- ' * 1_500}1",
    "recursion": "with recursive n(i) as (select 1 union all select i + 1 from n) "
    "select count(*) from n",
}
