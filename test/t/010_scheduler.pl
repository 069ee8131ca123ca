# The scheduler functions with the real pg_cron, in a server of its own.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# Only where pg_cron is not on this machine there is nothing to test; where it is, everything below must hold.
{
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	chomp(my $share = qx("$pg_config" --sharedir));
	plan skip_all => "pg_cron is not installed: $share/extension/pg_cron.control does not exist"
	  unless -e "$share/extension/pg_cron.control";
}

my $server = PostgreSQL::Test::Cluster->new('scheduler');
$server->init;
# A zone that no default is, 8:45 ahead of UTC: the times that are told must be right in pg_cron's zone all the same.
$server->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_cron'
cron.database_name = 'market'
cron.use_background_workers = on
timezone = 'Australia/Eucla'
});
$server->start;
$server->safe_psql('postgres', 'CREATE DATABASE market');

# The rows of a shop and of a booking assistant, in a schema that only a search_path leads to. No user is subject to
# both: the two jobs may fall into the same second, and rows that the other has locked are skipped.
my $tables = q{
	CREATE SCHEMA shop;
	SET search_path = shop;
	CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id));
	CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts (id), created_at timestamp);
	CREATE TABLE sessions (id varchar(64) PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), created_at timestamp);
	CREATE TABLE messages (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), sender text, "timestamp" timestamp);
	CREATE TABLE image_sent (id serial PRIMARY KEY, session_id varchar(64) NOT NULL REFERENCES sessions (id));
	CREATE TABLE video_sent (id serial PRIMARY KEY, session_id varchar(64) NOT NULL REFERENCES sessions (id));
	CREATE TABLE bookings (booking_id text PRIMARY KEY, status text, created_at timestamp, updated_at timestamp);
	INSERT INTO users (last_active)
		SELECT now() AT TIME ZONE 'UTC' - CASE WHEN g <= 4 THEN interval '100 days' ELSE interval '80 days' END
		FROM generate_series(1, 10) AS g;
	INSERT INTO carts (user_id) SELECT id FROM users ORDER BY id;
	INSERT INTO cart_items (cart_id) SELECT c.id FROM carts AS c, generate_series(1, 5);
	INSERT INTO sessions SELECT 's' || id, id FROM users;
	INSERT INTO messages (user_id, sender, "timestamp")
		SELECT id, 'user', now() AT TIME ZONE 'UTC' - CASE WHEN id >= 8 THEN interval '2 days' ELSE interval '1 hour' END FROM users;
	INSERT INTO image_sent (session_id) SELECT id FROM sessions;
	INSERT INTO bookings
		SELECT 'b' || g, 'Pending', now() AT TIME ZONE 'UTC' - CASE WHEN g <= 2 THEN interval '1 hour' ELSE interval '-1 hour' END
		FROM generate_series(1, 6) AS g;
};
$server->safe_psql('market', "CREATE EXTENSION pg_retention; $tables");

# What one of the functions gives, in a session with these settings; notices go to $notices.
my $notices = '';
sub call
{
	my ($function, %with) = @_;
	my ($out, $code);
	$notices = '';
	my $role = $with{role} ? "SET ROLE $with{role};" : '';
	my $path = $with{search_path} ? "SET search_path = $with{search_path};" : '';
	$code = $server->psql('market', "$role $path SELECT public.$function()", stdout => \$out, stderr => \$notices);
	die "$function: $notices" if $code;
	return decode_json($out);
}

# All jobs that pg_cron has: user, name, schedule.
sub jobs
{
	return $server->safe_psql('market', 'SELECT username, jobname, schedule FROM cron.job ORDER BY username, jobname');
}

# --- without pg_cron
$server->safe_psql('postgres', 'CREATE EXTENSION pg_retention');
for my $database (qw(postgres market))
{
	for my $function (qw(start_cleanup_scheduler stop_cleanup_scheduler get_scheduler_status))
	{
		my ($out, $err);
		$server->psql($database, "\\set VERBOSITY verbose\nSELECT $function()", stdout => \$out, stderr => \$err);
		my $why = $database eq 'market' ? 'preloaded but not created here' : 'that belongs to another database';
		like($err, qr/ERROR:  55000: pg_cron is not installed in this database/, "$function() with a pg_cron $why is error 55000");
		like($err, qr/HINT: .*"pg_retention run --all"/, "$function() with a pg_cron $why: the hint names the runner");
		is($out, '', "$function() with a pg_cron $why returns nothing");
	}
}

# --- start
$server->safe_psql('market', q{
	CREATE EXTENSION pg_cron;
	SELECT cron.schedule('nightly vacuum', '10 10 * * *', 'VACUUM');
	SELECT cron.schedule('pg_retention: of somebody else', '20 20 * * *', 'SELECT 1')});
my $strangers = jobs();
is(scalar lines($strangers), 2, 'two jobs of strangers are there');
my $user = $server->safe_psql('market', 'SELECT current_user');

{
	my $status = call('get_scheduler_status');
	is($status->{running}, JSON::PP::false, 'before the start the status says that nothing is running');
	is_deeply($status->{jobs}, [], 'before the start the status shows no job, no stranger\'s either');
}
my $started = call('start_cleanup_scheduler', search_path => 'shop, public');
is($started->{success}, JSON::PP::true, 'start succeeds');
is($started->{running}, JSON::PP::true, 'start says that the scheduler is running');
is($notices, '', 'a first start says nothing beside its result');
my $with_ours = jobs();
is(scalar lines($with_ours), 4, 'start makes exactly two jobs');
is(scalar(grep { $_->{schedule} eq '*/15 * * * *' } @{ $started->{jobs} }), 1, 'one job is due every 15 minutes');
is(scalar(grep { $_->{schedule} =~ /^\d+ \d+ \* \* \*$/ } @{ $started->{jobs} }), 1, 'one job is due once a day');

{
	my $again = call('start_cleanup_scheduler');
	is($again->{success}, JSON::PP::true, 'a second start succeeds');
	my @notices = $notices =~ /NOTICE: .*already running/mg;
	is(scalar @notices, 2, 'a second start is a NOTICE for each job');
	is(jobs(), $with_ours, 'a second start leaves the same jobs');
	is_deeply([ map { $_->{id} } @{ $again->{jobs} } ], [ map { $_->{id} } @{ $started->{jobs} } ], 'a second start leaves the jobs\' ids');
}

# --- status
{
	# One transaction, so that now() is what the status has seen.
	my $both = decode_json($server->safe_psql('market', q{
		SELECT jsonb_build_object('status', get_scheduler_status(),
			'quarter', to_jsonb(date_bin('15 minutes', now(), 'epoch') + interval '15 minutes'),
			'daily', to_jsonb((date_trunc('day', timezone('UTC', now()) - interval '3 hours') + interval '27 hours') AT TIME ZONE 'UTC'),
			'now', to_jsonb(now()),
			'jobs', (SELECT jsonb_object_agg(jobid, jobname || ' ' || schedule || ' ' || active) FROM cron.job WHERE command ~ 'cleanup'))}));
	my $status = $both->{status};
	is($status->{running}, JSON::PP::true, 'status says that the scheduler is running');
	is(scalar @{ $status->{jobs} }, 2, 'status shows our two jobs and no stranger\'s');
	is_deeply({ map { $_->{id} => "$_->{name} $_->{schedule} " . ($_->{active} ? 'true' : 'false') } @{ $status->{jobs} } }, $both->{jobs},
		'status shows id, name and schedule as pg_cron has them');
	my ($quarter) = grep { $_->{schedule} eq '*/15 * * * *' } @{ $status->{jobs} };
	my ($daily) = grep { $_->{schedule} ne '*/15 * * * *' } @{ $status->{jobs} };
	is($daily->{schedule}, '0 3 * * *', 'the daily job is due at three');
	my $instants = sub {
		my ($told, $right) = @_;
		return $server->safe_psql('market', "SELECT '$told'::timestamptz = '$right'::timestamptz AND '$told'::timestamptz > '$both->{now}'::timestamptz");
	};
	is($instants->($quarter->{next_run}, $both->{quarter}), 't', 'the next run of the 15-minute job is the next quarter of an hour, in the future');
	is($instants->($daily->{next_run}, $both->{daily}), 't', 'the next run of the daily job is the next 03:00 of pg_cron\'s zone, in the future');
	is($quarter->{$_}, undef, "a job that has not run yet has no $_") for qw(last_run last_status);
}

# --- the jobs really run
my %id = map { $_->{name} =~ /(scheduled_cleanup|run_data_retention_cleanup)/ ? ($1 => $_->{id}) : () } @{ $started->{jobs} };
is(scalar keys %id, 2, 'the jobs are named after what they call');
is($server->safe_psql('market', 'SELECT count(*) FROM retention.runs'), 0, 'no policy has run yet');
$server->safe_psql('market', "SELECT cron.alter_job($_, schedule => '* * * * *')") for values %id;
{
	my $status = call('get_scheduler_status');
	my $minute = $server->safe_psql('market', q{SELECT date_trunc('minute', now() AT TIME ZONE 'UTC')::text});
	is(scalar(grep { $_->{schedule} eq '* * * * *' } @{ $status->{jobs} }), 2, 'status shows a schedule that was altered');
	is($server->safe_psql('market', "SELECT '$status->{jobs}[0]{next_run}'::timestamptz AT TIME ZONE 'UTC' - '$minute'::timestamp <= interval '1 minute'"), 't',
		'the next run follows an altered schedule');
}

# Waits until a query says t; pg_cron looks once a minute.
sub wait_for
{
	my ($query, $claim) = @_;
	my $end = time + 180;
	my $told = '';
	while (time < $end)
	{
		$told = $server->safe_psql('market', $query);
		last if $told eq 't';
		sleep 0.5;
	}
	is($told, 't', $claim);
	return;
}
wait_for(q{SELECT EXISTS (SELECT FROM retention.runs WHERE policy = 'inactive_carts')}, 'the daily job has run and recorded its run');
wait_for(q{SELECT count(DISTINCT policy) = 2 FROM retention.runs WHERE policy IN ('inactive_sessions', 'pending_bookings')},
	'the 15-minute job has run and recorded its runs');
wait_for(q{SELECT count(DISTINCT jobid) = 2 FROM cron.job_run_details WHERE status IN ('succeeded', 'failed')}, 'pg_cron has seen both jobs end');
{
	is($server->safe_psql('market', q{SELECT count(*) FILTER (WHERE NOT success) FROM retention.runs}), 0, 'every run of a job succeeded');
	is($server->safe_psql('market', q{SELECT run_by, affected FROM retention.runs WHERE policy = 'inactive_carts' ORDER BY id LIMIT 1}), "$user|20",
		'the daily job runs as who started the scheduler, and removes what is due');
	is($server->safe_psql('market', q{SELECT count(*), count(DISTINCT cart_id) FROM shop.cart_items}), '30|6',
		'a search_path that only the session had goes along: the job has cleaned the carts of that schema');
	is($server->safe_psql('market', 'SELECT (SELECT count(*) FROM shop.carts), (SELECT count(*) FROM shop.users)'), '10|10', 'the job leaves carts and users');
	is($server->safe_psql('market', 'SELECT (SELECT count(*) FROM shop.sessions), (SELECT count(*) FROM shop.image_sent)'), '7|7',
		'the 15-minute job has removed the inactive sessions with their images');
	is($server->safe_psql('market', q{SELECT count(*) FROM shop.bookings WHERE status = 'Expired'}), 2, 'the 15-minute job has expired the bookings');
	my $status = call('get_scheduler_status');
	my %job = map { $_->{id} => $_ } @{ $status->{jobs} };
	for my $function (sort keys %id)
	{
		is($job{ $id{$function} }{last_status}, 'succeeded', "status shows the last outcome of $function");
		like($job{ $id{$function} }{last_run}, qr/^\d{4}-\d\d-\d\dT/, "status shows when $function last ran");
	}
}

# --- an outcome that failed, and a job that is switched off
$server->safe_psql('market', "SELECT cron.alter_job($id{run_data_retention_cleanup}, command => 'SELECT 1/0'), cron.alter_job($id{scheduled_cleanup}, active => false)");
{
	my $status = call('get_scheduler_status');
	my ($off) = grep { $_->{id} == $id{scheduled_cleanup} } @{ $status->{jobs} };
	is($off->{active}, JSON::PP::false, 'status shows that a job is switched off');
	is($off->{next_run}, undef, 'a job that is switched off has no next run');
	is($status->{running}, JSON::PP::false, 'the scheduler is not running while a job of it is switched off');
}
wait_for("SELECT status = 'failed' FROM cron.job_run_details WHERE jobid = $id{run_data_retention_cleanup} ORDER BY runid DESC LIMIT 1", 'a job has failed');
{
	my ($failed) = grep { $_->{id} == $id{run_data_retention_cleanup} } @{ call('get_scheduler_status')->{jobs} };
	is($failed->{last_status}, 'failed', 'status shows that a job\'s last run failed');
	like($failed->{last_message}, qr/division by zero/, 'status shows why it failed');
}

# --- jobs of another role
$server->safe_psql('market', q{
	CREATE ROLE clerk LOGIN;
	GRANT USAGE ON SCHEMA cron TO clerk;
	GRANT EXECUTE ON FUNCTION start_cleanup_scheduler(), stop_cleanup_scheduler(), get_scheduler_status() TO clerk});
{
	my $own = jobs();
	is(call('get_scheduler_status', role => 'clerk')->{running}, JSON::PP::false, 'a role does not see the jobs of another as its own');
	call('stop_cleanup_scheduler', role => 'clerk');
	is(jobs(), $own, 'a role\'s stop leaves the jobs of another');
	call('start_cleanup_scheduler', role => 'clerk');
	is($server->safe_psql('market', q{SELECT count(*) FROM cron.job WHERE username = 'clerk'}), 2, 'a role that starts the scheduler gets two jobs of its own');
	is($server->safe_psql('market', q{SELECT count(*) FROM cron.job WHERE username = 'clerk' AND command ~ 'set_config'}), 0,
		'a search_path that is not the session\'s own does not go into a job');
	call('stop_cleanup_scheduler');
	is($server->safe_psql('market', q{SELECT count(*) FROM cron.job WHERE username = 'clerk'}), 2, 'a superuser\'s stop leaves the jobs of another role');
	is(jobs() =~ s/^clerk.*\n//mgr, $strangers, 'stop removes exactly its own two jobs and no stranger\'s');
	call('stop_cleanup_scheduler', role => 'clerk');
	is(jobs(), $strangers, 'after the role\'s stop only the strangers\' jobs are left');
}

# --- stop once more, and begin again
{
	my $stopped = call('stop_cleanup_scheduler');
	is($stopped->{success}, JSON::PP::true, 'a second stop succeeds');
	like($notices, qr/NOTICE: .*not running/m, 'a second stop is a NOTICE');
	is($stopped->{running}, JSON::PP::false, 'a second stop says that nothing is running');
	is(jobs(), $strangers, 'a second stop leaves the strangers\' jobs');
	call('start_cleanup_scheduler');
	is(call('get_scheduler_status')->{running}, JSON::PP::true, 'what was stopped can be started again');
	$server->safe_psql('market', q{SELECT cron.unschedule(jobid) FROM cron.job WHERE schedule = '*/15 * * * *'});
	is(call('get_scheduler_status')->{running}, JSON::PP::false, 'half a scheduler is not said to be running');
	call('start_cleanup_scheduler');
	is(scalar lines($notices), 1, 'start makes the job that is missing, with a NOTICE for the other');
	is(scalar lines(jobs()), 4, 'start completes half a scheduler');
}

$server->stop;
done_testing();
