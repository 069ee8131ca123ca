# What others do to the tables, and to rows, between two batches of CALL retention.run.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use BatchedRun;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = PostgreSQL::Test::Cluster->new('altered');
$server->init;
$server->append_conf('postgresql.conf', "autovacuum = off\nfsync = off");
$server->start;
$server->safe_psql('postgres', 'CREATE EXTENSION pg_retention; CREATE EXTENSION pageinspect');
sub ask { return $server->safe_psql('postgres', $_[0]) }

# Runs a policy whose first batch is followed by a pause, in which `$meanwhile` happens; returns how the run ended.
my $sleeps = q{SELECT count(*) FROM retention.progress WHERE affected > 0};
sub during
{
	my ($policy, $meanwhile, %more) = @_;
	my $run = start_run($server, "'$policy', batch_rows => 1000, sleep => '3 s', max_runtime => '4 s'", map { "$_ = '$more{$_}'" } grep { /\./ } sort keys %more);
	$server->poll_query_until('postgres', $sleeps, $more{batches} // '1') or die 'the run never came to its first pause';
	ask($meanwhile);
	end_run($run);
	ask(qq{CALL retention.run('$policy')}) unless $more{once};
	return ask(q{SELECT stop_reason || '|' || COALESCE(message, '') FROM retention.runs ORDER BY id LIMIT 1 OFFSET (SELECT count(*) FROM retention.runs) - } . ($more{once} ? 1 : 2));
}

my $old = q{now() - interval '9 days'};

# ---- the target is replaced, detached, widened

ask(qq{CREATE TABLE ev (id int, at timestamptz); INSERT INTO ev SELECT g, $old FROM generate_series(1, 20000) g;
	SELECT retention.add_policy('ev', 'ev', '1 day', 'at')});
my $end = during('ev', q{ALTER TABLE ev RENAME TO ev_old; CREATE TABLE ev (LIKE ev_old); INSERT INTO ev SELECT * FROM ev_old}, once => 1);
is(ask('SELECT count(*) FROM ev') - ask('SELECT count(*) FROM ev_old'), 0, 'G2 a table that takes the name of the target loses no row');
like($end, qr/^error\|the tables of policy "ev" were altered during the run/, 'a run whose target was renamed ends and says so');

ask(qq{CREATE TABLE pe (id int, at timestamptz) PARTITION BY RANGE (id);
	CREATE TABLE pe1 PARTITION OF pe FOR VALUES FROM (0) TO (5000); CREATE TABLE pe2 PARTITION OF pe FOR VALUES FROM (5000) TO (10000);
	CREATE TABLE pe3 PARTITION OF pe FOR VALUES FROM (10000) TO (15000); CREATE TABLE pe4 PARTITION OF pe FOR VALUES FROM (15000) TO (20000);
	INSERT INTO pe SELECT g, $old FROM generate_series(0, 19999) g; SELECT retention.add_policy('pe', 'pe', '1 day', 'at');
	SELECT retention.add_policy('pj', 'pe', '1 day', 'at', condition => 'target.id IN (SELECT generate_series(0, 19999))')});
for my $way ('pe blocks', 'pe list', 'pj list')
{
	my ($policy, $walk) = split / /, $way;
	ask(qq{TRUNCATE pe; INSERT INTO pe SELECT g, $old FROM generate_series(0, 19999) g});
	during($policy, 'ALTER TABLE pe DETACH PARTITION pe2', 'retention.walk' => $walk);
	is(ask('SELECT count(*) FROM pe2'), '5000', "G2 $way: a partition that was detached keeps its rows");
	is(ask('SELECT count(*) FROM pe'), '0', "$way: the other partitions are emptied");
	ask('ALTER TABLE pe ATTACH PARTITION pe2 FOR VALUES FROM (5000) TO (10000)');
}
ask(qq{TRUNCATE pe; INSERT INTO pe SELECT g, $old FROM generate_series(0, 19999) g});
$end = during('pe', 'DROP TABLE pe3');
unlike($end, qr/^error/, 'a partition that is dropped ends no run');
is(ask('SELECT count(*) FROM pe'), '0', 'and the others are emptied');

my $people = qq{DROP TABLE IF EXISTS it, msg, u CASCADE; CREATE TABLE u (id bigint PRIMARY KEY, la timestamptz, note text) WITH (fillfactor = 50);
	CREATE TABLE it (id int PRIMARY KEY, uid int NOT NULL REFERENCES u, n int DEFAULT 0);
	INSERT INTO u SELECT g, $old FROM generate_series(1, 1000) g; INSERT INTO it SELECT g, 1 + g % 1000 FROM generate_series(1, 20000) g; ANALYZE u, it;
	SELECT retention.remove_policy('it', if_exists => true); SELECT retention.add_policy('it', 'it', '1 day', 'la', subject => 'u')};
ask($people);
during('it', q{ALTER TABLE it ALTER uid TYPE bigint; INSERT INTO u VALUES (4294967296 + 5, now()); INSERT INTO it SELECT -g, 4294967296 + 5 FROM generate_series(1, 10) g});
is(ask('SELECT count(*) FROM it'), '10', 'G1 a key column that is widened meanwhile: rows of an active user stay');

ask($people);
$end = during('it', q{ALTER TABLE u DROP COLUMN la; ALTER TABLE u ADD COLUMN la timestamptz DEFAULT now()}, once => 1);
like($end, qr/^error/, 'G1 a time column that is replaced meanwhile, without a row touched, ends the run');
cmp_ok(ask('SELECT count(*) FROM it'), '>=', 15000, 'G1 and what it had not removed by then stays');

# ---- rows that move

ask($people);
during('it', q{UPDATE u SET la = now() WHERE id <= 500; VACUUM FULL u});
is(ask('SELECT count(*) FROM it i JOIN u ON u.id = i.uid WHERE u.la > now() - interval $$1 day$$ AND i.id > 5000'), ask(q{SELECT count(*) FROM generate_series(5001, 20000) g WHERE 1 + g % 1000 <= 500}), 'G1 subjects that came back and were written anew keep their rows');
is(ask('SELECT count(*) FROM it i JOIN u ON u.id = i.uid WHERE u.la < now() - interval $$1 day$$'), '0', 'and the others lose theirs');

for my $walk (qw(blocks list))
{
	ask($people . q{; CREATE TABLE msg (uid bigint REFERENCES u, at timestamptz); SELECT retention.add_activity('it', 'msg', 'at', 'activity.uid = subject.id')});
	my $pages = q{SELECT string_agg(prune_xid::text || lower || upper, ',') FROM generate_series(0, 3) b, page_header(get_raw_page('u', b))};
	during('it', q{UPDATE u SET note = 'x' || id; VACUUM u; UPDATE u SET note = 'y' || id WHERE id % 2 = 0; VACUUM u}, 'retention.walk' => $walk);
	is(ask('SELECT count(*) FROM it'), '0', "$walk: subjects that were updated on their pages and vacuumed are found again, and nothing else is touched");
	is(ask('SELECT count(*) FROM u'), '1000', "G2 $walk: the subjects stay");
	is(ask(q{SELECT bool_and(affected = (SELECT sum(l.affected) FROM retention.ledger l WHERE l.run = r.id)) FROM retention.runs r WHERE affected > 0}), 't', "G4 $walk: the ledger is what the runs tell");
}

ask(qq{CREATE TABLE hot (id int PRIMARY KEY, at timestamptz, note text) WITH (fillfactor = 50); INSERT INTO hot SELECT g, $old FROM generate_series(1, 5000) g;
	SELECT retention.add_policy('hot', 'hot', '1 day', 'at')});
$end = during('hot', q{UPDATE hot SET note = 'x'; VACUUM hot; UPDATE hot SET note = 'y'}, 'retention.walk' => 'list', once => 1);
is(ask('SELECT (SELECT count(*) FROM hot) + (SELECT affected FROM retention.runs ORDER BY id DESC LIMIT 1)'), '5000', 'G9 rows that were updated on their pages are not lost from sight');

# ---- an update that leaves its rows victims is made once in a run

ask(qq{CREATE TABLE up (id int, at timestamptz, n int DEFAULT 0); INSERT INTO up SELECT g, $old FROM generate_series(1, 30000) g; DELETE FROM up WHERE id BETWEEN 15000 AND 25000; VACUUM up;
	SELECT retention.add_policy('up', 'up', '1 day', 'at', action => 'update', set_clause => 'n = target.n + 1')});
ask(q{CALL retention.run('up', batch_rows => 3000)});
is(ask('SELECT min(n) || $$|$$ || max(n) FROM up'), '1|1', 'G9 every row is updated once');
is(ask(q{SELECT affected FROM retention.runs ORDER BY id DESC LIMIT 1}), '19999', 'G4 and counted once');

# ---- a cancel undoes what it tells

ask(qq{INSERT INTO hot SELECT g, $old FROM generate_series(100001, 600000) g});
my $before = ask('SELECT count(*) FROM hot');
ask(q{CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN old; END $$;
	CREATE TRIGGER linger BEFORE DELETE ON hot FOR EACH ROW WHEN (old.id % 1000 = 0) EXECUTE FUNCTION linger()});
$server->psql('postgres', q{SET statement_timeout = '400ms'; CALL retention.run('hot', batch_rows => 3000000)}, stderr => \my $error);
like($error, qr/canceling statement due to statement timeout/, 'a cancel goes on to the client');
is(ask('SELECT count(*) FROM hot') + ask('SELECT affected FROM retention.runs ORDER BY id DESC LIMIT 1'), $before, 'G4 a cancelled run tells what it committed and not more');

ask('DROP TRIGGER linger ON hot');
my $locker = $server->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE retention.batch IN SHARE MODE');
$server->psql('postgres', q{SET statement_timeout = '1s'; CALL retention.run('hot')}, stderr => \$error);
like($error, qr/canceling statement/, 'a cancel while the ledger is written goes on as it is');
$locker->query_safe('ROLLBACK');
$locker->quit;
is(ask('SELECT stop_reason FROM retention.runs ORDER BY id DESC LIMIT 1'), 'cancelled', 'and the run is told as cancelled');

# ---- temporary files end with the run

my $reader = $server->background_psql('postgres', on_error_stop => 0);
$reader->query_safe(q{SET retention.walk = 'list'; SET retention.work_mem = '64kB'; SET statement_timeout = '150ms'});
$reader->query(q{CALL retention.run('hot')});
is(ask(q{SELECT policy, policy_version, started > now() - interval '1 hour', id = (SELECT last_value FROM retention.run_id_seq) FROM retention.run ORDER BY id DESC LIMIT 1}), 'hot|1|t|t',
	'G4 a run that is cancelled before its first commit is told under its own policy, time and id');
is(ask('SELECT stop_reason FROM retention.runs ORDER BY id DESC LIMIT 1'), 'cancelled', 'a run is cancelled while it makes its list');
is(ask('SELECT count(*) FROM pg_ls_tmpdir()'), '0', 'a run that was cancelled while its list was on disk leaves no temporary file');
$reader->{run}->kill_kill;

$server->stop;
done_testing();
