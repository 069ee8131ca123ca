# Several connections: slices of one policy, several policies at once, one summed result, and how all of it ends.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use JSON::PP;
use Test::More;

my $server = new_server('jobs');
install_stand_in($server, runner_version());
$server->safe_psql('postgres', q{
	CREATE TABLE items (); CREATE TABLE sessions (); CREATE TABLE bookings ();
	INSERT INTO retention.policy (name, run_order, target) VALUES
		('waits_items', 0, 'items'), ('items_too', 0, 'items'), ('waits_sessions', 0, 'sessions'), ('waits_bookings', 0, 'bookings'),
		('sooner', -1, 'items'), ('later', 1, 'items'), ('later_too', 1, 'sessions')});
my $time = timestamp_like();

# Runs the runner against this server.
sub here
{
	my ($arguments, %with) = @_;
	return runner($arguments, server => $server, %with);
}

# Closes the gate that policies wait for; what it gives opens it.
sub closed_gate
{
	my $gate = $server->background_psql('postgres');
	$gate->query_safe('BEGIN; LOCK TABLE stand_in.gate');
	return $gate;
}

# The policies that were called, in the order in which they began.
sub called { return $server->safe_psql('postgres', q{SELECT coalesce(string_agg(concat_ws('/', policy, slice, slices), ' ' ORDER BY at), '') FROM stand_in.call}) }

sub forget { $server->safe_psql('postgres', 'TRUNCATE stand_in.trace, stand_in.call, stand_in.runs'); return }

# --- one policy, cut
{
	my ($code, $out, $err) = here([ 'run', 'carts', '-j', 3 ]);
	is_deeply([ $code, $err ], [ 0, '' ], 'a policy cut in three that succeeds ends with 0');
	like($out, qr/\A$time carts: ok: deleted 3606 rows in 3 slices \(runs 43 44 45, delete 3606 rows, [^\n]*\)\n\z/, 'a policy that was cut is one line with its runs');
	my @calls = calls($server, 'carts');
	is_deeply([ map { [ @$_{qw(slice slices)} ] } @calls ], [ [ 1, 3 ], [ 2, 3 ], [ 3, 3 ] ], 'each slice is asked for once');
	is(scalar(keys %{ { map { $_->{pid} => 1 } @calls } }), 3, 'each slice has a connection of its own');
	forget();

	my ($line, @more) = objects((here([ 'run', '--log-format=json', '--jobs=3', 'carts' ]))[1]);
	is(scalar(@more), 0, 'a policy that was cut is one line in JSON');
	is_deeply([ @$line{qw(policy action affected subjects batches stop_reason run_id)} ], [ 'carts', 'delete', 3606, 126, 12, 'done', undef ], 'counts of slices are summed');
	is_deeply($line->{skipped}, { locked => 15, blocked => 12, held => 9, returned => 18, failed => 24 }, 'skipped rows of slices are summed by their reason');
	my %dependents = map { $_ => "$line->{dependents}{$_}" } keys %{ $line->{dependents} };
	is_deeply(\%dependents, { 'public.prices' => '19', 'shop."odd"' => '9007199254740993', 'shop.late' => '2' }, 'dependents of slices are summed by their table, exactly');
	is_deeply([ @$line{qw(cutoff started finished duration_ms)} ],
		[ '2025-01-31T22:30:01.000001Z', '2025-04-30T23:59:57.000000Z', '2025-05-01T00:00:04.234567Z', 7234.567 ],
		'the sum begins with the first slice and ends with the last');
	is_deeply([ map { [ @$_{qw(slice run_id affected success)} ] } @{ $line->{slices} } ],
		[ [ 1, 43, 1201, JSON::PP::true ], [ 2, 44, 1202, JSON::PP::true ], [ 3, 45, 1203, JSON::PP::true ] ], 'the slices are listed with their runs');
	forget();

	($line) = objects((here([ 'run', '--log-format=json', '-j2', 'limited' ]))[1]);
	is_deeply([ $line->{success}, $line->{stop_reason} ], [ JSON::PP::true, 'max_rows' ], 'a slice that stopped early is why the policy stopped');
	forget();
	($code, $out) = here([ 'run', 'carts', '-j', 1 ]);
	is(called(), 'carts', 'with one job nothing is cut');
	forget();
}
{
	my $gate = closed_gate();
	my $run = start_runner([ 'run', 'waits', 'after', '-j', 3 ], server => $server);
	wait_until_waiting($server, 3);
	like(called(), qr{^(?:waits/\d/3 ?){3}$}, 'the slices of a policy are under way at once, and no policy after it');
	$gate->quit;
	is(code_of($run), 0, 'slices that waited come to their end');
	like($run->{out}, qr/\A$time waits: ok: [^\n]*\n$time after: ok: [^\n]*\n\z/, 'policies are reported in their order');
	forget();
}

# --- what counts rows is divided
for my $case (
	[ 'max_rows', [ '--max-rows', 10, '-j', 3 ], [ 4, 3, 3 ] ],
	[ 'max_rows', [ '--max-rows', 2, '-j', 3 ], [ 1, 1 ] ],
	[ 'max_rows', [ '--max-rows', 1, '-j', 3 ], [1] ],
	[ 'max_rows_per_second', [ '--max-rows-per-second', 11, '-j', 3 ], [ 4, 4, 3 ] ],
	[ 'max_rows_per_second', [ '--max-rows-per-second', 2, '-j', 3 ], [ 1, 1 ] ],
	[ 'batch_rows', [ '--batch-rows', 7, '-j', 2 ], [ 7, 7 ] ],
	[ 'max_runtime', [ '--max-runtime', '1 h', '-j', 2 ], [ '01:00:00', '01:00:00' ] ],
	[ 'strict', [ '--no-strict', '-j', 2 ], [ JSON::PP::false, JSON::PP::false ] ])
{
	my ($key, $options, $parts) = @$case;
	my ($code) = here([ 'run', 'carts', @$options ]);
	is($code, 0, "a run with @$options ends with 0");
	is_deeply([ map { $_->{given}{$key} } calls($server, 'carts') ], $parts, "@$options is given to the slices as @$parts");
	forget();
}

# --- several policies at once
{
	my $gate = closed_gate();
	my $run = start_runner([ 'run', 'waits_items', 'items_too', 'waits_sessions', '-j', 2 ], server => $server);
	wait_until_waiting($server, 2);
	is(join(' ', sort split / /, called()), 'waits_items waits_sessions', 'as many tables as jobs: whole policies side by side, those of one table in turn');
	$gate->quit;
	is(code_of($run), 0, 'policies side by side end with 0');
	is(scalar(lines($run->{out})), 3, 'policies side by side are one line each');
	is($server->safe_psql('postgres', q{SELECT count(DISTINCT pid) FROM stand_in.call}), 2, 'policies side by side share the connections');
	forget();

	here([ 'run', 'waits_items', 'waits_sessions', '-j', 2, '--max-rows', 9, '--max-rows-per-second', 9 ]);
	is_deeply([ map { [ @{ $_->{given} }{qw(max_rows max_rows_per_second)} ] } map { calls($server, $_) } 'waits_items', 'waits_sessions' ],
		[ [ 9, 4 ], [ 9, 4 ] ], 'of policies side by side each has its own rows, and its part of the rate');
	forget();

	here([ 'run', 'waits_items', 'items_too', '-j', 2 ]);
	like(called(), qr{^waits_items/\d/2 waits_items/\d/2 items_too/\d/2 items_too/\d/2$}, 'fewer tables than jobs: one policy after the other, each cut');
	forget();
}
{
	my $gate = closed_gate();
	my $run = start_runner([ 'run', 'waits_items', 'waits_sessions', 'later', 'later_too', '-j', 2 ], server => $server);
	wait_until_waiting($server, 2);
	is(join(' ', sort split / /, called()), 'waits_items waits_sessions', 'a policy of a later run_order does not begin before the earlier ones have ended');
	$gate->quit;
	is(code_of($run), 0, 'policies of several orders end with 0');
	my $first_later = $server->safe_psql('postgres', q{SELECT min(at) FROM stand_in.call WHERE policy LIKE 'later%'});
	my $last_earlier = $server->safe_psql('postgres', q{SELECT max(at) FROM stand_in.call WHERE policy LIKE 'waits%'});
	ok($first_later > $last_earlier, 'policies of a later run_order follow');
	forget();

	$server->safe_psql('postgres', q{INSERT INTO stand_in.run_list (policy) VALUES ('sooner'), ('waits_items'), ('waits_sessions'), ('later')});
	($run->{code}) = here([ 'run', '--all', '-j', 2 ]);
	is($run->{code}, 0, 'run --all with jobs ends with 0');
	like(called(), qr{^sooner/\d/2 sooner/\d/2 (?:waits_items waits_sessions|waits_sessions waits_items) later/\d/2 later/\d/2$}, 'run --all keeps run_order: alone in its order cut, several side by side');
	forget();
}

# --- failures
{
	my ($code, $out, $err) = here([ 'run', 'second_fails', 'after', '-j', 3 ]);
	is($code, 1, 'a slice that fails ends with 1');
	my @line = lines($out);
	like($line[0], qr/^$time second_fails: failed: slice 2 of 3: division\\nby zero \(runs 43 7 45, delete 2404 rows, .*SQLSTATE 22012/, 'a slice that fails is named, and what the others did is told');
	like($line[1], qr/^$time after: ok: /, 'a slice that fails does not stop the next policy');
	is(join(' ', sort grep { !/after/ } split / /, trace($server)), 'second_fails/1/3 second_fails/3/3', 'a slice that fails does not stop the other slices');
	like($err, qr/^pg_retention: error: policy "second_fails", slice 2 of 3: division\nby zero \(SQLSTATE 22012\)\nDETAIL:  In row 4\.\n\z/, 'a slice that fails is an error that names it');
	forget();

	my ($line) = objects((here([ 'run', '--log-format=json', '-j3', 'second_fails' ]))[1]);
	is_deeply([ @$line{qw(success sqlstate affected stop_reason)} ], [ JSON::PP::false, '22012', 2404, 'error' ], 'one slice that fails makes the policy a failure in JSON');
	is_deeply([ map { $_->{success} ? 1 : 0 } @{ $line->{slices} } ], [ 1, 0, 1 ], 'the slices in JSON say which of them failed');
	forget();

	($code, $out, $err) = here([ 'run', 'unknown', '-j', 3 ]);
	is($code, 1, 'an error of every slice ends with 1');
	like($out, qr/^$time unknown: failed: policy "unknown" does not exist \(/, 'an error of every slice is told once on standard output');
	is(scalar(() = $err =~ /does not exist/g), 1, 'an error of every slice is told once on standard error');
	forget();

	($code, $out) = here([ 'run', 'empty', '-j', 2 ]);
	like("$code $out", qr/^1 $time empty: failed: the server returned no result/, 'slices without a result are a failure');
	forget();
	($code, $out) = here([ 'run', 'read_only', 'later', '-j', 2 ]);
	is($code, 4, 'a server that takes no changes ends with 4 on several connections too');
	like($out, qr/ read_only: failed: .*\n\S+ later: failed: not run: /, 'a server that takes no changes is given no further policy');
	forget();
}

# --- signals
for my $signal (qw(INT TERM))
{
	my $gate = closed_gate();
	my $run = start_runner([ 'run', '--log-format=json', 'before', 'waits', 'after', '-j', 4 ], server => $server);
	wait_until_waiting($server, 4);
	kill $signal, $run->{pid};
	is(code_of($run), 1, "SIG$signal ends several connections with 1");
	my ($before, $waits, $after) = objects($run->{out});
	ok($before->{success}, "SIG$signal leaves what ended before reported as done");
	is_deeply([ @$waits{qw(message sqlstate stop_reason affected batches)} ], [ "cancelled by SIG$signal", '57014', 'cancelled', 400, 4 ],
		"SIG$signal cancels every slice, and what all of them had committed is reported");
	is_deeply([ @$after{qw(success message affected)} ], [ JSON::PP::false, "not run: stopped by SIG$signal", undef ], "SIG$signal starts no further policy");
	is(scalar(() = $run->{err} =~ /canceling statement/g), 1, "SIG$signal on several connections is told once");
	ok(sessions_gone($server), "SIG$signal leaves none of the sessions behind");
	$gate->quit;
	forget();
}
{
	my $gate = closed_gate();
	my $run = start_runner([ 'run', 'waits_items', 'waits_sessions', 'waits_bookings', '-j', 2 ], server => $server);
	wait_until_waiting($server, 2);
	kill 'INT', $run->{pid};
	is(code_of($run), 1, 'a signal ends policies side by side with 1');
	is(scalar(() = $run->{out} =~ /^\S+ waits_\w+: failed: cancelled by SIGINT \(run \d+, delete 100 rows/gm), 2, 'a signal cancels every policy under way');
	is(scalar(() = $run->{out} =~ /^\S+ waits_bookings: failed: not run: stopped by SIGINT/gm), 1, 'a signal begins none of those that wait for a connection');
	$gate->quit;
	forget();
}

# --- connections that break, or do not come about
{
	my $gate = closed_gate();
	my $run = start_runner([ 'run', '--log-format=json', 'waits', 'after', '-j', 3 ], server => $server);
	wait_until_waiting($server, 3);
	$server->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM stand_in.call WHERE slice = 2});
	ok($server->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'pg_retention'}), 'one of three connections is gone');
	$gate->quit;
	is(code_of($run), 1, 'a connection that is lost among others ends with 1');
	my ($waits, $after) = objects($run->{out});
	like($waits->{message}, qr/^slice 2 of 3: connection lost: terminating connection/, 'the slice of a lost connection is named');
	is($waits->{affected}, 1201 + 100 + 1203, 'the other slices finish, and what the lost one had committed is told');
	is_deeply([ map { $_->{stop_reason} } @{ $waits->{slices} } ], [ 'done', 'interrupted', 'done' ], 'the lost slice is one that was interrupted');
	ok($after->{success}, 'the connections that are left run the next policy');
	is_deeply([ map { [ @$_{qw(slice slices)} ] } calls($server, 'after') ], [ [ 1, 3 ], [ 2, 3 ], [ 3, 3 ] ], 'the connections that are left share all slices of it');
	forget();

	$gate = closed_gate();
	$run = start_runner([ 'run', 'waits', 'after', '-j', 3 ], server => $server);
	wait_until_waiting($server, 3);
	$server->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM stand_in.call});
	is(code_of($run), 1, 'losing every connection ends with 1');
	like($run->{out}, qr/^$time waits: failed: connection lost: .*\n$time after: failed: not run: connection lost/, 'losing every connection is told, and what was not run');
	$gate->quit;
	forget();

	$server->safe_psql('postgres', 'CREATE ROLE narrow LOGIN CONNECTION LIMIT 2');
	my ($code, $out, $err) = here([ 'run', 'carts', '-j', 3 ], env => { PGUSER => 'narrow' });
	is_deeply([ $code, $out ], [ 3, '' ], 'too few connections end with 3');
	like($err, qr/^pg_retention: error: .*too many connections for role "narrow"/, 'too few connections are said to be so');
	is(called(), '', 'too few connections run no policy');
	($code) = here([ 'run', 'carts', '-j', 3, '--max-rows', 2 ], env => { PGUSER => 'narrow' });
	is($code, 0, 'no more connections are opened than there is work for');
}

$server->stop;
done_testing();
