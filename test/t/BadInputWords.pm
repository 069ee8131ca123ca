# Hostile values by type, each as an SQL expression that means the same under every setting of the session.
package BadInputWords;

use strict;
use warnings;

use Exporter 'import';
use OracleDice;

our @EXPORT = qw(hostile_value hostile_sql hostile_words hostile_settings huge);

# Text that stays short in the script and becomes long in the server.
sub huge { my ($unit, $times) = @_; return 'pg_catalog.repeat(' . literal($unit) . ", $times)" }

my @punctuation = (q{'}, q{"}, q{''}, q{""}, '\\', q{\\'}, q{\\"}, ';', '--', '/*', '*/', '/* /* */', '$$', '$1', '$0', '$99999', '$a$', '$a$ $b$', '{', '}', '{}', '{a', '{"a', '(', ')', '))', '()', '[', ']',
	',', ',,', '.', '..', '*', '%', '%s%n%s%d', '%%', ':', '::', '@', '?', '\\x', '\\000', "\t", "\n", "\r\n", "\x01", "\x1b[2J", "\x7f", '-', '+', '|', '||', '=', '=>', ':=', '1.e', '0x', '1_000', 'U&', "U&'", 'E', "E'", "B'2'", "X'g'");

my @injections = (
	q{'); DROP TABLE x; --}, q{x'; DROP TABLE x; --}, q{x"; DROP TABLE x; --}, q{1; DROP TABLE x}, q{true; DROP TABLE x}, q{true); DROP TABLE x; --}, q{true)) ; DELETE FROM x; --},
	q{true) OR (true}, q{false) OR (true}, q{true)) OR ((true}, q{(SELECT 1); DROP TABLE x}, q{$$; DROP TABLE x; $$}, q{$a$; DROP TABLE x; $a$}, "true\n); DROP TABLE x; --\n", "true --\n; DROP TABLE x",
	q{E'\\''; DROP TABLE x; --'}, q{'\\'; DROP TABLE x; --'}, q{'\\' OR true OR '' = '\\'}, q{U&'\\0027; DROP TABLE x; --'}, q{U&"\\0022; DROP TABLE x; --"}, q{/* ' */ true /* ' */}, q{true /* ; */}, q{true /* unclosed},
	q{true -- comment}, "true --\n", q{true;}, q{;true}, q{;}, q{true;;}, q{true; SELECT 1}, q{SELECT true}, q{TABLE x}, q{VALUES (true)}, q{DELETE FROM x}, q{DROP TABLE x}, q{BEGIN}, q{COMMIT}, q{ROLLBACK}, q{DO $$BEGIN END$$}, q{COPY x TO PROGRAM 'true'},
	q{EXISTS (WITH d AS (DELETE FROM public.x RETURNING 1) SELECT FROM d)}, q{EXISTS (DELETE FROM x RETURNING 1)}, q{EXISTS (SELECT 1; DROP TABLE x)}, q{EXISTS (SELECT FROM public.x FOR UPDATE)}, q{true AS pg_retention_expression FROM x; --}, q{' AS pg_retention_expression FROM ' <> ''},
	q{' SELECT ' <> ' target SET '}, q{' WHERE ' = ' RETURNING '}, q{set_config('role', 'postgres', false) IS NULL}, q{set_config('search_path', 'bad', false) IS NOT NULL}, q{pg_terminate_backend(0)}, q{lo_import('/etc/passwd') > 0}, q{pg_read_file('/etc/passwd') > ''});

# Conditions: legal, nearly legal, and of no type that a condition can have.
my @conditions = (
	'true', 'false', 'NULL', 'NULL::boolean', q{'t'}, q{'maybe'}, '1', '0', '1.5', q{'a'}, 'target', 'target.*', 'subject', 'subject.*', 'ROW(target.*) IS NOT NULL', 'target IS NOT NULL', 'target.nothing', 'nothing.id', 'nothing', 'ctid', 'target.ctid IS NOT NULL',
	'target.tableoid > 0', q{target.xmin::text <> ''}, 'subject.ctid IS NOT NULL', 'true ORDER BY 1', 'true LIMIT 1', 'true FOR UPDATE', 'true UNION SELECT true', 'true WHERE true', 'true AS x', 'true, true', 'DISTINCT true', 'ALL true', 'true INTO y', 'true FROM public.x', 'true GROUP BY 1', 'true HAVING true',
	'true WINDOW w AS ()', 'count(*) > 0', 'count(*) OVER () > 0', 'sum(1) FILTER (WHERE true) > 0', 'generate_series(1, 3) > 0', 'unnest(ARRAY[true])', 'EXISTS (TABLE public.x)', '(SELECT true)', '(SELECT true UNION ALL SELECT true)', '(SELECT true, true)', '(SELECT true FROM public.x)', '1/0 = 1',
	'(1/(target.ctid IS NULL)::int) = 1', q{(1 / length('')) > 0}, 'CASE WHEN true THEN true END', 'NOT', 'NOT NOT NOT true', 'DEFAULT', q{'a' = 'b' COLLATE nothing}, q{'a' COLLATE "C" = 'b' COLLATE "POSIX"}, q{current_setting('nothing.at.all')}, q{current_setting('is_superuser') = 'on'}, q{current_user = 'shop'},
	q{nextval('public.counter') > 0}, q{pg_sleep(0) IS NULL}, q{random() < 0.5}, 'now() IS NOT NULL', q{'x;y' <> ';'}, q{';' = ';'}, q{$$;$$ <> ''}, q{$a$;'"$a$ <> ''}, q{E';\\n' <> ''}, q{'\\' <> 'a'}, q{'a\\b' <> ''}, q{E'\\\\' <> 'a'}, q{U&'\\003B' = ';'}, q{U&'!003B' UESCAPE '!' = ';'}, q{U&'\\D800' = ''}, q{'it''s' <> ''},
	q{"it's"}, q{target."it""s" = 1}, 'pg_retention_expression', 'x.id', '$1 IS NOT NULL', '$1', '$2 = 1', ':a', '?', 'true::nothing', 'CAST(true AS boolean)', q{'1'::int = 1}, q{'a'::int = 1}, q{'2020-13-45'::date < now()}, q{interval '1 day' > '0'}, q{xmlparse(content '<a/>') IS NOT NULL},
	q{ROW(1, 2) = ROW(1, 2)}, q{ARRAY[1, 2] @> ARRAY[1]}, q{'{}'::jsonb = '{}'}, q{true OPERATOR(pg_catalog.=) true}, q{1 OPERATOR(bad.+) 1}, 'TRUE IS UNKNOWN', 'target = target', 'target < target', 'target.id = ANY (SELECT id FROM public.x)', '(target).id > 0', '(target.*).id > 0', 'x', 'NULL = NULL', 'target.id = NULL',
	q{EXISTS (SELECT FROM public.users AS subject WHERE subject.id = target.id)}, q{EXISTS (SELECT FROM public.x AS target)}, q{(SELECT max(id) FROM public.x AS activity) > 0}, q{json_build_object('a', target) IS NOT NULL}, q{lower(target::text) <> ''}, q{target.at < now()}, q{at < now()}, q{id > 1}, q{note <> ''});

my @assignments = (
	'note = NULL', q{note = ';'}, q{note = '; DROP TABLE x; --'}, q{note = ' target SET '}, q{note = $$;'$$}, q{note = E'\\n;'}, q{note = '\\'}, 'note = note', 'note = DEFAULT', 'note = (SELECT 1)', '(note) = (SELECT 1)', '(note, ok) = (NULL, true)', '(note, ok) = ROW(NULL, true)', '(note, ok) = (SELECT NULL, true)',
	'note = target.note', 'target.note = 1', 'note = subject.note', 'nothing = 1', 'id = id + 1', 'id = NULL', q{id = 'a'}, 'note = 1, note = 2', 'note', 'note =', '= 1', 'note == 1', 'note = 1 WHERE true', 'note = 1 FROM x', 'note = 1 RETURNING 1', 'note = 1; DROP TABLE x', 'note = 1;', 'note = 1 --', 'note = 1 /*', 'note = 1)',
	'(note = 1', 'note = (1', q{tags[1] = 'a'}, q{tags = tags || 'a'}, q{body['a'] = '1'}, 'tableoid = 1', 'ctid = NULL', 'note = count(*)', 'note = generate_series(1, 2)', 'note = random()', 'note = now()', 'note = 1/0', 'note = $1', 'note = (WITH d AS (DELETE FROM public.x RETURNING 1) SELECT 1 FROM d)',
	q{status = 'Expired'}, 'status = NULL', 'updated_at = now()', q{"where" = ';'}, 'amount = amount / 0', q{note = repeat('x', 100000)}, 'note = current_user', q{note = set_config('role', 'postgres', true)}, 'note = 1 WHERE CURRENT OF c', 'a.b.c.d = 1', '* = 1', q{note = 'a' COLLATE nothing});

my @expressions = (
	'target.at + target.ttl', q{target.at + interval '1 day'}, 'target.at', 'target.day', 'target.created_at', q{'infinity'::timestamptz}, q{'-infinity'::timestamptz}, 'NULL', 'NULL::timestamptz', 'now()', 'clock_timestamp()', q{'2020-01-01'}, q{'2020-01-01'::date}, q{'2020-01-01'::timestamp}, q{'soon'::timestamptz}, '1', q{'a'}, 'target',
	q{interval '1 day'}, q{time '12:00'}, 'to_timestamp(target.at_ms / 1000.0)', 'to_timestamp(1e300)', q{to_timestamp('NaN')}, 'subject.last_active', 'max(target.at)', '(SELECT now())', 'CASE WHEN target.at > now() THEN target.at END', 'target.at AT TIME ZONE target.note', q{target.at + interval '200000000 years'}, 'at', 'array[now()]', 'row(now())');

my @names = ('id', 'at', 'created_at', 'last_active', 'note', 'from', 'select', 'at";--', ' target SET ', 'AT', 'nothing', 'ctid', 'tableoid', 'xmin', 'oid', '.', 'a.b', '"at"', '""', 'day', 'key', 'at_ms', 'ttl', 'tags', 'body', 'amount', 'tenant', 'timestamp', '........pg.dropped.1........');
my @words = ('delete', 'update', 'archive', 'DELETE', 'drop', 'refuse', 'cascade', 'set_null', 'keep', 'expire', 'all', 'any', 's', 'ms', 'us', 'S', 'min', 'NULL', 'null', 'default', 'true', 't', 'on');
my @zones = ('UTC', 'utc', 'Europe/Berlin', 'America/New_York', 'Asia/Kathmandu', 'EST5EDT', '+05', '-99:99', '<+05>-5', 'posix/UTC', '../../etc/passwd', 'Nowhere/Land', 'localtime', 'posixrules', q{UTC'; DROP TABLE x; --}, q{<'>5}, q{<a"b;>5}, 'INFINITY', 'LOCAL', 'DEFAULT', '0', '99999999999');
my @relations = ('public.events', 'public.events_1', 'public.node', 'public.leaf', 'public.carts', 'public.cart_items', 'public.users', 'public.messages', 'public.sessions', 'public.bookings', 'public.x', 'public."select"', q{public."Ev'il""; DROP TABLE x; --"}, 'public.seen', 'public.kept', 'public.counter', 'public.x_pkey',
	'retention.policy', 'retention.run', 'retention.batch', 'retention.runs', 'pg_catalog.pg_class', 'pg_catalog.pg_authid', 'information_schema.tables', 'pg_catalog.pg_settings', 'public.select_archive', 'public.nothing', 'a.b.c.d', 'x; DROP TABLE x', '"x', '');
my @policies = ('stored', 'update', 'archive', 'waiting', 'alive', 'latest', q{$$o'clock"; DROP TABLE x; --}, 'inactive_carts', 'old_cart_items', 'inactive_sessions', 'pending_bookings', 'nothing', 'STORED', 'stored ', ' ', 'x');
my @keys = qw(target subject expire_after time_column time_columns condition set_clause archive_to path keep_latest keep_per max_rows max_fraction dependents activities dependent_tables time_zone never run_order paused name owner id version);

# What any text may be, besides what it is for.
sub hostile_words
{
	my ($encoding) = @_;
	return pick_by(
		literal(pick(@injections)) => 8, literal(pick(@punctuation)) => 5, literal('') => 2, literal(' ' x roll(1, 5)) => 1, literal(pick(@words)) => 4, literal(pick(@policies)) => 4, literal(pick(@names)) => 3, literal(pick(@zones)) => 1,
		literal(pick(@conditions)) => 3, 'NULL' => 2, huge(pick('x', q{'}, '"', ';', '(', ' ', '\\', "\n", '-'), pick(63, 64, 65, 1000, 100_000)) => 2, huge('x', 1_000_000) => 0.2 > rand() ? 1 : 0, _letters($encoding) => 3);
}

# Letters beyond ASCII, as the script's bytes.
sub _letters
{
	my ($encoding) = @_;
	my @utf8 = ("\xc3\xa9t\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xe2\x80\xae", "\xef\xbb\xbf", "\xcc\x81", "\xc2\xa0", "\xe2\x80\x99", "\xef\xbc\x9b");
	my @raw = ("\xe9", "\xff\xfe", "\xc3", "\xed\xa0\x80", "\xc0\xa7", "\x81'", "\xbf\x27", "\xf5\x80\x80\x80", "\xa7\xb6");
	return literal(pick($encoding eq 'UTF8' ? @utf8 : (@utf8, @raw)) . pick('', 'a', q{'}, ';'));
}

# Hostile text for an argument that becomes SQL.
sub hostile_sql
{
	my ($kind, $encoding) = @_;
	my @pool = $kind =~ /set_clause/ ? @assignments : $kind =~ /expr/ ? @expressions : @conditions;
	my $deep = pick(huge('(', 5000), huge('NOT ', 20000) . q{ || 'true'}, huge('true AND ', 5000) . q{ || 'true'}, huge('(', 300) . q{ || 'true' || } . huge(')', 300), q{'true' || } . huge(' -- x', 100), q{'''' || } . huge('x', 200_000) . q{ || ''' <> '''''});
	return pick_by(literal(pick(@pool)) => 12, literal(pick(@injections)) => 5, literal(pick(@conditions, @assignments, @expressions)) => 2, $deep => 1, hostile_words($encoding) => 3);
}

sub _array { my ($type, @items) = @_; return @items ? 'ARRAY[' . join(', ', @items) . "]::$type" : "'{}'::$type" }

# A hostile value for an argument of this type and name.
sub hostile_value
{
	my ($type, $name, $encoding) = @_;
	return pick('NULL', 'NULL', literal('')) if chance(0.06);
	if ($type eq 'text')
	{
		return hostile_sql($name, $encoding) if $name =~ /condition|clause|expression|where|predicate/;
		return literal(pick(@policies)) if $name =~ /^(?:policy|name)$/ && chance(0.4);
		return literal(pick(@zones)) if $name =~ /zone/ && chance(0.7);
		return literal(pick(@words)) if $name =~ /^(?:action|dependents|time_unit|time_match|when_null|reset)$/ && chance(0.6);
		return hostile_words($encoding);
	}
	return '(' . hostile_words($encoding) . ')::name' if $type eq 'name' && chance(0.4);
	return literal(pick(@names)) . '::name' if $type eq 'name';
	return literal(pick(@relations)) . '::regclass' if $type eq 'regclass' && chance(0.85);
	return pick('0', '1', '4294967295', '999999', '2147483648') . '::oid::regclass' if $type eq 'regclass';
	if ($type =~ /^(name|text)\[\]$/)
	{
		my $element = $1;
		return pick("'{{at},{at}}'::$type", "'[0:1]={at,id}'::$type", "ARRAY[NULL]::$type", "pg_catalog.array_fill('at'::$element, ARRAY[100000])", "'{}'::$type") if chance(0.25);
		return _array($type, map { $element eq 'name' ? literal(pick(@names)) : chance(0.4) ? literal(pick(@keys)) : hostile_words($encoding) } 1 .. roll(0, 3));
	}
	return pick(map { "interval '$_'" } '0', '1 day', '90 days', '-1 day', '1 microsecond', '178000000 years', '-178000000 years', '1 month -30 days', '1 day -24 hours', '2147483647 days', '1.5 months', '2147483647 months') if $type eq 'interval' && chance(0.85);
	return pick("'infinity'::interval", "'1 fortnight'::interval", "make_interval(secs => 'infinity')") if $type eq 'interval';
	return pick(0, 1, -1, 2, 100, -2147483648, 2147483647, 2147483648) if $type eq 'integer';
	return pick(0, 1, -1, 5, '9223372036854775807', '(-9223372036854775808)', '9223372036854775808', 4294967296) . '::bigint' if $type eq 'bigint';
	return pick(map { literal($_) } '0', '1', '0.5', '-0', '-1', '1e-320', '1e308', '1e309', 'NaN', 'Infinity', '-Infinity') . '::float8' if $type eq 'double precision';
	return pick('true', 'false', 'NULL') if $type eq 'boolean';
	return pick(map { literal($_) } 'now', '2020-01-01', 'infinity', '-infinity', '4713-01-01 BC', '294276-12-31', '294277-01-01', 'epoch', '2020-02-30', 'today') . '::timestamptz' if $type eq 'timestamp with time zone';
	return _document($encoding) if $type =~ /^jsonb?$/;
	return chance(0.5) ? 'NULL' : '(' . hostile_words($encoding) . ")::$type";
}

# A document of policies, right in most of its keys.
sub _document
{
	my ($encoding) = @_;
	return literal(pick('null', '1', '"a"', '[]', '{}', '[[]]', '[null]', '{"name": "p"}', '[{"name": null}]', '{', '[1e400]', '{"name": {"a": 1}}', '[{"name": "a", "target": []}]', '{"\u0000": 1}')) . '::jsonb' if chance(0.25);
	return huge('[', 10000) . '::jsonb' if chance(0.03);
	my %members = (name => literal(pick('p', 'stored', 'update')), target => literal('public.events'), expire_after => literal('90 days'), time_columns => q{'["at"]'::jsonb});
	for my $key (some(roll(1, 2), @keys))
	{
		my $list = chance(0.4) ? pick(q{'[{"relation": "public.messages", "time_column": "timestamp", "join_condition": "true"}]'::jsonb}, q{'[{"relation": "public.node", "action": "keep", "join_condition": "true"}]'::jsonb}, q{'[{}]'::jsonb}, q{'[1, "a", null]'::jsonb}, q{'["id"]'::jsonb}, q{'{"a": {"b": []}}'::jsonb}, q{'[[["at"]]]'::jsonb}) : undef;
		$members{$key} = $list // pick(hostile_sql($key, $encoding), hostile_words($encoding), 'NULL', '-1', '1e18', '0.5', 'true', q{'NaN'::float8}, literal(pick(@relations)), q{'-1 day'::text});
	}
	return 'pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(' . join(', ', map { "'$_', " . ($members{$_} =~ /^'|^NULL|repeat/ && $members{$_} !~ /::/ ? "($members{$_})::text" : $members{$_}) } sort keys %members) . '))';
}

# Settings of a session that read or write SQL, times and values otherwise.
sub hostile_settings
{
	return pick('standard_conforming_strings = off', 'standard_conforming_strings = off', 'backslash_quote = on', 'quote_all_identifiers = on', 'quote_all_identifiers = on', 'transform_null_equals = on', 'array_nulls = off', q{DateStyle = 'German'}, q{DateStyle = 'SQL, DMY'}, q{IntervalStyle = 'iso_8601'}, q{IntervalStyle = 'sql_standard'},
		'bytea_output = escape', 'extra_float_digits = -15', q{search_path = ''}, 'search_path = bad, pg_temp', 'search_path = public, pg_catalog', q{TimeZone = 'Asia/Kathmandu'}, 'row_security = off', 'enable_seqscan = off', 'jit_above_cost = 0', q{work_mem = '64kB'}, 'retention.direct = off', 'retention.walk = list',
		'retention.walk = blocks', q{retention.work_mem = '64kB'}, 'retention.lock_timeout = 0', 'plan_cache_mode = force_custom_plan', 'transaction_read_only = on', 'check_function_bodies = off', q{plpgsql.extra_errors = 'all'}, 'xmlbinary = hex', q{default_text_search_config = 'simple'}, q{temp_tablespaces = ''}, 'from_collapse_limit = 1', 'escape_string_warning = on');
}

1;
