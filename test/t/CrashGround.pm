# The grounds on which runs are killed, one for each way of a committed run, and what must be true of them at any moment.
#
# Every table has a twin in the schema "was": for each row how it was, whether it is due, how it becomes when it is done (nothing:
# it goes), and the victim whose family it belongs to. The audit holds what there is against that, and the ledger against both.
package CrashGround;

use strict;
use warnings;

use Exporter 'import';
use ServerSession;

our @EXPORT = qw(grounds make_grounds fill_ground audit left_to_do);

my $rows = 6_400;

# Rows of a target stand on more than 2,048 blocks, so that each of four slices has its part of them.
my $target = "id integer PRIMARY KEY, filler text DEFAULT repeat('.', 220)";
my $spread = 'WITH (fillfactor = 10)';
my $all = "generate_series(1, $rows) AS g";
my $aged = q{now() - CASE WHEN g % 2 = 0 THEN interval '100 days' ELSE interval '1 day' END};
my $even = 'id % 2 = 0';

# name; settings that force the way, and the words of retention.runs.reason that prove it; tables in the order of their keys, each with
# its definition, its rows, which of them are due, in whose family, what becomes of them; the policy.
my @grounds = (
	{
		name => 'carts', settings => { 'retention.walk' => 'blocks' }, way => 'the keys of the expired subjects',
		tables => [
			[ 'carts', 'id integer PRIMARY KEY, person integer REFERENCES people', 'SELECT g, g % 400 + 1 FROM generate_series(1, 800) AS g', 'false' ],
			[ '"cart items"', qq{$target, "cart id" integer REFERENCES carts}, qq{(id, "cart id") SELECT g, g % 800 + 1 FROM $all},
				'(SELECT person % 2 = 0 FROM carts AS c WHERE c.id = "cart id")' ] ],
		policy => q{retention.add_policy('carts', '"cart items"', '90 days', 'last_active', subject => 'people')},
	},
	{
		name => 'visits', settings => { 'retention.walk' => 'blocks' }, way => 'each range of blocks',
		tables => [ [ 'visits', qq{$target, "at" timestamptz}, qq{(id, "at") SELECT g, $aged FROM $all}, $even ] ],
		policy => q{retention.add_policy('visits', 'visits', '90 days', 'at')},
	},
	{
		name => 'orders', settings => { 'retention.walk' => 'blocks' }, way => 'each range of blocks',
		tables => [
			[ '"order"', qq{$target, "when" timestamptz}, qq{(id, "when") SELECT g, $aged FROM $all}, $even ],
			[ 'lines', 'id integer PRIMARY KEY, "order" integer REFERENCES "order"', 'SELECT g, g * 3 FROM generate_series(1, 2000) AS g', '"order" % 2 = 0', '"order"' ],
			[ 'notes', 'id integer PRIMARY KEY, line integer REFERENCES lines', 'SELECT g, g % 2000 + 1 FROM generate_series(1, 2500) AS g', '(line * 3) % 2 = 0', 'line * 3' ] ],
		policy => q{retention.add_policy('orders', '"order"', '90 days', 'when', dependents => 'cascade')},
		indexes => 'CREATE INDEX ON lines ("order"); CREATE INDEX ON notes (line)',
	},
	{
		name => 'sessions', settings => { 'retention.walk' => 'list' }, way => 'recognised by their versions',
		tables => [
			[ 'sessions', "$target, person integer REFERENCES people", "(id, person) SELECT g, g % 400 + 1 FROM $all", 'person % 2 = 0' ],
			[ 'images', 'id integer PRIMARY KEY, session integer REFERENCES sessions ON DELETE CASCADE', 'SELECT g, g * 5 FROM generate_series(1, 1280) AS g',
				'(session % 400 + 1) % 2 = 0', 'session' ],
			[ 'trail', 'id integer PRIMARY KEY, session integer REFERENCES sessions ON DELETE SET NULL', 'SELECT g, g * 7 FROM generate_series(1, 900) AS g',
				'(session % 400 + 1) % 2 = 0', 'session', 'ROW(id, NULL)' ],
			[ 'tags', 'id integer PRIMARY KEY, kind text, item integer', q{SELECT g, CASE WHEN g % 3 = 0 THEN 'cart' ELSE 'session' END, g FROM generate_series(1, 1500) AS g},
				q{kind = 'session' AND (item % 400 + 1) % 2 = 0}, 'item' ] ],
		policy => q{retention.add_policy('sessions', 'sessions', '90 days', 'last_active', subject => 'people'),
			retention.add_dependent('sessions', 'tags', $$dependent.kind = 'session' AND dependent.item = target.id$$)},
		indexes => 'CREATE INDEX ON images (session); CREATE INDEX ON trail (session); CREATE INDEX ON tags (item)',
	},
	{
		name => 'chats', settings => { 'retention.walk' => 'list' }, way => 'judged again',
		tables => [
			[ 'pins', 'chat integer PRIMARY KEY, id integer UNIQUE', 'SELECT g * 10, g FROM generate_series(1, 640) AS g', 'false' ],
			[ 'chats', "$target, seen timestamptz", "(id, seen) SELECT g, $aged FROM $all", 'id % 2 = 0 AND id % 10 <> 0' ],
			[ 'messages', 'id integer PRIMARY KEY, chat integer REFERENCES chats', 'SELECT g, g * 4 FROM generate_series(1, 1600) AS g', '(chat % 2 = 0) AND chat % 10 <> 0', 'chat' ] ],
		policy => q{retention.add_policy('chats', 'chats', '90 days', 'seen', condition => 'NOT EXISTS (SELECT FROM pins AS p WHERE p.chat = target.id)', dependents => 'cascade')},
		indexes => 'CREATE INDEX ON messages (chat)',
	},
	{
		name => 'bookings', settings => { 'retention.walk' => 'blocks' }, way => 'each range of blocks|recognised by their versions|updated rows could not be told',
		tables => [ [ 'bookings', qq{$target, made timestamptz, status text, note text}, qq{(id, made, status, note) SELECT g, $aged, 'Pending', g FROM $all}, $even, 'id',
				q{ROW(id, filler, made, 'Expired', note || '!')} ] ],
		policy => q{retention.add_policy('bookings', 'bookings', '90 days', 'made', condition => $$target.status = 'Pending'$$, action => 'update',
			set_clause => $$status = 'Expired', note = note || '!'$$)},
	},
	{
		name => 'tickets', settings => { 'retention.walk' => 'list' }, way => 'recognised by their versions',
		tables => [
			[ 'tickets', qq{$target, made timestamptz, status text}, qq{(id, made, status) SELECT g, $aged, 'new' FROM $all}, $even, 'id', q{ROW(id, filler, made, status || ', void')} ],
			[ 'seats', 'id integer PRIMARY KEY, ticket integer REFERENCES tickets, status text', q{SELECT g, g * 3, 'new' FROM generate_series(1, 2000) AS g},
				'ticket % 2 = 0', 'ticket', q{ROW(id, ticket, status || ', void')} ] ],
		policy => q{retention.add_policy('tickets', 'tickets', '90 days', 'made', condition => $$target.status = 'new'$$, action => 'update',
			set_clause => $$status = status || ', void'$$, dependents => 'cascade')},
		indexes => 'CREATE INDEX ON seats (ticket)',
	},
	{
		name => 'letters', settings => { 'retention.walk' => 'list' }, way => 'recognised by their versions',
		tables => [
			[ 'letters', qq{$target, sent timestamptz}, qq{(id, sent) SELECT g, $aged FROM $all}, $even ],
			[ 'pages', 'id integer PRIMARY KEY, letter integer REFERENCES letters', 'SELECT g, g * 3 FROM generate_series(1, 2000) AS g', 'letter % 2 = 0', 'letter' ] ],
		policy => q{retention.add_policy('letters', 'letters', '90 days', 'sent', action => 'archive', dependents => 'cascade')},
		indexes => 'CREATE INDEX ON pages (letter)',
		archives => { letters => 'letters_archive', pages => 'pages_archive' },
	},
	{
		# More victims than a list in memory: the rest of it goes to a temporary file.
		name => 'crumbs', settings => { 'retention.walk' => 'list', 'retention.work_mem' => 64 }, way => 'recognised by their versions', is_large => 1,
		tables => [ [ 'crumbs', 'id integer PRIMARY KEY, fell timestamptz', q{SELECT g, now() - interval '100 days' FROM generate_series(1, 70000) AS g}, 'true' ] ],
		policy => q{retention.add_policy('crumbs', 'crumbs', '90 days', 'fell')},
	});

sub grounds { return @grounds }

# Makes every ground on a server, or those named; each is filled before it is used.
sub make_grounds
{
	my ($server, @names) = @_;
	my $sql = q{CREATE SCHEMA was;
		CREATE TABLE people (id integer PRIMARY KEY, last_active timestamptz);
		INSERT INTO people SELECT g, } . $aged . q{ FROM generate_series(1, 400) AS g;
		CREATE TABLE was.mark (ground text PRIMARY KEY, run bigint);
	};
	for my $ground (@grounds)
	{
		next if @names && !grep { $_ eq $ground->{name} } @names;
		for my $i (0 .. $#{ $ground->{tables} })
		{
			my ($table, $columns, $fill, $due, $root, $becomes) = @{ $ground->{tables}[$i] };
			$sql .= "CREATE TABLE $table ($columns) " . ($columns =~ /filler/ ? $spread : '') . ";\nINSERT INTO $table $fill;\n";
			$sql .= "CREATE TABLE was.$table AS SELECT t.id, @{[ $root // 'id' ]} AS root, $due AS due, t AS was, ";
			$sql .= ($becomes ? "CASE WHEN $due THEN $becomes\::$table END" : "NULL::$table") . " AS becomes FROM $table AS t;\nALTER TABLE was.$table ADD PRIMARY KEY (id);\n";
		}
		$sql .= "$ground->{indexes};\n" if $ground->{indexes};
		$sql .= "SELECT $ground->{policy};\n";
		$sql .= "INSERT INTO was.mark VALUES ('$ground->{name}', 0);\n";
	}
	ask($server, $sql);
	return;
}

# Puts every row of a ground back as it was; the ledger counts from here.
sub fill_ground
{
	my ($server, $ground) = @_;
	my @tables = map { $_->[0] } @{ $ground->{tables} };
	my $sql = "TRUNCATE @{[ join ', ', @tables, values %{ $ground->{archives} // {} } ]};\n";
	$sql .= "INSERT INTO $_ SELECT (was).* FROM was.$_ ORDER BY id;\n" for @tables;
	$sql .= "ANALYZE @{[ join ', ', @tables ]};\n";
	$sql .= "UPDATE was.mark SET run = (SELECT COALESCE(max(id), 0) FROM retention.run) WHERE ground = '$ground->{name}'";
	ask($server, $sql, 'CHECKPOINT');
	return;
}

# Each row of a ground's table: due, done, whole (as it was, or done), with the family's victim.
sub _rows_of
{
	my ($table) = @_;
	return qq{SELECT w.root, w.due, CASE WHEN w.becomes IS NULL THEN n.id IS NULL ELSE n.* IS NOT DISTINCT FROM w.becomes END AS done,
		n.* IS NOT DISTINCT FROM w.was AS untouched, w.id IS NULL AS strange FROM was.$table AS w FULL JOIN $table AS n ON n.id = w.id};
}

# How many due rows are not done, of all tables.
sub left_to_do
{
	my ($server, $ground) = @_;
	return ask($server, 'SELECT sum(n) FROM (' . join(' UNION ALL ', map { "SELECT count(*) FILTER (WHERE due AND NOT done) AS n FROM (" . _rows_of($_->[0]) . ') AS r' } @{ $ground->{tables} }) . ') AS s');
}

# What is wrong on a ground and around it, one complaint in each line; an empty text where everything is as it must be. Runs may have
# ended as done, interrupted or cancelled, and as the reason that is given.
sub audit
{
	my ($server, $ground, $is_finished, $reason) = @_;
	$reason //= 'done';
	my $since = "(SELECT run FROM was.mark WHERE ground = '$ground->{name}')";
	my $ledger = "(SELECT * FROM retention.ledger WHERE run > $since AND policy = '$ground->{name}')";
	my (@with, @complaints, @families);
	my $complain = sub { push @complaints, "SELECT $_[0] AS complaint FROM $_[1]" };
	my $number = 0;
	for my $table (map { $_->[0] } @{ $ground->{tables} })
	{
		my $rows = 'rows_' . $number++;
		my $name = "(SELECT relname FROM pg_class WHERE oid = '$table'::regclass)";
		push @with, "$rows AS MATERIALIZED (" . _rows_of($table) . ')';
		push @families, "SELECT root, done FROM $rows WHERE due";
		$complain->("format('%s: %s rows that are not due were changed', '$table', n)", "(SELECT count(*) AS n FROM $rows WHERE NOT due AND NOT untouched) AS x WHERE n <> 0");
		$complain->("format('%s: %s due rows are half done', '$table', n)", "(SELECT count(*) AS n FROM $rows WHERE due AND NOT done AND NOT untouched) AS x WHERE n <> 0");
		$complain->("format('%s: %s rows came from nowhere', '$table', n)", "(SELECT count(*) AS n FROM $rows WHERE strange) AS x WHERE n <> 0");
		$complain->("format('%s: %s rows are done, the ledger says %s', '$table', done, told)",
			"(SELECT (SELECT count(*) FROM $rows WHERE due AND done) AS done, (SELECT COALESCE(sum(affected), 0) FROM $ledger AS l WHERE relation = 'public.' || $name) AS told) AS x WHERE done <> told");
		$complain->("format('%s: %s due rows are left', '$table', n)", "(SELECT count(*) AS n FROM $rows WHERE due AND NOT done) AS x WHERE n <> 0") if $is_finished;
		if (my $archive = $ground->{archives}{$table})
		{
			$complain->("format('%s: %s rows are gone, %s are archived, %s of them as they were', '$table', gone, archived, alike)",
				"(SELECT (SELECT count(*) FROM $rows WHERE due AND done) AS gone, (SELECT count(*) FROM $archive) AS archived,
				(SELECT count(*) FROM $archive AS a JOIN was.$table AS w USING (id) WHERE to_jsonb(a) @> to_jsonb(w.was)) AS alike) AS x WHERE gone <> archived OR gone <> alike");
			$complain->("format('%s: run %s has archived %s rows, its ledger says %s', '$table', run, archived, told)",
				"(SELECT run, count(*) AS archived, (SELECT sum(affected) FROM $ledger AS l WHERE l.run = a.run AND relation = 'public.' || $name) AS told
				FROM (SELECT retention_run_id AS run FROM $archive) AS a GROUP BY run) AS x WHERE archived IS DISTINCT FROM told");
		}
	}
	$complain->(q{format('%s families are torn, as that of %s', n, example)}, 'torn WHERE n <> 0');
	push @with, 'torn AS (SELECT count(*) AS n, min(root) AS example FROM (SELECT root FROM (' . join(' UNION ALL ', @families) . ') AS f GROUP BY root HAVING bool_or(done) AND NOT bool_and(done)) AS t)';

	# What the history says of itself.
	$complain->(q{format('run %s says %s rows and batches %s, its ledger %s and %s', id, affected, batches, told, told_batches)},
		"(SELECT r.id, r.affected, r.batches, COALESCE(l.told, 0) AS told, COALESCE(l.batches, 0) AS told_batches FROM retention.runs AS r
		LEFT JOIN (SELECT run, sum(affected) FILTER (WHERE action <> 'dependent') AS told, max(batch) AS batches FROM $ledger AS l GROUP BY run) AS l ON l.run = r.id
		WHERE r.id > $since AND r.policy = '$ground->{name}') AS x WHERE affected <> told OR batches <> told_batches");
	$complain->(q{format('run %s says dependents %s, its ledger %s', id, dependents, told)},
		"(SELECT r.id, r.dependents, COALESCE((SELECT jsonb_object_agg(relation, n) FROM (SELECT relation, sum(affected) AS n FROM $ledger AS l WHERE l.run = r.id AND action = 'dependent' GROUP BY relation) AS s), '{}') AS told
		FROM retention.runs AS r WHERE r.id > $since AND r.policy = '$ground->{name}') AS x WHERE NOT dependents @> told OR (SELECT count(*) FROM jsonb_each(dependents) WHERE value <> '0') <> (SELECT count(*) FROM jsonb_each(told))");
	$complain->(q{format('run %s ended as %s (success %s, SQLSTATE %s)', id, stop_reason, success, sqlstate)},
		"retention.runs AS r WHERE r.id > $since AND r.policy = '$ground->{name}' AND (stop_reason NOT IN ('done', 'interrupted', 'cancelled', 'running', '$reason') OR success <> (stop_reason IN ('done', 'running'))
		OR (stop_reason = 'cancelled') <> COALESCE(sqlstate = '57014', false))");

	$complain->(q{format('run %s is of "%s", which is no policy', id, policy)}, 'retention.run AS r WHERE NOT EXISTS (SELECT FROM retention.policy AS p WHERE p.name = r.policy)');

	# What a run may leave behind.
	$complain->(q{format('%s %s is left of process %s', mode, locktype, pid)}, q{pg_locks WHERE locktype = 'advisory'});
	$complain->(q{format('the session %s (%s) is left', pid, application_name)}, q{pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()});
	$complain->(q{format('the temporary file %s is left', name)}, 'pg_ls_tmpdir()');
	$complain->(q{format('the prepared transaction %s is left', gid)}, 'pg_prepared_xacts');
	$complain->(q{format('the replication slot %s is left', slot_name)}, 'pg_replication_slots');
	$complain->(q{format('retention.progress shows run %s of process %s', run, pid)}, 'retention.progress');
	return ask($server, 'WITH ' . join(",\n", @with) . "\n" . join("\nUNION ALL\n", @complaints));
}

1;
