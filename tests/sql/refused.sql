-- Statements that must be refused, with a part of the message that says why.

-- name: delete
-- refused: only SELECT is answered, not DELETE
delete from streams

-- name: insert
-- refused: only SELECT is answered, not INSERT
insert into streams (name) values ('x')

-- name: drop
-- refused: only SELECT is answered, not DROP
drop table streams

-- name: set
-- refused: only SELECT is answered, not SET
set search_path = x

-- name: two_statements
-- refused: more than one statement
select 1; select 2

-- name: empty
-- refused: the statement is empty
;

-- name: syntax_error
-- refused: syntax error: expected
select name from streams where

-- name: unknown_table
-- refused: table `sqlite_master` does not exist
select * from sqlite_master

-- name: inner_table
-- refused: table `annotations` does not exist
select * from annotations

-- name: other_schema
-- refused: only the schema `public` exists, at line 1, column 15
-- postgresql: allows
select * from pg_catalog.pg_class

-- name: unknown_column
-- refused: column `nope` does not exist, at line 2, column 3
select
  nope from streams

-- name: rowid_is_no_column
-- refused: column `rowid` does not exist
select rowid from streams

-- name: ambiguous_column
-- refused: column reference `name` is ambiguous
select name from streams s join units u on s.unit = u.name

-- name: unknown_function
-- refused: function `load_extension` is not supported
select load_extension('x')

-- name: own_function
-- refused: function `pg_upper_text` is not supported
select pg_upper_text('x')

-- name: hidden_function
-- refused: is not supported
select ".item"(array['a'], 1)

-- name: sleeping
-- refused: function `pg_sleep` is not supported
-- postgresql: allows
select pg_sleep(10)

-- name: random
-- refused: function `random` is not supported
-- postgresql: allows
select random()

-- name: wrong_argument_types
-- refused: function `split_part(character varying, unknown)` does not exist
select split_part(name, '/') from streams

-- name: unknown_operator
-- refused: operator `uuid -> unknown` does not exist
select uuid -> 'x' from streams

-- name: types_do_not_match
-- refused: types uuid and character varying do not match
select * from streams where uuid = name

-- name: text_is_no_number
-- refused: types character varying and integer do not match
select * from streams where name = 1

-- name: bad_uuid
-- refused: invalid input syntax for type uuid: `x`
select * from streams where uuid = 'x'

-- name: bad_parameter
-- $1: not-a-number
-- refused: parameter `$1`: invalid input syntax for type bigint: `not-a-number`
select * from streams where property_version = $1

-- name: bad_array
-- $1: {x}
-- refused: parameter `$1`: invalid input syntax for type uuid: `x`
select * from streams where uuid = any($1::uuid[])

-- name: bad_value_in_a_row
-- refused: invalid input syntax for type integer: `New York`
select (annotations->'location')::int from streams where annotations ? 'location'

-- name: division_by_zero
-- refused: division by zero
select 1 / (property_version - property_version) from streams

-- name: integer_overflow
-- refused: integer out of range
select 2147483647 + 1

-- name: bigint_overflow
-- refused: bigint out of range
select 9223372036854775807 + property_version from streams

-- name: too_few_parameters
-- $1: a
-- refused: there is no parameter `$2`
select * from streams where name = $1 and unit = $2

-- name: too_many_parameters
-- $1: a
-- $2: b
-- refused: parameter `$2`: the statement does not use it
select * from streams where name = $1

-- name: parameter_of_two_types
-- $1: 1
-- refused: types bigint and text do not match
select * from streams where name = $1 and property_version = $1

-- name: not_grouped
-- refused: column `name` must appear in the GROUP BY clause
select name, count(*) from streams

-- name: not_grouped_in_order
-- refused: column `name` must appear in the GROUP BY clause
select unit from streams group by unit order by name

-- name: aggregate_in_where
-- refused: aggregates are not allowed in WHERE
select name from streams where count(*) > 1

-- name: window_in_where
-- refused: window functions are not allowed in WHERE
select name from streams where row_number() over () = 1

-- name: nested_aggregates
-- refused: aggregates cannot be nested
select max(count(*)) from streams

-- name: subquery_of_two_rows
-- refused: more than one row returned by a subquery
select (select name from streams)

-- name: subquery_of_two_columns
-- refused: the subquery must give one column
select (select name, unit from streams limit 1)

-- name: union_of_different_types
-- refused: types character varying and bigint do not match
select name from streams union select property_version from streams

-- name: union_of_different_widths
-- refused: same number of columns
select 1 union select 1, 2

-- name: condition_is_no_boolean
-- refused: there is no cast from bigint to boolean
select name from streams where property_version

-- name: negative_limit
-- refused: LIMIT must not be negative
-- $1: -1
select name from streams limit $1

-- name: distinct_order
-- refused: must be in the select list
select distinct name from streams order by unit

-- name: backreference
-- refused: is not supported in regular expression
-- postgresql: allows
select name from streams where name ~ '(.)\1'

-- name: bad_like_pattern
-- refused: LIKE pattern must not end with escape character
select name from streams where name like 'a\'

-- name: unknown_type
-- refused: type `money` is not supported
-- postgresql: allows
select 1::money

-- name: unknown_collation
-- refused: collation `"de_DE"` is not supported
select name from streams order by name collate "de_DE"

-- name: unknown_field
-- refused: unit `fortnight` is not supported
select extract(fortnight from created_at) from streams

-- name: hour_of_a_date
-- refused: unit `hour` is not supported for type date
select extract(hour from created_at::date) from streams

-- name: chained_comparison
-- refused: a chain of comparisons needs parentheses
select 1 < 2 < 3

-- name: position_out_of_the_list
-- refused: position 3 is not in the select list
select name, unit from streams order by 3

-- name: duplicate_alias
-- refused: table name `s` specified more than once
select 1 from streams s, units s

-- name: locking
-- refused: locking of rows is not supported
-- postgresql: allows
select name from streams for update

-- name: time_zone_names
-- refused: time zone `America/New_York` is not supported
-- postgresql: allows
select created_at at time zone 'America/New_York' from streams

-- name: recursion
-- refused: WITH RECURSIVE is not supported
-- postgresql: allows
with recursive t(n) as (select 1 union all select n + 1 from t where n < 3) select * from t

-- name: grouping_sets
-- refused: GROUPING SETS, CUBE or ROLLUP is not supported
-- postgresql: allows
select unit, count(*) from streams group by rollup (unit)

-- name: alternatives_in_extraction
-- refused: is not supported for taking texts apart
-- postgresql: allows
select substring(name from 'a|ab') from streams

-- name: statistics_that_are_not_here
-- refused: function `stddev` is not supported
-- postgresql: allows
select stddev(property_version) from streams

-- name: intersect_all
-- refused: INTERSECT ALL is not supported
-- postgresql: allows
select 1 intersect all select 1

-- name: lateral_subquery
-- refused: LATERAL before a subquery is not supported
-- postgresql: allows
select s.name from streams s, lateral (select s.unit) q

-- name: row_value
-- refused: is not supported
-- postgresql: allows
select row(1, 2)

-- name: right_join_beside_a_comma
-- refused: RIGHT or FULL JOIN beside a comma in FROM is not supported
-- postgresql: allows
select s.name from devices d, streams s right join units u on u.name = s.unit

-- name: all_of_a_subquery
-- refused: ANY or ALL of a subquery, other than = ANY and <> ALL, is not supported
-- postgresql: allows
select name from streams where property_version >= all (select property_version from streams)

-- name: root_of_a_numeric
-- refused: `sqrt` of numeric is not supported: cast to double precision
-- postgresql: allows
select sqrt(2.0)

-- name: operator_between_constants
-- refused: operator `unknown - unknown` does not exist
select '' - '2024-01-01'
