# A standby that is promoted in the middle of a run: what it has of the rows is what it has of the ledger, and a run there finishes.
#
# The moments are chosen by PG_RETENTION_CRASH_SEED; PG_RETENTION_CRASH_MOMENTS over 300 tries more of them.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use CrashGround;
use CrashRun;
use ServerSession;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{PG_RETENTION_CRASH_SEED} // int(rand(1_000_000)) + $$;
my $rounds = ($ENV{PG_RETENTION_CRASH_MOMENTS} // 0) > 300 ? 12 : 3;
srand $seed;
note("seed $seed");

my $primary = crash_server('crash_primary', "max_wal_senders = 4\n");
make_grounds($primary, qw(carts sessions letters tickets));
my @grounds = grep { $_->{name} =~ /^(?:carts|sessions|letters|tickets)$/ } grounds();
fill_ground($primary, $_) for @grounds;
my @ends = ('goes on', 'is shut down at once');

sub promoted_round
{
	my ($round, $jobs, $end) = @_;
	my $ground = $grounds[ $round % @grounds ];
	my $batches = 1 + int rand 8;
	my $title = "$round: a standby promoted in batch $batches of $ground->{name} with $jobs jobs, while the primary $end";
	fill_ground($primary, $ground);
	my $standby = PostgreSQL::Test::Cluster->new("crash_standby_$round");
	$primary->backup("base_$round");
	$standby->init_from_backup($primary, "base_$round", has_streaming => 1);
	$standby->start;

	# Slice 1 is held in its last batch there, the rows changed and the ledger not written; the others go on. Every second time the standby
	# has stopped to replay somewhere before, and is promoted with what it has received.
	my $holder = gate($primary, $batches);
	my $run = begin_run($primary, policy => $ground->{name}, by => 'runner', jobs => $jobs, batch_rows => 100, arguments => [ '--vacuum', 'never' ],
		settings => { %{ $ground->{settings} }, lock_timeout => 0, 'retention.lock_timeout' => 0 });
	poll('the run on the standby', sub { (answer($standby, "SELECT count(*) > 0 FROM retention.runs WHERE id > $run->{since}") // '') eq 't' });
	answer($standby, 'SELECT pg_wal_replay_pause()') if $round % 2;
	poll('the run at the gate', sub { answer($primary, q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crash' AND wait_event = 'advisory'}) == 1 });
	strike($run, 'postmaster QUIT') if $end eq $ends[1];
	$standby->promote;
	poll('the end of recovery', sub { (answer($standby, 'SELECT pg_is_in_recovery()') // '') eq 'f' });

	is(audit($standby, $ground), '', "G3 G4 G10 $title: the promoted server has of the ledger what it has of the rows");
	my $left = left_to_do($standby, $ground);
	my $reasons = answer($standby, "SELECT COALESCE(string_agg(DISTINCT stop_reason, ' '), '') FROM retention.runs WHERE id > $run->{since}");
	isnt($left, 0, "$title: something due is left there") and note("$left rows");
	like($reasons, qr/interrupted/, "$title: the run is interrupted there");
	my ($status, $out, $err) = settle(begin_run($standby, policy => $ground->{name}, by => 'runner', jobs => $jobs, settings => $ground->{settings}), '');
	is($status, 0, "G10 $title: a run on the promoted server succeeds") or diag($out, $err);
	is(audit($standby, $ground, 1), '', "G3 G4 G10 $title: then every due row is done there, once, and in the ledger");
	$standby->stop;

	# What the old primary did until it knew, or died, is true there too.
	if ($end eq $ends[1])
	{
		settle($run, 'postmaster QUIT');
		ask($primary, 'DROP FUNCTION watch.wait_here() CASCADE');
	}
	else
	{
		open_gate($primary, $holder);
		settle($run, '');
	}
	is(audit($primary, $ground), '', "G3 G4 G10 $title: the old primary is true to itself");
	return;
}

promoted_round($_, $_ % 2 ? 4 : 1, $ends[ int($_ / 2) % 2 ]) for 1 .. $rounds;

$primary->stop;
done_testing();
