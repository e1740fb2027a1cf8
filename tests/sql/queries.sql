-- Statements that must give the same rows, the same column names and the same JSON on this
-- project's server as on PostgreSQL 15 with hstore. `-- $1: text` lines are the parameters.

-- name: count_of_a_column
select count(uuid) from streams

-- name: names_of_a_collection
-- $1: USEAST_PMU1
select name from streams where collection = $1::text order by name

-- name: has_an_annotation
-- $1: phase
select name, annotations->$1::text as phase from streams where annotations->$1::text is not null order by name

-- name: whole_rows
-- $1: VPHM
-- $2: vphm
select * from streams where name = $1 or name = $2 order by uuid

-- name: distinct_annotation_keys
-- $1: %
select distinct(skeys(annotations)) as annotations from streams where collection like $1 order by annotations

-- name: distinct_units
-- $1: USEAST%
select distinct(unit) as unit from streams where collection like $1 order by 1

-- name: similar_to_and_annotations
-- $1: %agave%|%USEAST%
-- $2: phase
-- $3: A
-- $4: B
select collection, name from streams where collection similar to $1 and annotations->$2 in ($3, $4) order by name

-- name: uuid_in_a_list
-- $1: 0f1e2d3c-0000-4000-8000-000000000001
-- $2: A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A05
select uuid, annotations from streams where uuid in ($1, $2) order by uuid

-- name: uuid_in_constants
select name from streams where uuid in ('0f1e2d3c-0000-4000-8000-000000000001', '{a0eebc999c0b4ef8bb6d6bb9bd380a05}') order by name

-- name: like_and_equals
-- $1: %PMU%
select name, unit from streams where collection like $1 and unit = 'volts' order by name

-- name: annotations_contain
select name from streams where annotations @> 'phase=>A' order by name

-- name: annotation_exists_ilike_limit
select name from streams where annotations ? 'phase' and name ilike '%PH%' order by name limit 2 offset 1

-- name: group_by_and_count
select collection, count(*) from streams group by collection order by count(*) desc, collection

-- name: annotation_as_number
select name, (annotations->'r')::int as r from streams where (annotations->'r')::int >= 60 order by 1

-- name: uuid_text_concatenation_regex
select uuid::text, collection || '/' || name as path from streams where name ~ '^[VI]PH' order by path

-- name: split_part_group_by_position
select split_part(collection, '/', 1), count(*) from streams group by 1 order by 1

-- name: uuid_any_array
-- $1: {0f1e2d3c-0000-4000-8000-000000000001,ffffffff-ffff-4fff-bfff-ffffffffff08}
select name from streams where uuid = any($1::uuid[]) order by name

-- name: timestamps_and_intervals
select name, created_at, last_written - interval '1 day' from streams where last_written > '2024-01-01'::timestamptz - interval '3 months' order by name

-- name: to_char_of_a_truncated_month
select to_char(date_trunc('month', created_at at time zone 'UTC'), 'YYYY-MM') as month, count(*) from streams group by 1 order by 1

-- name: cte_self_join
with v as (select collection, name, unit from streams where unit = 'volts'), n as (select collection, count(*) as n from streams group by collection) select v.name, n.n from v join n on v.collection = n.collection order by v.name

-- name: distinct_on
select distinct on (collection) collection, name from streams order by collection, name desc

-- name: each_key
select (each(annotations)).key, (each(annotations)).value from streams where name = 'IPHM'

-- name: array_agg_in_order
select collection, array_agg(name order by name) from streams group by collection order by collection

-- name: timestamp_constant_or_null
select name from streams where created_at < '2023-06-01'::timestamptz or created_at is null order by name

-- name: filter_and_having
select collection, count(*) filter (where unit = 'volts'), max(name) from streams group by collection having count(*) > 0 order by collection

-- name: akeys_and_exist
select akeys(annotations), exist(annotations, 'phase') from streams where collection = 'USEAST_PMU1' order by name

-- name: coalesce_of_an_annotation
select name, coalesce(annotations->'phase', 'none') from streams order by name

-- name: every_annotation_json
select uuid, annotations, hstore_to_json(annotations), annotations::text from streams order by uuid

-- name: hstore_any_and_all_keys
select name, annotations ?| array['r', 'bb'], annotations ?& array['r', 'phase'] from streams order by uuid

-- name: hstore_values
select name, avals(annotations), annotations -> array['phase', 'r', 'nope'] from streams order by uuid

-- name: hstore_defined
select name, exist(annotations, 'phase'), defined(annotations, 'phase'), annotations->'phase' is null from streams order by uuid

-- name: hstore_arithmetic
select annotations || 'zz=>1, phase=>X'::hstore, annotations - 'phase'::text, slice(annotations, array['r', 'phase']) from streams order by uuid

-- name: hstore_contained_and_equal
select 'phase=>A'::hstore <@ annotations, annotations = 'phase=>A, r=>30', annotations = annotations::text::hstore from streams order by uuid

-- name: hstore_built
select hstore('a b', 'c"d'), hstore(array['x', 'y'], array['1', null]), hstore('k', null)

-- name: hstore_group_and_distinct
select distinct annotations from streams where annotations = ''

-- name: svals_in_select
select svals(annotations) from streams where name = 'IPHM'

-- name: skeys_in_from
select s.name, k from streams s, skeys(s.annotations) as k where k like 'p%' order by s.name, k

-- name: each_in_from
select s.name, e.key, e.value from streams s cross join each(s.annotations) as e(key, value) order by s.uuid, e.key

-- name: each_lateral_left_join
select s.name, e.key from streams s left join lateral each(s.annotations) e on true order by s.uuid, e.key

-- name: group_by_skeys
select skeys(annotations), count(*) from streams group by 1 order by 2 desc, 1

-- name: unnest_arrays
select u, u + 1 from unnest('{3,1,2}'::int[]) as u order by u

-- name: unnest_with_ordinality
select t.x, t.n from unnest(array['b', 'a', null]) with ordinality as t(x, n)

-- name: unnest_in_select
select unnest(string_to_array(collection, '/')) as part, name from streams where collection like 'agave%' order by name, part

-- name: array_functions
select array_length(akeys(annotations), 1), cardinality(avals(annotations)), array_to_string(avals(annotations), '|', '-') from streams order by uuid

-- name: array_operators
select array['a', 'b'] @> array['a'], array['a', 'b'] && array['c'], array['a'] || array['b', null], (array['x', 'y'])[2], array[1, 2] = array[1, 2]

-- name: array_text_forms
select array['a b', 'c,d', '', 'null', null, 'q"q', 'b\s']::text, '{1, 2,NULL}'::int[], array[true, false], array[1.50, 2], array[]::text[]

-- name: any_operators
select name, name like any (array['V%', 'I%']), property_version > all ('{0,2}'), name <> all ('{VPHM,IPHM}') from streams order by uuid

-- name: any_with_nulls
select 'a' = any (array['b', null]), 'a' = any (array['a', null]), 'a' <> all (array['b', null]), 1 = any ('{}'), not 'a' = any (null::text[])

-- name: nulls_sort_last
select name, annotations->'phase' as phase from streams order by phase, name

-- name: nulls_sort_first_descending
select name, annotations->'phase' as phase from streams order by annotations->'phase' desc, name

-- name: nulls_first_and_last
select name from streams order by annotations->'phase' asc nulls first, annotations->'r' desc nulls last, name

-- name: texts_sort_as_bytes
select name from streams order by name collate "C"

-- name: order_by_expression_not_selected
select name from streams order by lower(collection), length(name) desc, uuid

-- name: integer_division
select 7 / 2, -7 / 2, 7 % 3, -7 % 3, 7 / 2.0, 7.0 / 2, 1 / 3.0, 2 * 3.5, 10 / 4::float8

-- name: numbers_in_text
select 1.50, 1e3, 0.1 + 0.2, 0.1::float8 + 0.2::float8, 1e20::float8, 1e-7::float8, 123456789012345678, -5, 2147483648

-- name: numeric_functions
select round(2.5), round(-2.5), round(1.2345, 2), trunc(1.999, 1), ceil(1.1), floor(-1.1), abs(-3), mod(7, 3), sign(-2.5), round(2.5::float8), sqrt(2), power(2, 10), 2 ^ 3

-- name: numeric_casts
select 2.5::int, 3.5::float8::int, '12'::numeric(10, 2), 1.005::numeric(5, 2), 7::bool, true::int, 1::text, 2.50::text, true::text

-- name: sums_and_means
select sum(property_version), avg(property_version), min(property_version), max(property_version) from streams where property_version < 100

-- name: sums_by_type
select sum(length(name)), avg(length(name)), sum(property_version / 2.0), sum(property_version::float8), avg(length(name)::float8) from streams

-- name: sum_of_nothing
select sum(property_version), avg(property_version), count(*), max(name), array_agg(name), string_agg(name, ',') from streams where false

-- name: bigint_sum_is_numeric
select sum(property_version) from streams

-- name: bool_aggregates
select bool_and(unit = 'volts'), bool_or(unit = 'volts'), every(name <> '') from streams

-- name: string_agg_in_order
select unit, string_agg(name, ', ' order by name desc), string_agg(distinct collection, ';') from streams group by unit order by unit

-- name: array_agg_distinct
select array_agg(distinct unit), array_agg(property_version order by property_version desc), array_agg(uuid order by uuid) from streams

-- name: json_agg_values
select json_agg(name order by name), json_agg(property_version order by uuid) from streams where collection = 'USEAST_PMU1'

-- name: count_distinct
select count(distinct unit), count(distinct annotations->'phase'), count(annotations->'phase') from streams

-- name: group_by_annotation
select annotations->'phase' as phase, count(*) as n from streams group by annotations->'phase' order by n desc, phase

-- name: group_by_alias
select upper(unit) as u, min(name) from streams group by u order by u

-- name: having_without_group_by
select count(*) from streams having count(*) > 100

-- name: case_searched
select name, case when property_version > 5 then 'high' when property_version > 1 then 'mid' end from streams order by uuid

-- name: case_simple
select name, case unit when 'volts' then 1 when 'amps' then 2 else 0.5 end as k from streams order by uuid

-- name: case_name
select case when true then 1 else property_version end from streams where name = 'VPHM'

-- name: coalesce_nullif_greatest
select coalesce(null, unit, 'x'), nullif(unit, ''), greatest(name, unit), least(property_version, 3), greatest(null, 1, 2.5) from streams order by uuid

-- name: is_tests
select name, (annotations->'phase' = 'A') is true, (annotations->'phase' = 'A') is not true, (annotations->'phase' = 'A') is unknown, annotations->'phase' is distinct from 'A', annotations->'phase' is not distinct from null from streams order by uuid

-- name: three_valued_logic
select null and false, null or true, not (null::bool), null = 1, 1 in (2, null), 1 not in (2, null), null is null

-- name: between
select name from streams where property_version between 2 and 4 and name not between 'A' and 'J' order by name

-- name: like_escapes
select name from streams where name like 'C\_1\%' or name like 'C!_1!%' escape '!' order by name

-- name: like_is_case_sensitive
select name like 'V%', name ilike 'V%', name not like '%a', name ~~ 'V%', name !~~* 'v%' from streams order by uuid

-- name: ilike_folds_unicode
select name from streams where name ilike 'GRÖSSE' or name ilike 'GRÖß%'

-- name: regex_operators
select name, name ~ '^[a-z]', name ~* '^[a-z]', name !~ '\d', name !~* 'vph' from streams order by uuid

-- name: regex_classes
select name from streams where name ~ '^\w+$' and name ~ '^[[:alpha:]]+$' and not name ~ '[^[:alnum:]]' order by name

-- name: regex_alternatives
select name from streams where name ~ '(^V|M$)' and name ~* 'v(ph|x)' order by name

-- name: similar_to_forms
select 'abc' similar to '(a|x)%', 'abc' similar to 'b', 'abc' similar to 'ab_', 'a.c' similar to 'a.c', 'abc' similar to 'a.c', 'x5' similar to 'x[0-9]+', 'abc' not similar to '%d%'

-- name: regexp_functions
select regexp_replace(collection, '[^/]*/', '<\&>', 'g'), substring(name from '[0-9]+'), substring(collection from '^([^/]+)/'), regexp_match(name, '([A-Z])PH([A-Z])') from streams order by uuid

-- name: text_functions
select length(name), upper(name), lower(name), initcap(collection), reverse(name), left(name, 2), right(name, 2), left(name, -1), right(name, -1) from streams order by uuid

-- name: more_text_functions
select trim(both ' ' from '  a  '), ltrim('xxa', 'x'), rtrim('axx', 'x'), btrim(' a '), lpad('5', 3, '0'), rpad('abc', 2), repeat('ab', 3), replace('aXbX', 'X', '--'), strpos('abc', 'c'), position('b' in 'abc'), concat('a', null, 1, true), concat_ws('-', 'a', null, 'b')

-- name: still_more_text_functions
select substr('abcdef', 2, 3), substring('abcdef' from 3), substring('abcdef' for 2), substring('abcdef' from -1 for 4), overlay('abcdef' placing 'XY' from 2 for 3), translate('abc', 'ab', 'x'), ascii('é'), chr(233), split_part('a/b/c', '/', -1), starts_with('abc', 'ab'), octet_length('é'), to_hex(255)

-- name: concatenation_of_types
select 'n=' || property_version || ' ' || (unit = 'volts') || ' ' || uuid || ' ' || created_at from streams order by uuid

-- name: quotes_and_dollars
select 'it''s', E'tab\there', $$dollar 'quoted'$$, 'back\slash', "name" as "Camel Case" from streams where name = 'VPHM'

-- name: unnamed_columns
select 1, 'a', 1 + 1, true, null, not true, 1::text, 'x'::varchar, now() is not null, name || 'x', (select 1), exists(select 1), array[1] from streams order by uuid limit 1

-- name: names_of_calls
select upper('a'), "left"('ab', 1), lower(name)::text, count(*), coalesce(max(unit), ''), '1'::int, cast('2' as bigint), date '2024-01-01', interval '1 day', extract(year from timestamp '2024-01-01'), extract(epoch from interval '1 day') from streams group by name order by name limit 1

-- name: case_folding_of_names
select NAME, "name" as "Name", S.Unit from STREAMS as S where s.NAME = 'VPHM'

-- name: equal_column_names
select name, name, unit as name from streams where name = 'VPHM'

-- name: extract_fields
select extract(year from created_at), extract(month from created_at), extract(day from created_at), extract(hour from created_at), extract(minute from created_at), extract(second from created_at), extract(dow from created_at), extract(isodow from created_at), extract(doy from created_at), extract(week from created_at), extract(isoyear from created_at), extract(quarter from created_at), extract(epoch from created_at), date_part('second', created_at) from streams order by uuid

-- name: extract_small_fields
select extract(milliseconds from created_at), extract(microseconds from created_at), extract(decade from created_at), extract(century from created_at), extract(millennium from created_at) from streams order by uuid

-- name: date_trunc_fields
select date_trunc('year', created_at), date_trunc('quarter', created_at), date_trunc('month', created_at), date_trunc('week', created_at), date_trunc('day', created_at), date_trunc('hour', created_at), date_trunc('minute', created_at), date_trunc('second', created_at), date_trunc('decade', created_at), date_trunc('century', created_at) from streams order by uuid

-- name: to_char_patterns
select to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US'), to_char(created_at, 'FMDay, FMDD FMMonth YYYY'), to_char(created_at, 'Dy DD Mon YY HH12:MI AM'), to_char(created_at, 'IYYY-"W"IW-ID'), to_char(created_at, 'DDD WW Q MS'), to_char(created_at, 'Month|DAY|mon|dy'), to_char(created_at, 'HH24:MI TZ') from streams order by uuid

-- name: interval_arithmetic
select interval '1 year 2 months 3 days 04:05:06.7', interval '90 minutes', interval '1 day' * 3, interval '1 month' + interval '2 days', -interval '1 day', interval '1 month' > interval '29 days', interval '1 day 24 hours' = interval '2 days'

-- name: interval_forms
select interval '1.5 days', interval '-1 day 2 hours', '2 weeks ago'::interval, interval '1 02:03:04', interval '36 hours', interval '1' day, '1 mon'::interval::text, interval '14 months'

-- name: timestamp_arithmetic
select created_at + interval '1 month', created_at - interval '1 year', last_written - created_at, created_at + 2 * interval '1 hour', created_at at time zone 'UTC' from streams order by uuid

-- name: date_arithmetic
select created_at::date, created_at::date + 1, created_at::date - date '2023-01-01', created_at::date + interval '1 hour', date '2024-02-29' - interval '1 year', extract(epoch from created_at::date), extract(dow from created_at::date) from streams order by uuid

-- name: timestamp_forms
select timestamp '2024-01-02 03:04:05.600', timestamptz '2024-01-02 03:04:05+02', '2024-01-02T03:04Z'::timestamptz, '2024-01-02'::date::timestamptz, timestamp '2024-01-02 03:04:05'::date, to_timestamp(1.5), '2024-01-02 03:04:05.123456789'::timestamp, 'infinity'::timestamptz, 'epoch'::timestamptz

-- name: timestamp_texts
select created_at::text, created_at::date::text, (created_at at time zone 'UTC')::text, last_written || '' from streams order by uuid

-- name: timestamps_compare_with_text
-- $1: 2024-01-01
select name from streams where created_at >= $1 and last_written < '2025-01-01' order by name

-- name: dates_compare_with_timestamps
select name from streams where created_at > date '2024-01-01' order by name

-- name: window_row_number
select collection, name, row_number() over (partition by collection order by name) from streams order by collection, name

-- name: window_rank
select name, rank() over (order by unit), dense_rank() over (order by unit), count(*) over (partition by unit), ntile(3) over (order by uuid) from streams order by uuid

-- name: window_lag_lead
select name, lag(name) over w, lead(name, 2) over w, first_value(name) over w, last_value(name) over w, lag(unit, 1, 'none') over w from streams window w as (order by uuid) order by uuid

-- name: window_sums
select name, sum(length(name)) over (order by uuid), sum(property_version) over (order by uuid rows between 1 preceding and current row), avg(length(name)) over (partition by unit), string_agg(name, ',') over (order by uuid rows 1 preceding), array_agg(unit) over (order by uuid rows between unbounded preceding and 1 preceding) from streams where property_version < 100 order by uuid

-- name: window_over_aggregate
select unit, count(*), sum(count(*)) over (order by unit), rank() over (order by count(*) desc, unit) from streams group by unit order by unit

-- name: window_nulls
select name, row_number() over (order by annotations->'phase', uuid), row_number() over (order by annotations->'phase' desc, uuid) from streams order by uuid

-- name: window_filter
select name, count(*) filter (where unit = 'volts') over (order by uuid) from streams order by uuid

-- name: union_of_types
select name from streams where unit = 'volts' union select unit from streams order by 1

-- name: union_of_numbers
select 1 as n union all select 2.5 union all select null order by n

-- name: union_distinct_numeric
select count(*) from (select 1.0 as x union select 1.00 union select 2) q

-- name: intersect_and_except
(select unit from streams intersect select name from streams) union all (select unit from streams except select 'volts') order by unit

-- name: set_precedence
select 1 union select 2 intersect select 3 order by 1

-- name: values_query
values (1, 'a'), (2, null), (3, 'c')

-- name: values_in_from
select t.n, t.s from (values (1, 'x'), (2, 'y')) as t(n, s) where t.n > 1

-- name: subquery_scalar
select name, (select count(*) from streams t where t.unit = s.unit) as n from streams s order by uuid

-- name: subquery_exists
select name from streams s where exists (select 1 from streams t where t.unit = s.unit and t.uuid <> s.uuid) order by name

-- name: subquery_not_exists
select name from streams s where not exists (select * from streams t where t.unit = s.unit and t.uuid <> s.uuid) order by name

-- name: subquery_in
select name from streams where unit in (select unit from streams group by unit having count(*) > 1) and collection not in (select name from collections where streams > 2) order by name

-- name: subquery_any
select name from streams where unit = any (select name from units) order by name

-- name: subquery_array
select array(select name from streams where unit = 'volts' order by name) as names, array(select name from streams where false)

-- name: subquery_in_from
select q.u, q.n * 2 from (select unit as u, count(*) as n from streams group by unit) q where q.n > 1 order by q.u

-- name: subquery_empty_is_null
select (select name from streams where name = 'none') is null, (select max(name) from streams)

-- name: cte_chain
with a as (select unit, count(*) as n from streams group by unit), b(u, n2) as (select unit, n * 10 from a where n > 1) select * from b order by u

-- name: cte_shadows_table
with streams as (select 1 as x) select * from streams

-- name: joins_inner
select s.name, u.id, u.fields->>'symbol' as symbol from streams s join units u on s.unit = u.name order by s.uuid

-- name: joins_left
select s.name, u.id from streams s left join units u on u.name = s.unit order by s.uuid

-- name: joins_right_and_full
select u.name, count(s.uuid) from streams s right join units u on u.name = s.unit group by u.name order by u.name

-- name: joins_full
select s.name as stream, d.name as device from streams s full join devices d on d.name = s.name order by 1, 2

-- name: joins_using
select name, streams, unit from collections join (select collection as name, unit from streams) q using (name) order by name, unit

-- name: joins_cross
select u.name, d.name from units u cross join devices d order by u.name, d.name

-- name: joins_comma
select s.name, u.symbol from streams s, (select name, fields->>'symbol' as symbol from units) u where u.name = s.unit order by s.uuid

-- name: tables_collections
select * from collections order by name

-- name: tables_devices
select * from devices order by id

-- name: tables_units
select id, name, fields from units order by id

-- name: jsonb_operators
select fields->'make', fields->>'make', fields#>>'{nested,bb,1}', fields->'nested'->'a', fields ? 'kv', fields @> '{"make": "SEL"}', jsonb_typeof(fields->'kv'), (fields->>'kv')::numeric from devices order by id

-- name: jsonb_of_annotations
select hstore_to_json(annotations)->>'phase', hstore_to_jsonb(annotations)->'phase', annotations::jsonb from streams order by uuid

-- name: jsonb_rows
select d.name, e.key, e.value from devices d, jsonb_each_text(d.fields) e order by d.id, e.key

-- name: limit_parameters
-- $1: 3
-- $2: 1
select name from streams order by uuid limit $1 offset $2

-- name: fetch_first
select name from streams order by uuid offset 2 rows fetch first 2 rows only

-- name: limit_null
select count(*) from (select name from streams limit null) q

-- name: parameters_take_types
-- $1: 2
-- $2: 2023-06-01
-- $3: true
select name from streams where property_version >= $1 and created_at < $2 and (unit = 'volts') is not distinct from $3 order by name

-- name: parameters_in_output
-- $1: it's
-- $2: 5
select $1 as a, $2::int + 1 as b, $1 || '!' as c

-- name: parameter_used_twice
-- $1: USEAST_PMU1
select name from streams where collection = $1 and $1 <> '' order by name

-- name: parameter_null_text
-- $1: NULL
select $1 = 'NULL', $1 is null

-- name: like_parameter_in_list
-- $1: vol
select distinct unit from streams where unit like $1 || '%'

-- name: row_comparison
select name from streams where (collection, name) = ('USEAST_PMU1', 'VPHM')

-- name: boolean_columns_and_casts
select 't'::bool, 'off'::boolean, unit = 'volts' as is_volts, not (unit = 'volts'), true and unit = '' from streams order by uuid

-- name: varchar_cuts
select 'abcdef'::varchar(3), cast(name as varchar(2)), cast('x' as character varying) from streams order by uuid

-- name: distinct_with_order
select distinct unit, length(unit) from streams order by length(unit), unit

-- name: distinct_on_expression
select distinct on (split_part(collection, '/', 1)) split_part(collection, '/', 1) as top, name, last_written from streams order by split_part(collection, '/', 1), last_written desc nulls last

-- name: star_of_one_table
select u.*, s.name as stream from units u join streams s on s.unit = u.name order by s.uuid

-- name: comments_are_read_over
select /* a comment /* inside */ of one */ count(*) -- and another
from streams

-- name: public_schema
select count(*) from public.streams

-- name: not_in_with_null_annotations
select name from streams where annotations->'phase' not in ('A', 'B') order by name

-- name: order_by_alias_and_case
select name, property_version as v from streams order by case when unit = 'volts' then 0 else 1 end, v desc, name

-- name: count_over_union
select count(*) from (select unit from streams union select name from units) as q

-- name: float_output
select 1::float8, 1.5::float8, 1e15::float8, 123456.789::float8, -0.000012345::float8, 100000000000000::float8, 1e308::float8 * 0.1

-- name: string_to_array_and_back
select string_to_array('a,,b', ','), string_to_array('a,,b', ',', ''), string_to_array('', ','), array_to_string(string_to_array(name, null), '.') from streams order by uuid

-- name: grouped_correlated_subquery
select unit, (select u.id from units u where u.name = s.unit) as id, count(*) from streams s group by unit order by unit

-- name: alias_before_column_in_order
select upper(name) as name from streams order by name

-- name: column_before_alias_in_group
select lower(unit) as unit, count(*) from streams group by unit order by 1, 2

-- name: group_by_more_than_selected
select count(*) from streams group by collection, unit order by collection, unit

-- name: group_key_inside_expression
select split_part(collection, '/', 1) || '!' as top, max(length(name)) + 1 from streams group by split_part(collection, '/', 1) order by top

-- name: group_by_grouped_case
select case when unit = '' then 'none' else unit end as u, count(*) from streams group by case when unit = '' then 'none' else unit end order by count(*) desc, u

-- name: aggregate_orders_rows
select unit from streams group by unit order by count(*) desc, min(name)

-- name: filter_of_nothing
select sum(property_version) filter (where false), count(*) filter (where false) from streams

-- name: means_rounded
select round(avg(length(name)), 2), count(*)::int, count(*) * 100.0 / 7 from streams

-- name: shares_over_window
select unit, count(*) * 100.0 / sum(count(*)) over () as share from streams group by unit order by unit

-- name: numeric_scales
select 1.10 * 2.0, 5.00 / 2, 1.5 + 2.25, 10 % 3.3, 12345678901234567890, 0.00001, 100.0 / 3, 1 / 7.0, 2.0 / 3000000

-- name: numeric_equality
select 1.0 = 1.00, 1.0 is distinct from 1.00, 1.10 in (1.1, 2), 2.5 > 2, 2.5::float8 = 2.5, nullif(1.0, 1.00), greatest(1.50, 1.5, 2)

-- name: numeric_group
select x, count(*) from (values (1.0), (1.00), (2.50)) as t(x) group by x order by x

-- name: negative_zero_and_signs
select -(0::float8), - 2 + 3, -(-5), +5, 5 - -5

-- name: powers_go_left
select 2 ^ 3 ^ 2, (-2) ^ 2, 2 * 3 % 4, 1 + 2 * 3 - 4 / 2

-- name: operator_precedence
select name || 'x' like 'V%x', name like 'V' || '%', 'a' || 1 + 2, not true = false, unit is null = false, 'a' || 'b' = 'ab', not annotations ? 'phase', annotations->'phase' || '-' || (annotations->'r') from streams order by uuid

-- name: and_or_precedence
select name from streams where annotations->'phase' = 'A' or annotations ? 'r' and unit = 'volts' order by name

-- name: text_order_of_numbers
select name from streams where annotations->'r' > '2' order by annotations->'r', name

-- name: annotation_arithmetic
select (annotations->'r')::numeric / 7, (annotations->'r')::float / 7, (annotations->'r')::bigint * 2, coalesce(annotations->'r', '0')::int from streams where annotations ? 'r' order by uuid

-- name: casts_of_text
select '5'::text::int, '1e3'::float8::int, ' 5 '::int, cast(null as int), null::text is null, null as n, 't'::text::bool, '{"a": 1}'::jsonb, '[1, "x", null]'::jsonb

-- name: date_trunc_of_a_date
select date_trunc('month', date '2024-02-29'), date_trunc('day', timestamp '2024-02-29 12:00'), date_part('year', date '2024-02-29')

-- name: epoch_as_nanoseconds
select extract(epoch from created_at)::bigint * 1000000000, (extract(epoch from created_at) * 1000)::bigint from streams order by uuid

-- name: timestamp_as_text_pattern
select name from streams where created_at::text like '2023%' and created_at between '2023-01-01' and '2023-12-31 23:59:59' order by name

-- name: extremes_of_times
select max(created_at), min(created_at::date), max(last_written - created_at), count(distinct created_at::date) from streams

-- name: arrays_of_types
select array_agg(created_at order by uuid), array_agg(unit = 'volts' order by uuid), array_agg(property_version order by uuid), array_agg(created_at::date order by uuid), array_agg(length(name)::float8 / 2 order by uuid) from streams where collection = 'USEAST_PMU1'

-- name: json_of_types
select to_json(name), to_json(created_at), to_json(annotations), to_json(property_version), json_agg(created_at) over (order by uuid) from streams where collection = 'USEAST_PMU1' order by uuid

-- name: json_agg_of_types
select json_agg(annotations order by uuid), json_agg(unit = 'volts' order by uuid), json_agg(annotations->'phase' order by uuid) from streams where collection = 'USEAST_PMU1'

-- name: string_agg_of_two_orders
select string_agg(name, ',' order by unit, name desc), string_agg(distinct unit, '|' order by unit desc) from streams

-- name: generator_in_a_subquery
select k, count(*) from (select skeys(annotations) as k, unit from streams) q where k in ('phase', 'r') group by k order by k

-- name: generator_with_distinct_and_limit
select distinct skeys(annotations) as k from streams where unit = 'volts' order by k desc limit 3

-- name: generator_without_tables
select skeys('b=>1, a=>2'::hstore), 'x' as y

-- name: generator_in_a_cte
with pairs as (select uuid, (each(annotations)).key as k, (each(annotations)).value as v from streams) select k, string_agg(v, ',' order by uuid) from pairs group by k having count(*) > 1 order by k

-- name: unions_in_parentheses
(select name from streams order by uuid limit 1) union all (select name from streams order by uuid desc limit 1) order by 1

-- name: union_takes_types
select '2024-01-01' as t union all select created_at from streams where name = 'VPHM' union all select null order by t

-- name: union_of_integers_and_numerics
select n from (select 1 as n union all select 2.50 union all select 3000000000) q order by n desc

-- name: union_removes_duplicates
select unit, property_version > 1 from streams union select unit, property_version > 1 from streams order by 1, 2

-- name: values_with_types
values (date '2024-01-01', 1.5, 'x'), (null, 2, null)

-- name: array_parameter_without_cast
-- $1: {volts,"a b",NULL}
select name from streams where unit = any($1) order by name

-- name: array_parameter_texts
-- $1: {volts,deg}
-- $2: a,b
select name, string_to_array($2, ',') from streams where unit = any($1::text[]) order by name

-- name: hstore_parameters
-- $1: phase=>A
-- $2: r
-- $3: 60
select name from streams where annotations @> $1 and annotations @> hstore($2, $3)

-- name: hstore_equality_parameter
-- $1: "r"=>"30", "phase"=>"A"
select name from streams where annotations = $1

-- name: uuid_text_and_order
select uuid::text from streams where uuid::text like 'a0%' and uuid > 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a04' order by uuid desc

-- name: joins_on_uuid
select a.name, b.name from streams a join streams b on a.uuid < b.uuid and a.unit = b.unit order by a.uuid, b.uuid

-- name: any_of_a_subquery_array
select name from streams where name = any (array(select name from streams where unit = 'volts')) order by name

-- name: not_in_subquery_with_nulls
select name from streams where annotations->'r' not in (select annotations->'r' from streams where unit = 'volts') order by name

-- name: correlated_twice
select name from streams s where property_version = (select max(property_version) from streams t where t.collection = s.collection and exists (select 1 from streams v where v.unit = t.unit and v.uuid <> s.uuid)) order by name

-- name: window_in_a_subquery
select name from (select name, row_number() over (partition by collection order by uuid desc) as r from streams) q where r = 1 order by name

-- name: window_frames
select name, count(*) over (order by unit range between unbounded preceding and current row), count(*) over (order by unit groups between 1 preceding and 1 following), last_value(name) over (order by uuid rows between current row and unbounded following), nth_value(name, 2) over (order by uuid) from streams order by uuid

-- name: window_ranks
select name, percent_rank() over (order by unit), cume_dist() over (order by unit) from streams order by uuid

-- name: window_min_max
select name, min(name) over (partition by unit), max(property_version) over (order by uuid rows 1 preceding), bool_or(unit = 'amps') over (order by uuid) from streams order by uuid

-- name: distinct_on_with_limit
select distinct on (unit) unit, name, property_version from streams order by unit, property_version desc, name limit 3

-- name: distinct_on_with_groups
select distinct on (unit) unit, collection, count(*) from streams group by unit, collection order by unit, count(*) desc, collection

-- name: escape_strings
select E'\x41\u00e9\n\\', U&'\0041\00e9'

-- name: quoted_names
select 1 as "a""b", 2 as "select", 3 as "Ü"

-- name: all_and_limit_zero
select all name from streams limit 0

-- name: intervals_in_output
select last_written - created_at as age, interval '2 years -1 month', interval '-00:00:01.5', interval '100 hours', created_at - created_at from streams order by uuid

-- name: interval_sort
select i from (values (interval '1 month'), (interval '29 days'), (interval '31 days'), (interval '-1 day'), (null)) as t(i) order by i desc

-- name: interval_fields
select extract(day from interval '40 days 25:00:00'), extract(hour from interval '40 days 25:00:00'), extract(epoch from interval '1 month 1.5 seconds'), extract(year from interval '14 months'), date_part('minute', interval '90 minutes')

-- name: now_is_later
select now() - created_at > interval '1 day', current_timestamp >= now(), current_date > date '2020-01-01' from streams where name = 'VPHM'

-- name: substring_without_match
select substring('abc' from 'x+'), substring('foobar' from 'o(.)b'), substring('abc', 2), substr('abc', 0, 2), left('abc', 10), split_part('a', '/', 2)

-- name: text_edges
select lpad('abc', 2), rpad('a', 3, 'xy'), lpad('a', 3, ''), repeat('a', 0), repeat('a', -1), replace('aaa', 'a', ''), initcap('hello wORLD-foo bar_baz'), upper('straße ǆ'), lower('ÀÉ İ'), reverse('añb'), trim(leading 'x' from 'xxax'), trim(trailing ' ' from 'a  ')

-- name: concat_types
select concat(created_at, '|', unit = 'volts', '|', property_version, '|', 1.50, '|', annotations) from streams where collection = 'USEAST_PMU1' order by uuid

-- name: array_output
select akeys(annotations)::text, avals(annotations)::text from streams order by uuid

-- name: hstore_text_forms
select 'a=>1, b=>NULL, "c d"=>"x\"y", e=>""'::hstore, 'a=>1,a=>1'::hstore, ''::hstore, hstore_to_array('a=>1, b=>NULL'::hstore)

-- name: hstore_sort_order
select skeys('bb=>1, a=>2, ccc=>3, "é"=>4, B=>5'::hstore)

-- name: hstore_minus
select 'a=>1, b=>2, c=>3'::hstore - array['a', 'c'], 'a=>1, b=>2'::hstore - 'a=>1, b=>3'::hstore, 'a=>1'::hstore || 'a=>2, b=>3'::hstore

-- name: count_of_expressions
select count(nullif(unit, '')), count(distinct lower(name)), count(1), count(null) from streams

-- name: boolean_sort_and_group
select unit = 'volts' as v, count(*) from streams group by 1 order by 1 desc

-- name: case_with_null_and_types
select case when unit = 'volts' then 1 when unit = 'amps' then 2.5 else null end as x, case unit when 'volts' then created_at end as t from streams order by uuid

-- name: regex_dot_and_anchors
select E'a\nb' ~ 'a.b', E'a\nb' ~ '^b', E'a\nb' ~ 'a$', 'aB' ~ '(?i)ab', 'a.b' ~ 'a\.b', 'foo bar' ~ '\mbar\M', 'foobar' ~ '\ybar', 'a]' ~ '[]]', 'x-y' ~ '[a-]', 'tab	x' ~ '\t'

-- name: regexp_replace_forms
select regexp_replace('foobarbaz', 'b..', 'X'), regexp_replace('foobarbaz', 'b(..)', 'X\1Y', 'g'), regexp_replace('ABC', 'b', 'x', 'i'), regexp_split_to_array('a1b22c', '[0-9]+'), regexp_match('abc', 'x')

-- name: similar_to_more
select 'abc' similar to 'a%', 'a%c' similar to 'a\%c', 'ab' similar to '(a|b){2}', 'a_c' similar to 'a!_c' escape '!', 'a^b$' similar to 'a^b$', 'foo/bar' similar to '%/(bar|baz)'

-- name: like_more
select 'a\b' like 'a\\b', 'ab' like 'a%b%', '' like '%', '' like '_', 'abc' like '%b%c', 'aXbXc' like 'a%X_', null like 'a'

-- name: collections_join
select c.name, c.streams, s.name from collections c left join streams s on s.collection = c.name and s.unit = 'volts' where c.streams > 1 or c.override_per_stream is not null order by 1, 3

-- name: retention_as_interval
select name, remove_older_than_ns / 3600000000000 as hours from collections where remove_older_than_ns is not null order by name

-- name: star_and_more
select s.*, 1 as one from (select name, unit from streams where unit = 'volts') s order by name

-- name: nested_ctes
with a as (with b as (select name, unit from streams) select unit, count(*) as n from b group by unit) select n, count(*) from a group by n order by n

-- name: cte_in_a_subquery
select name from streams where unit in (with u as (select name from units) select name from u) order by name

-- name: exists_name
select exists (select 1 from streams where unit = 'nope'), not exists (select 1), (select max(property_version) from streams where unit = 'volts') as m

-- name: offset_alone
select name from streams order by uuid offset 6

-- name: in_with_numbers_and_types
select name from streams where property_version in (1, 2.0, 3) and property_version::text in ('1', '3') order by name

-- name: distinct_from_binds_before_and
select name, unit is distinct from 'volts' and property_version = 1, (unit = 'volts') is not distinct from true or false, not unit is distinct from '' and false, 1 is distinct from 1 + 1 from streams order by uuid

-- name: is_tests_bind_after_comparisons
select unit = 'volts' is true, property_version > 1 is not false, annotations->'phase' = 'A' is null, 1 = 2 is distinct from true from streams order by uuid

-- name: numbers_without_digits_before_the_point
select .5, 5., -.5 * 2, 1e-3, 1.5e2

-- name: columns_named_like_words
select p.position, p.path, p.value from (select name as position, collection as path, unit as value from streams) p order by path, p.position

-- name: union_of_generators
select skeys(annotations) as k from streams union select name from units order by k

-- name: grouping_by_constant_expressions
select lower('X') as l, count(*) from streams group by l

-- name: grouped_without_rows
select unit, count(*) from streams where false group by unit

-- name: aggregate_without_rows
select count(*), sum(1), max(name), bool_and(true), string_agg(name, ',') from streams where name = 'nope'

-- name: correlated_aggregate_inside
select u.name, (select string_agg(s.name, ',' order by s.name) from streams s where s.unit = u.name) as names from units u order by u.name

-- name: scalar_subquery_in_where
select name from streams where property_version > (select avg(property_version) from streams where property_version < 100) order by name

-- name: scalar_subquery_compares_types
select name from streams where created_at = (select min(created_at) from streams)

-- name: in_subquery_of_uuids
select name from streams where uuid in (select uuid from streams where unit = 'volts') order by name

-- name: nested_case_and_coalesce
select coalesce(case when annotations ? 'r' then (annotations->'r')::int end, property_version, 0) from streams order by uuid

-- name: min_max_of_texts_and_numbers
select min(annotations->'r'), max((annotations->'r')::int), min(length(name)), max(last_written)::date from streams

-- name: strings_that_look_like_numbers
select '10' < '9', '10'::int < '9'::int, 'a' < 'B', 'Z' < 'a', '' < 'a', 'é' > 'z'

-- name: group_by_date
select created_at::date as d, count(*) from streams group by created_at::date order by d

-- name: group_by_trunc_and_order_by_count
select date_trunc('year', created_at) as y, count(*) as n from streams group by y order by n desc, y

-- name: having_on_alias_free_expression
select unit, max(length(name)) from streams group by unit having max(length(name)) > 3 and unit <> '' order by unit

-- name: distinct_counts_by_group
select collection, count(distinct unit), count(distinct annotations->'phase') filter (where name <> 'x') from streams group by collection order by collection

-- name: windows_with_named_parts
select name, sum(length(name)) over w as s, count(*) over w as c from streams window w as (partition by unit order by uuid rows between unbounded preceding and current row) order by unit, uuid

-- name: union_all_keeps_order_of_columns
select name as a, 1 as b from streams where unit = 'deg' union all select 'x', 2.5 order by b desc

-- name: except_with_nulls
select annotations->'phase' from streams except select 'A' order by 1

-- name: intersect_binds_tighter
select 'a' as x union all select 'b' intersect select 'b' order by x

-- name: values_sorted
select * from (values (3, 'c'), (1, 'a'), (2, null)) v(n, s) order by s desc nulls last, n

-- name: cross_join_of_ctes
with a(x) as (values (1), (2)), b(y) as (values ('p'), ('q')) select x, y from a, b where x > 1 order by y

-- name: text_positions_beyond
select substring('hello' from 10), substring('hello' from 2 for 100), left('é😀a', 2), right('é😀a', 2), lpad('é', 3, '😀'), position('' in 'abc'), strpos('', 'a'), split_part('a,b', ',', 5), overlay('abc' placing 'x' from 10)

-- name: trims_of_characters
select btrim('xyxabcyx', 'xy'), ltrim('  a '), rtrim(E'a\n '), trim('xx' from 'xxaxx')

-- name: casts_between_times
select '2024-02-29 13:14:15.678'::timestamp::date, '2024-02-29'::date::timestamp, timestamptz '2024-02-29 23:30:00-05'::date, '2024-02-29 13:14:15+05:30'::timestamptz::timestamp, '2024-12-31'::date - '2024-01-01'::date, timestamp '2024-03-01' - timestamp '2024-02-01'

-- name: additions_of_months
select date '2024-01-31' + interval '1 month', timestamp '2023-12-31 10:00' + interval '2 months', timestamptz '2024-03-31 00:00+00' - interval '1 month', date '2024-02-29' + interval '1 year'

-- name: timestamps_rounded
select '2024-01-01 00:00:00.9999995'::timestamp, '2024-01-01 00:00:00.0000005'::timestamp, '2024-01-01 00:00:00.0000015'::timestamp

-- name: boolean_output_forms
select (true)::text, true || '', concat(true), array[true]::text, to_json(true), string_agg((unit = 'volts')::text, ',' order by uuid) from streams

-- name: integer_limits
select 2147483647::int, -2147483648, 9223372036854775807, -9223372036854775808, (-2147483648)::text

-- name: division_signs
select -7 / 2, 7 / -2, -7 % 2, 7 % -2, mod(-7, 2), -7.5 / 2, round(-7.5), trunc(-7.5), floor(-7.5), ceil(-7.5)

-- name: hstore_nulls_and_missing
select annotations->'nope', annotations ? 'nope', defined(annotations, 'nope'), (annotations->'phase') is null, annotations @> 'nope=>1', annotations @> '' from streams where name = 'IPHM'

-- name: hstore_null_pairs_contained
select 'a=>NULL'::hstore @> 'a=>NULL', 'a=>1'::hstore @> 'a=>NULL', 'a=>NULL'::hstore -> 'a' is null, 'a=>NULL'::hstore = 'a=>NULL'

-- name: hstore_keys_any_of_none
select annotations ?| '{}'::text[], annotations ?& '{}'::text[], annotations ?| array['phase', null] from streams where name = 'VPHM'

-- name: json_texts_are_kept
select '{"b":1,  "a":2}'::json, '{"b":1,  "a":2, "b": 3}'::jsonb, '"x\u00e9\n"'::jsonb, '[]'::jsonb, '1.50'::jsonb

-- name: jsonb_containment
select '[1, 2, [3]]'::jsonb @> '[2]', '{"a": {"b": 1}}'::jsonb @> '{"a": {}}', '[1, 2]'::jsonb @> '1', '{"a": 1}'::jsonb <@ '{"a": 1, "b": 2}', '"a"'::jsonb ? 'a', '["a"]'::jsonb ?| array['a', 'z'], '[1, [2]]'::jsonb @> '[[2]]'

-- name: arrays_compare
select array[1, 2] = '{1,2}', array['a'] <> array['b'], akeys('a=>1'::hstore) = array['a'], array[1, null] = array[1, null]

-- name: unnest_with_types
select x, x::text || '!' from unnest('{2024-01-01,2024-02-01}'::date[]) x order by x desc

-- name: generator_of_empty_arrays
select unnest('{}'::text[]) union all select 'end'

-- name: regexp_split_rows
select regexp_split_to_table('a-b--c', '-') as part

-- name: filter_with_subquery
select count(*) filter (where unit in (select name from units)) from streams

-- name: order_by_two_directions
select unit, name from streams order by unit desc, name asc

-- name: deep_boolean
select name from streams where not (unit = 'volts' or (annotations ? 'phase' and not (property_version > 1 and name like 'I%'))) order by name

-- name: same_table_twice_in_subquery
select s.name from streams s where (select count(*) from streams t where t.name = s.name and t.uuid = s.uuid) = 1 and s.unit = 'deg'

-- name: alias_hides_table
select u.name from streams u where u.unit = 'amps'

-- name: inner_name_hides_outer
select (select name from units where name = 'volts') as n from streams where name = 'VPHM'

-- name: columns_of_an_alias_list
select a, b from (select name, unit from streams where unit = 'deg') q(a, b)

-- name: some_is_any
select name from streams where unit = some (array['deg', 'amps']) order by name

-- name: limit_all_and_order
select name from streams order by name limit all

-- name: between_and_and
select 1 between 0 and 2 and true, not 1 between 2 and 3, 2 not between 1 and 3 or false

-- name: cast_of_case_and_subquery
select (case when true then '5' else '6' end)::int + 1, (select '7')::int, ('8' || '9')::int

-- name: other_operators_bind_alike_from_the_left
select name ~ 'V' || 'P', 'x' || name ~ 'xV', annotations->'phase' ~ 'A|B', name ~~ 'V%' || '!', not name ~ 'V' and true from streams order by uuid

-- name: tests_that_are_constant_order_nothing
select property_version, name from streams order by 'a' is not null, name desc

-- name: tests_that_are_constant_group_all
select count(*) from streams group by 'a' is not null, 1 = 1

-- name: hstore_of_keys_alone
select hstore(array['a', 'b'], null), hstore(null::text[], null)

-- name: interval_before_date
select interval '36:00' + date '2024-02-29', 1 + date '2024-02-29', to_char(timestamp '2024-01-01', ''), 2 ^ 0.5::float8, sqrt(2.25::float8)

-- name: concat_ws_of_types
select concat_ws(', ', created_at::date, 1e2, unit = 'volts', null, akeys(annotations)) from streams order by uuid

-- name: having_compares_groups
select count(*) as n, unit from streams group by unit having unit > 'a' order by n

-- name: subscript_of_an_aggregate
select (array_agg(name order by uuid))[1], (string_to_array(max(collection), '/'))[2] from streams

-- name: rank_over_groups
select s.collection, s.n, rank() over (order by s.n desc, s.collection) from (select collection, count(*) n from streams group by 1) s order by 3

-- name: generator_counted_in_a_cte
with x as (select uuid, skeys(annotations) k from streams) select count(distinct uuid), count(*), min(k), max(k) from x

-- name: in_subqueries_without_tables
select 'x' in (select unit from streams), 'volts' not in (select unit from streams), null in (select unit from streams), 1 in (select 1 where false)

-- name: lag_of_times
select lag(created_at, 1, '2000-01-01') over (order by created_at, uuid), created_at - lag(created_at) over (order by created_at, uuid) as d from streams order by created_at, uuid

-- name: ratios_of_aggregates
select sum(length(name))::float / count(*), sum(length(name)) / count(*), round(sum(length(name))::numeric / count(*), 3) from streams

-- name: full_join_of_values
select x.a, y.a from (values (1), (2)) x(a) full join (values (2), (3)) y(a) on x.a = y.a order by 1, 2

-- name: full_join_using
select a, b from (values (1), (2)) x(a) full join (values (2, 'q'), (3, 'r')) y(a, b) using (a) order by a

-- name: string_agg_of_pairs
select string_agg(k || '=' || coalesce(v, '?'), '&' order by k) from streams s, each(s.annotations) as e(k, v) where s.name = 'IPHM'

-- name: array_of_annotations
select annotations -> array['phase', 'r'] as x, (annotations -> array['phase', 'r'])[1] from streams order by uuid

-- name: group_by_a_field
select fields->>'make' as make, count(*) from devices group by fields->>'make' order by make

-- name: interval_parameter
-- $1: 2023-01-01
-- $2: 1 month
select count(*) from streams where created_at > $1::timestamptz - $2::interval

-- name: jsonb_parameter
-- $1: {"make": "SEL"}
select id from devices where fields @> $1

-- name: parameter_as_key_and_value
-- $1: phase
-- $2: A
select name from streams where annotations -> $1 = $2 and annotations ? $1 order by name

-- name: substr_takes_no_pattern
select substr(name, '2'), substring(name from '2'), substring(name from '[A-Z]+') from streams order by uuid

-- name: seconds_in_floating_point
select date_part('second', t), date_part('milliseconds', t), date_part('epoch', t), extract(second from t) from (values (timestamp '2024-01-01 00:00:16.163607'), ('2024-01-01 00:00:59.999999'), ('2024-01-01 00:00:16.155299'), ('1969-12-31 23:59:07.700001')) v(t)
