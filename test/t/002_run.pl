# The commands run, preview and status against a stand-in for the engine: what is sent, what is reported, how it ends.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use IPC::Run ();
use JSON::PP;
use Test::More;

my $server = new_server('run');
install_stand_in($server, runner_version());
my $time = timestamp_like();

# Runs the runner against this server.
sub here
{
	my ($arguments, $env) = @_;
	return runner($arguments, server => $server, env => $env);
}

sub forget { $server->safe_psql('postgres', 'TRUNCATE stand_in.trace, stand_in.call'); return }

# --- run: one, several, failing ones, all
{
	my ($code, $out, $err) = here([ 'run', 'carts' ]);
	is_deeply([ $code, $err ], [ 0, '' ], 'a policy that succeeds ends with 0 and leaves standard error empty');
	like($out, qr/\A$time carts: ok: Deleted 1200 cart items \([^\n]*\)\n\z/, 'a policy that succeeds is one line with its message');
	like($out, qr/\b$_\b/, "the line says \"$_\"")
	  for 'run 42', 'delete 1200 rows', '40 subjects', 'dependent public.prices 5', '3 skipped as locked',
	  '2 skipped as blocked', '1 skipped as held', '4 skipped as returned', '6 failed', 'cutoff 2025-01-31T22:30:00.000001Z', '1234.6 ms';
	unlike($out, qr/stopped/, 'a run that came to its end is not said to have stopped');
	is(trace($server), 'carts', 'the policy was run once, and committed');
	(undef, $out) = here([ 'run', 'forever' ]);
	like($out, qr/ forever: ok: nothing expires \(.*cutoff -infinity.*stopped: paused/, 'a run that stopped early says why');
	forget();
}
{
	my ($code, $out) = here([ 'run', 'b', 'a', 'c' ]);
	is($code, 0, 'several policies that succeed end with 0');
	is(trace($server), 'b a c', 'several policies run in the order given');
	is(scalar(lines($out)), 3, 'several policies are one line each');
	forget();
}
{
	my ($code, $out, $err) = here([ 'run', 'first', 'unknown', 'fails', 'empty', 'last' ]);
	is($code, 1, 'a policy that fails beside good ones ends with 1');
	is(trace($server), 'first empty last', 'a policy that fails does not stop the others, nor undo them');
	my @line = lines($out);
	is(scalar(@line), 5, 'good and failed policies are one line each');
	like($line[0], qr/^$time first: ok: /, 'the good policy before the failure is reported');
	like($line[1], qr/^$time unknown: failed: policy "unknown" does not exist .*SQLSTATE 42704/, 'an SQL error is the failure of its policy');
	like($line[2], qr/^$time fails: failed: division\\nby zero .*SQLSTATE 22012/, 'a result without success is a failure, on one line');
	like($line[3], qr/^$time empty: failed: /, 'no result at all is a failure');
	like($line[4], qr/^$time last: ok: /, 'the good policy after the failures is reported');
	like($err,
		qr/^pg_retention: error: policy "unknown": ERROR:  policy "unknown" does not exist \(SQLSTATE 42704\)\nDETAIL:  There are 3 policies\.\nHINT:  See retention\.policies\./m,
		'a server error is shown whole: severity, message, SQLSTATE, detail and hint');
	like($err, qr/^pg_retention: error: policy "fails": division\nby zero \(SQLSTATE 22012\)\nDETAIL:  In row 4\./m, 'a failed result is shown with its SQLSTATE and detail');
	forget();
}
{
	my ($code, undef, $err) = here([ 'run', 'times_out' ]);
	is($code, 1, 'a statement that the server cancels on its own ends with 1');
	like($err, qr/statement timeout/, 'a cancellation that nobody asked the runner for keeps the server\'s reason');
	unlike($err, qr/SIG/, 'a cancellation that nobody asked the runner for is not called a signal');
	($code) = here([ 'run', 'not_mine', 'mine' ]);
	is($code, 1, 'a policy that this user may not run is the failure of that policy');
	is(trace($server), 'mine', 'a policy that this user may not run does not stop the others');
	forget();
}
{
	my ($code, $out, $err) = here([ 'run', '--all' ]);
	is_deeply([ $code, $out ], [ 0, '' ], 'an empty run list ends with 0');
	like($err, qr/no policies to run/, 'an empty run list is said to be empty');
	$server->safe_psql('postgres', q{INSERT INTO stand_in.run_list (policy) VALUES ('z'), ('fails'), ('a')});
	($code, $out) = here([ 'run', '--all' ]);
	is($code, 1, 'run --all with a failing policy ends with 1');
	is(trace($server), 'z a', 'run --all runs the run list in its order, past a failure');
	forget();
}
{
	my $name = q{o'dd "name" $1; --};
	my ($code) = here([ 'run', '--', $name, '-x' ]);
	is($code, 0, 'a policy may have any name');
	is(trace($server), "$name -x", 'a name reaches the server as it was given');
	forget();
}

{
	my ($code, $out, $err) = here([ 'run', "\e[31mred" ]);
	is($code, 1, 'a name with control characters is a name like any other');
	like($out, qr/ \Q\x1b[31mred\E: failed: /, 'control characters in a name are shown as codes in the report');
	like($err, qr/policy "\Q\x1b[31mred\E"/, 'control characters in a name are shown as codes in an error');
	unlike($out . $err, qr/\e/, 'no control character of a name reaches the terminal');
}

# --- what is sent
{
	my $log = server_log_of($server, sub { here([ 'run', 'carts', 'bookings' ]) });
	my @sent = $log =~ /LOG:  (?:statement|execute <unnamed>): (.*)/g;
	my @calls = grep { $sent[$_] =~ /^CALL retention\.run\(\$1\)$/ } 0 .. $#sent;
	is(scalar(@calls), 2, 'each policy is one call of the committing procedure');
	is(scalar(grep { /\b(?:BEGIN|COMMIT|START)\b/i } @sent), 0, 'a run leaves the transactions to the server');
	is(scalar(grep { /search_path/ } @sent[ 0 .. $calls[-1] ]), 0, 'the user\'s search_path is left alone while policies run: presets are found on it');
	my ($extension) = grep { $sent[$_] =~ /pg_extension/ } 0 .. $#sent;
	my ($library) = grep { $sent[$_] =~ /library_version/ } 0 .. $#sent;
	ok($extension < $calls[0] && $library < $calls[0], 'the versions are asked for before any policy is run');
	my $unqualified = join "\n", grep { /(?<!\.)\b(?:to_char|timezone|date_part|pg_extension|pg_is_in_recovery|pg_proc|clock_timestamp|set_config)\b/ } @sent[ 0 .. $calls[-1] + 1 ];
	is($unqualified, '', 'everything that is sent is qualified');
	like($log, qr/parameters: \$1 = 'carts'/i, 'the policy is sent as a parameter');
	forget();
}
for my $case (
	[ [], { strict => JSON::PP::true } ],
	[ [ '--max-rows', 10 ], { strict => JSON::PP::true, max_rows => 10 } ],
	[ [ '--max-runtime=1 hour' ], { strict => JSON::PP::true, max_runtime => '01:00:00' } ],
	[ [ '--max-runtime', 90 ], { strict => JSON::PP::true, max_runtime => '00:01:30' } ],
	[ [ '--batch-rows', 500, '--sleep', '20 ms' ], { strict => JSON::PP::true, batch_rows => 500, sleep => '00:00:00.02' } ],
	[ ['--no-strict'], { strict => JSON::PP::false } ],
	[ [ '--max-rows-per-second', 1000 ], { strict => JSON::PP::true, max_rows_per_second => 1000 } ])
{
	my ($options, $given) = @$case;
	my ($code) = here([ 'run', 'carts', @$options ]);
	my ($call) = calls($server, 'carts');
	is($code, 0, "a run with \"@$options\" ends with 0");
	is_deeply([ @$call{qw(slice slices given)} ], [ undef, undef, $given ], "the server is given what \"@$options\" says, and no slice");
	forget();
}
for my $case ([ '--max-runtime', 'soon' ], [ '--sleep', '3 parsecs' ], [ '--max-runtime', '0' ], [ '--sleep', '-1 s' ])
{
	my ($option, $value) = @$case;
	my ($code, $out, $err) = here([ 'run', 'carts', "$option=$value" ]);
	is_deeply([ $code, $out ], [ 2, '' ], "$option=$value ends with 2");
	like($err, qr/^pg_retention: error: invalid value "\Q$value\E" for option $option: must be an interval.*\n.*--help/, "$option=$value is refused by name");
	is(trace($server), '', "$option=$value runs no policy");
}
{
	my $log = server_log_of($server, sub { here([ 'run', '--single-transaction', 'carts', 'unknown', 'bookings' ]) });
	my @sent = $log =~ /LOG:  (?:statement|execute <unnamed>): (.*)/g;
	is(scalar(grep { /FROM retention\.apply\(\$1\)/ } @sent), 3, 'with --single-transaction each policy is one statement');
	is(scalar(grep { /CALL/ } @sent), 0, 'with --single-transaction no procedure that commits is called');
	is(trace($server), 'carts bookings', 'with --single-transaction a policy that fails does not stop the others');
	forget();
	my ($code, $out) = here([ 'run', '--single-transaction', '--log-format=json', 'carts' ]);
	my ($line) = objects($out);
	is_deeply([ $code, @$line{qw(affected run_id)} ], [ 0, 1200, 42 ], 'with --single-transaction the result is reported in the same way');
	forget();
}
{
	$server->safe_psql('postgres', q{
		CREATE SCHEMA trap;
		CREATE FUNCTION trap.to_char(timestamp, text) RETURNS text LANGUAGE sql AS $$ SELECT 'trapped' $$;
		CREATE FUNCTION trap.date_part(text, interval) RETURNS float8 LANGUAGE sql AS $$ SELECT 1e9::float8 $$;
		CREATE FUNCTION trap.name_equals(name, name) RETURNS bool LANGUAGE sql AS $$ SELECT false $$;
		CREATE OPERATOR trap.= (LEFTARG = name, RIGHTARG = name, FUNCTION = trap.name_equals);
		CREATE TABLE trap.pg_extension (extname name, extversion text);
		CREATE FUNCTION trap.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS $$ SELECT true $$;});
	my ($code, $out) = here([ 'run', 'carts' ], { PGOPTIONS => '-c search_path=trap,pg_catalog,public' });
	is($code, 0, 'a search_path with other functions of the same names does not mislead the runner');
	unlike($out, qr/trapped/, 'no function is taken from the search_path');
	ok($server->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pg_retention')}), 'no connection is left behind');
	forget();
}

# --- json
{
	my ($code, $out) = here([ 'run', '--log-format=json', 'carts', 'unknown', 'fails', 'forever' ]);
	is($code, 1, 'a failing policy ends with 1 in the JSON format too');
	my ($good, $unknown, $fails, $forever) = objects($out);
	my @keys = sort qw(time policy success message run_id action affected subjects dependents skipped cutoff started
	  finished duration_ms batches stop_reason sqlstate error_detail slices);
	is_deeply([ sort keys %$_ ], \@keys, "the line of \"$_->{policy}\" has every key") for $good, $unknown, $fails, $forever;
	like($good->{time}, qr/\A$time\z/, 'the time of a line is RFC 3339 in UTC');
	ok($good->{success} && JSON::PP::is_bool($good->{success}), 'success is a boolean');
	delete $good->{time};
	is_deeply(
		{ %$good, dependents => undef, success => undef },
		{   policy => 'carts', success => undef, message => 'Deleted 1200 cart items', run_id => 42, action => 'delete',
			affected => 1200, subjects => 40, dependents => undef,
			skipped => { locked => 3, blocked => 2, held => 1, returned => 4, failed => 6 },
			cutoff => '2025-01-31T22:30:00.000001Z', started => '2025-05-01T00:00:00.000000Z',
			finished => '2025-05-01T00:00:01.234567Z', duration_ms => 1234.567, batches => 2, stop_reason => 'done',
			sqlstate => undef, error_detail => undef, slices => [] },
		'the line has what the server returned');
	like($out, qr/"affected":1200,/, 'counts are numbers');
	is($good->{dependents}{'public.prices'}, 5, 'dependents are an object of relation and rows');
	is($good->{dependents}{'shop."odd"'}, '9007199254740993', 'counts beyond 2^53 are exact');
	is_deeply([ @$unknown{qw(success message sqlstate run_id cutoff)} ], [ JSON::PP::false, 'policy "unknown" does not exist', '42704', undef, undef ], 'an SQL error has its message and SQLSTATE');
	like($unknown->{error_detail}, qr/There are 3 policies\.\nHINT:  See retention\.policies\./, 'the detail and the hint of an SQL error are kept');
	is_deeply([ @$fails{qw(success message sqlstate error_detail stop_reason)} ], [ JSON::PP::false, "division\nby zero", '22012', 'In row 4.', 'error' ], 'a failed result keeps its message, SQLSTATE and detail');
	is($forever->{cutoff}, '-infinity', 'an infinite instant is said to be infinite');
	is_deeply($forever->{dependents}, {}, 'no dependents are an empty object');
	forget();

	# Under these styles the server writes IST for India's time and would read it as Israel's.
	for my $style ('German', 'SQL, DMY', 'Postgres')
	{
		my (undef, $other) = here([ 'run', '--log-format=json', 'carts' ], { PGOPTIONS => "-c datestyle=@{[ $style =~ s/ //r ]} -c timezone=Asia/Kolkata" });
		my ($line) = objects($other);
		is($line->{cutoff}, '2025-01-31T22:30:00.000001Z', "the cutoff is RFC 3339 in UTC under DateStyle $style and another time zone");
	}
	forget();

	my ($latin) = here([ 'run', '--log-format=json', "caf\xc3\xa9" ], { PGCLIENTENCODING => 'LATIN1' });
	is(trace($server), "caf\xc3\xa9", 'names are UTF-8 whatever the environment\'s client encoding');
	forget();
}

# --- quiet and verbose
{
	my ($code, $out, $err) = here([ 'run', '-q', 'carts', 'talks' ]);
	is_deeply([ $code, $out, $err ], [ 0, '', '' ], 'a quiet run that succeeds says nothing');
	($code, $out, $err) = here([ 'run', '--quiet', 'carts', 'fails' ]);
	like($out, qr/\A$time fails: failed: [^\n]*\n\z/, 'a quiet run shows the policy that failed, and only that');
	like($err, qr/policy "fails"/, 'a quiet run shows errors');

	($code, $out, $err) = here([ 'run', 'talks' ]);
	is($err, '', 'notices of the server are not shown unless asked for');
	my $version = runner_version();
	($code, $out, $err) = here([ 'run', '--verbose', 'talks' ]);
	like($err, qr/^pg_retention: NOTICE:  three carts are large\nHINT:  Look at them\.$/m, 'a verbose run shows notices with severity and hint');
	like($err, qr/^pg_retention: WARNING:  one cart is huge$/m, 'a verbose run shows warnings with their severity');
	like($err, qr/^pg_retention: versions: program \Q$version\E, library \Q$version\E, extension \Q$version\E, server \d/m, 'a verbose run shows the versions');
	like($err, qr/^pg_retention: statement: CALL retention\.run\(\$1\)/m, 'a verbose run shows the statements that it sends');
	is(scalar(lines($out)), 1, 'what a verbose run adds is not on standard output');
	forget();
}

# --- output that cannot be written
SKIP:
{
	skip 'no /dev/full here', 3 unless -c '/dev/full';
	local %ENV = (%ENV, PGHOST => $server->host, PGPORT => $server->port, PGDATABASE => 'postgres');
	my $err = '';
	IPC::Run::run([ runner_program(), 'run', 'carts', 'bookings' ], '>', '/dev/full', '2>', \$err);
	is($? >> 8, 1, 'a report that cannot be written ends with 1');
	like($err, qr/could not write to standard output/, 'a report that cannot be written is an error');
	is(trace($server), 'carts bookings', 'a report that cannot be written does not stop the work');
	forget();
}

# --- preview
{
	my ($code, $out, $err);
	my $log = server_log_of($server, sub { ($code, $out, $err) = here([ 'preview', 'carts' ]) });
	is_deeply([ $code, $err ], [ 0, '' ], 'a preview ends with 0');
	like($log, qr/BEGIN TRANSACTION READ ONLY.*FROM retention\.preview\(\$1\)/s, 'a preview runs in a read-only transaction');
	unlike($log, qr/retention\.(?:apply|run)/, 'a preview runs no policy');
	like($out, qr/^Policy carts\n relation +\| role +\| expected rows \|.*\n-+\+/, 'a preview is a table with the policy\'s name');
	like($out, qr/^ public\.cart_items \| target +\| +1200 \| +2 \| +1 \| 2024-01-01T00:00:00\.000000Z \| 2025-01-31T22:00:00\.000000Z \| \[\{"id": 1\}/m, 'a preview shows rows, blocked, held, oldest, newest and sample keys');
	like($out, qr/^ public\.prices +\| dependent \| +5 \|/m, 'a preview shows the dependents');

	($code, $out) = here([ 'preview', '--log-format', 'json', 'carts' ]);
	my ($line, @more) = objects($out);
	is(scalar(@more), 0, 'a preview in JSON is one line for each policy');
	is_deeply([ map { [ @$_{qw(relation role expected_rows blocked held)} ] } @{ $line->{relations} } ],
		[ [ 'public.cart_items', 'target', 1200, 2, 1 ], [ 'public.prices', 'dependent', 5, 0, 0 ] ], 'a preview in JSON lists the relations');
	is_deeply($line->{relations}[0]{sample_keys}, [ { id => 1 }, { id => 2 } ], 'sample keys in JSON are JSON');
	is($line->{relations}[1]{oldest}, undef, 'an unknown instant in JSON is null');

	($code, $out, $err) = here([ 'preview', 'unknown', 'carts' ]);
	is($code, 1, 'a preview that fails ends with 1');
	like($out, qr/^Policy unknown\n failed: policy "unknown" does not exist.*^Policy carts\n relation/ms, 'a preview that fails does not stop the others');
	like($err, qr/SQLSTATE 42704.*HINT:  See retention\.policies/s, 'a preview that fails shows the whole error');

	($code, $out) = here([ 'preview', '--log-format=json' ]);
	is_deeply([ map { $_->{policy} } objects($out) ], [ 'z', 'fails', 'a' ], 'a preview without names takes the run list');
	($code) = here([ 'preview', 'writes' ]);
	is($code, 1, 'a preview that tries to change something fails');
	is(trace($server), '', 'a preview cannot change anything');
}

# --- status
{
	my ($code, $out, $err) = here(['status']);
	is_deeply([ $code, $err ], [ 0, '' ], 'status ends with 0');
	like($out, qr/^ policy +\| paused \| target +\| action \| expire after +\| last run +\| outcome/, 'status is a table with a header');
	like($out, qr/^ inactive_carts \| no +\| public\.cart_items \| delete \| 90 days 02:00:00 \| 2025-05-01T00:00:00\.000000Z +\| success +\| +1200 \|/m, 'status shows the last run of a policy');
	like($out, qr/^ never_run +\| yes/m, 'status shows a paused policy that never ran');
	like($out, qr/^ stopped +\| no .*\| needs approval of run 43 +\| +0 \|/m, 'status shows a policy that waits for an approval, and of which run');
	my (undef, $same) = here(['status'], { PGOPTIONS => '-c intervalstyle=sql_standard -c timezone=Asia/Karachi -c datestyle=German' });
	is($same, $out, 'status does not depend on the session\'s styles');

	($code, $out) = here([ 'status', '--log-format=json' ]);
	my ($carts, $never, $stopped) = objects($out);
	delete $carts->{time};
	is_deeply($carts,
		{   policy => 'inactive_carts', paused => JSON::PP::false, target => 'public.cart_items', action => 'delete',
			expire_after => 'P90DT2H', last_run_id => 42, last_started => '2025-05-01T00:00:00.000000Z',
			last_finished => '2025-05-01T00:00:01.234567Z', last_outcome => 'success', last_affected => 1200,
			last_success => '2025-05-01T00:00:01.234567Z', runs => 12, failures => 1,
			needs_approval => JSON::PP::false, fuse => undef, fuse_run => undef, fuse_expected => undef, fuse_allowed => undef },
		'status in JSON has every column, the period as an ISO 8601 duration');
	is_deeply([ @$never{qw(paused last_run_id last_started)} ], [ JSON::PP::true, undef, undef ], 'status in JSON has null for a run that never was');
	is_deeply([ @$stopped{qw(needs_approval fuse fuse_run fuse_expected fuse_allowed)} ], [ JSON::PP::true, 'max_rows', 43, 1000, 100 ], 'and the fuse that blew');
}

$server->stop;
done_testing();
