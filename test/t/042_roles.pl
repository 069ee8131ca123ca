# G8 the roles that the manual and README describe, with their GRANTs read from there; and whose rights a policy has, whoever runs it: psql,
# the program, pg_cron, a superuser, a role that was granted EXECUTE.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The block of SQL that follows a text in a page.
sub block_after
{
	my ($page, $text) = @_;
	my ($block) = slurp_file("$FindBin::RealBin/../../$page") =~ /\Q$text\E.*?\n```sql\n(.*?)```/s or die "$page has no SQL after \"$text\"\n";
	return $block;
}

chomp(my $share = qx("@{[$ENV{PG_CONFIG} || 'pg_config']}" --sharedir));
my $has_cron = -e "$share/extension/pg_cron.control";

my $server = PostgreSQL::Test::Cluster->new('roles');
$server->init;
$server->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'market'\ncron.use_background_workers = on\n") if $has_cron;
$server->start;
my $grants = block_after('doc/pg_retention.md', "\n## Rights\n") . block_after('README.md', 'A superuser grants what a role needs:');
my %roles = map { $_ => 1 } $grants =~ /\bTO (\w+);/g;
$server->safe_psql('postgres', 'CREATE DATABASE market; CREATE ROLE shop; ' . join ' ', map {"CREATE ROLE $_ LOGIN;"} sort keys %roles);
$server->safe_psql('market', q{
	CREATE EXTENSION pg_retention;
	CREATE SCHEMA shop AUTHORIZATION shop;
	GRANT EXECUTE ON FUNCTION retention.add_policy, retention.adopt_preset TO shop;
	SET ROLE shop;
	SET search_path = shop, public;
	CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE carts (id serial PRIMARY KEY, user_id int NOT NULL REFERENCES users);
	CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id int NOT NULL REFERENCES carts, created_at timestamp);
	CREATE TABLE visits (id serial PRIMARY KEY, at timestamptz NOT NULL);
	CREATE TABLE calls (id serial PRIMARY KEY, at timestamptz NOT NULL);
	CREATE TABLE acted (who text, what text);
	CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO shop.acted VALUES (current_user, COALESCE(TG_ARGV[0], ''visits'')); RETURN old; END';
	CREATE TRIGGER act BEFORE DELETE ON visits FOR EACH ROW EXECUTE FUNCTION act();
	CREATE TRIGGER act BEFORE DELETE ON calls FOR EACH ROW EXECUTE FUNCTION act('calls');
	INSERT INTO users (last_active) SELECT '2020-01-01' FROM generate_series(1, 3);
	INSERT INTO carts (user_id) SELECT id FROM users;
	INSERT INTO cart_items (cart_id) SELECT id FROM carts;
	SELECT retention.add_policy('visits', 'visits', '1 day', 'at');
	SELECT retention.add_policy('calls', 'calls', '1 day', 'at');
	SELECT retention.adopt_preset('inactive_carts');
});
$server->safe_psql('market', $grants);
pass('the GRANTs of the manual and of README are SQL that works');

# What a role is told; the error's SQLSTATE where it fails.
sub ask
{
	my ($role, $sql) = @_;
	my ($code, $out, $err) = $server->psql('market', $sql, extra_params => [ '-U', $role, '-v', 'VERBOSITY=verbose' ]);
	return $code == 0 ? $out : $err =~ /ERROR:  (\w{5})/ ? $1 : $err;
}

sub visits { $server->safe_psql('market', q{INSERT INTO shop.visits (at) VALUES ('2020-01-01'), ('2020-01-01'), (now())}); return }

# The functions and procedures that a role may call, by name.
sub callable
{
	my ($role) = @_;
	return $server->safe_psql('market', qq{
		SELECT string_agg(DISTINCT name COLLATE "C", ' ' ORDER BY name COLLATE "C") FROM pg_proc p CROSS JOIN LATERAL (SELECT regexp_replace(p.oid::regprocedure::text, '\\(.*', '') AS name) AS n JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_retention' WHERE has_function_privilege('$role', p.oid, 'EXECUTE')});
}

# --- exactly what was granted, and no new function beside it
{
	for my $role (sort keys %roles)
	{
		my %may = ('retention.library_version' => 1);
		for my $list ($grants =~ /^GRANT EXECUTE ON (?:FUNCTION|PROCEDURE) ((?:(?!;).)*?) TO $role;/msg)
		{
			$list =~ s/\([^)]*\)//g;
			$may{$_} = 1 for $list =~ /([\w.]+)/g;
		}
		is(callable($role), join(' ', sort keys %may), "G8 $role may call exactly what it is granted there");
	}
	is(callable('retention_watcher'), 'retention.library_version', 'G8 the role that watches may call nothing');
	is(callable('shop_jobs'), 'cleanup_inactive_carts retention.library_version', 'G8 the job of README may call its one function');
	is(callable('shop_monitoring'), 'retention.library_version', 'G8 the monitoring of README may call nothing');
}

# --- whose rights, whoever runs
if ($has_cron)
{
	$server->safe_psql('market', q{
		CREATE EXTENSION pg_cron;
		SELECT cron.schedule('calls', '* * * * *', $$ INSERT INTO shop.calls (at) VALUES ('2020-01-01'); SELECT retention.apply('calls') $$)});
}
my @ways = (
	[ 'apply, by a superuser' => sub { return $server->safe_psql('market', q{SELECT success, affected FROM retention.apply('visits')}) } ],
	[ 'apply, by the role that runs' => sub { return ask('retention_runner', q{SELECT success, affected FROM retention.apply('visits')}) } ],
	[ 'run, by a superuser' => sub { return $server->safe_psql('market', q{CALL retention.run('visits')}) =~ /^\(?(t)[|,][^|]*[|,]visits[|,]\d+[|,]delete[|,](\d+)/ ? "$1|$2" : 'no' } ],
	[ 'run, by the role that runs' => sub { return ask('retention_runner', q{CALL retention.run('visits')}) =~ /^\(?(t)[|,][^|]*[|,]visits[|,]\d+[|,]delete[|,](\d+)/ ? "$1|$2" : 'no' } ],
	[ 'the daily job, by the role that runs' => sub { return ask('retention_runner', q{SELECT run_data_retention_cleanup() -> 'visits' ->> 'success', 2}) =~ s/^true/t/r } ],
	[ 'the program, by a superuser' => sub { my ($code, $out) = runner([ 'run', '-d', 'market', 'visits' ], server => $server); return $code == 0 ? "t|2" : $out } ],
	[ 'the program, by the role that runs' => sub { my ($code, $out, $err) = runner([ 'run', '-d', 'market', '-U', 'retention_runner', '--all', '--vacuum', 'never' ], server => $server); return $code == 0 ? "t|2" : $err } ],);
for my $way (@ways)
{
	my ($name, $run) = @$way;
	visits();
	$server->safe_psql('market', q{DELETE FROM shop.acted WHERE what = 'visits'});
	is($run->(), 't|2', "$name: the expired visits go");
	is($server->safe_psql('market', q{SELECT DISTINCT who FROM shop.acted WHERE what = 'visits'}), 'shop', "G8 $name: its triggers run as the policy's owner");
	is($server->safe_psql('market', q{SELECT runs_as FROM retention.runs WHERE policy = 'visits' ORDER BY id DESC LIMIT 1}), 'shop', "$name: the books say so");
}
$server->safe_psql('market', 'INSERT INTO shop.cart_items (cart_id) SELECT id FROM shop.carts');
is(ask('shop_jobs', q{SELECT cleanup_inactive_carts() ->> 'deleted_items'}), 3, 'the job of README runs, without a right on the tables');

# --- what each of the roles is refused
for my $role (qw(retention_runner retention_watcher shop_jobs shop_monitoring))
{
	is(ask($role, "SELECT count(*) FROM $_"), '42501', "G8 $role cannot read $_") for 'shop.visits', 'shop.users';
	is(ask($role, $_->[1]), '42501', "G8 $role cannot $_->[0]")
	  for [ 'make a policy' => q{SELECT retention.add_policy('x', 16384, '1 day')} ], [ 'alter one' => q{SELECT retention.alter_policy('visits', expire_after => '1 hour')} ],
	  [ 'remove one' => q{SELECT retention.remove_policy('visits')} ], [ 'pause one' => q{SELECT retention.pause_policy('visits')} ], [ 'import some' => q{SELECT * FROM retention.import_policies('[]')} ],
	  [ 'write the books' => 'DELETE FROM retention.run' ], [ 'start a scheduler' => 'SELECT start_cleanup_scheduler()' ];
}
for my $role (qw(retention_watcher shop_monitoring))
{
	is(ask($role, $_), '42501', "G8 $role is refused: $_") for q{SELECT * FROM retention.apply('visits')}, q{CALL retention.run('visits')}, q{SELECT * FROM retention.preview('visits')}, 'SELECT cleanup_inactive_carts()', 'SELECT * FROM retention.run_list()';
}

# --- the program for each of them
{
	my ($code, $out, $err) = runner([ 'status', '-d', 'market', '-U', 'retention_watcher' ], server => $server);
	is($code, 0, 'the role that watches sees the status through the program');
	like($out, qr/visits/, 'with every policy');
	visits();
	my $rows = $server->safe_psql('market', 'SELECT count(*) FROM shop.visits');
	for my $command ([ 'run', 'visits' ], [ 'run', '--all' ], [ 'run', '--single-transaction', 'visits' ], [ 'preview', 'visits' ])
	{
		($code, $out, $err) = runner([ @$command, '-d', 'market', '-U', 'retention_watcher' ], server => $server);
		is($code, 4, "\"@$command\" by the role that watches ends with 4, refused");
		like($err, qr/permission denied/, "\"@$command\" by the role that watches says that permission is denied");
	}
	is($server->safe_psql('market', 'SELECT count(*) FROM shop.visits'), $rows, 'and nothing is gone');
	for my $command ([ 'preview', 'visits' ], ['preview'], ['status'], [ 'run', 'visits', '--single-transaction', '--vacuum', 'never' ], [ 'run', '--all', '-j', '2', '--vacuum', 'never' ])
	{
		($code, $out, $err) = runner([ @$command, '-d', 'market', '-U', 'retention_runner' ], server => $server);
		is_deeply([ $code, $err ], [ 0, '' ], "\"@$command\" by the role that runs ends with 0 and no complaint");
	}
}
SKIP:
{
	skip 'pg_cron is not installed', 2 if !$has_cron;
	ok($server->poll_query_until('market', q{SELECT EXISTS (SELECT FROM shop.acted WHERE what = 'calls')}), 'a job of pg_cron has run the policy');
	is($server->safe_psql('market', q{SELECT DISTINCT who FROM shop.acted WHERE what = 'calls'}), 'shop', 'G8 a job of a superuser\'s: its triggers run as the policy\'s owner');
}
$server->stop;
done_testing();
