# A database of an earlier version: served by the new library as it is, and after ALTER EXTENSION UPDATE the same as a
# fresh one, with its policies and its history.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# With pg_cron on this machine, the first of the databases has jobs too.
chomp(my $share = qx("@{[ $ENV{PG_CONFIG} || 'pg_config' ]}" --sharedir));
my $has_cron = -e "$share/extension/pg_cron.control";

my $server = PostgreSQL::Test::Cluster->new('upgrade');
$server->init;
$server->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'from_0_1_0'\n") if $has_cron;
$server->start;

my $version = $server->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'pg_retention'});
my @earlier = grep { $_ ne $version } split /\n/, $server->safe_psql('postgres',
	q{SELECT DISTINCT source FROM pg_extension_update_paths('pg_retention') WHERE path IS NOT NULL ORDER BY source});
ok(scalar @earlier, 'there are earlier versions to update from');

# Every object that belongs to the extension: what it is, its definition, its owner, its rights and its comment.
my $objects = q{
	SELECT pg_catalog.string_agg(o.line, E'\n' ORDER BY o.line COLLATE "C") FROM (
		SELECT pg_catalog.concat_ws(' | ', i.type, i.identity,
				CASE d.classid
					WHEN 'pg_catalog.pg_proc'::regclass THEN (SELECT pg_catalog.concat_ws(' ', p.prosrc, p.prokind, p.provolatile, p.proparallel, p.proisstrict,
						p.prosecdef, p.proconfig, p.proacl, pg_catalog.pg_get_function_arguments(p.oid), pg_catalog.pg_get_function_result(p.oid)) FROM pg_catalog.pg_proc p WHERE p.oid = d.objid)
					WHEN 'pg_catalog.pg_class'::regclass THEN (SELECT pg_catalog.concat_ws(' ', c.relkind, c.relacl, c.reloptions,
						CASE WHEN c.relkind = 'v' THEN pg_catalog.pg_get_viewdef(c.oid) END,
						(SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attacl,
							pg_catalog.pg_get_expr(v.adbin, v.adrelid)), ', ' ORDER BY a.attnum)
						   FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef v ON v.adrelid = a.attrelid AND v.adnum = a.attnum
						  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
						(SELECT pg_catalog.string_agg(pg_catalog.pg_get_constraintdef(k.oid), ', ' ORDER BY k.conname) FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid),
						(SELECT pg_catalog.string_agg(pg_catalog.pg_get_indexdef(x.indexrelid), ', ' ORDER BY x.indexrelid::regclass::text) FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid))
						FROM pg_catalog.pg_class c WHERE c.oid = d.objid)
				END,
				pg_catalog.obj_description(d.objid, d.classid::regclass::name)) AS line
		  FROM pg_catalog.pg_depend d CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) i
		 WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
		   AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'pg_retention')) o};
my $configured = q{SELECT pg_catalog.array_agg(c::regclass::text ORDER BY c::regclass::text) FROM pg_catalog.pg_extension e, pg_catalog.unnest(e.extconfig) c WHERE e.extname = 'pg_retention'};

$server->safe_psql('postgres', 'CREATE DATABASE fresh');
$server->safe_psql('fresh', 'CREATE EXTENSION pg_retention');
my $fresh = $server->safe_psql('fresh', $objects);

for my $old (@earlier)
{
	(my $database = "from_$old") =~ tr/./_/;
	$server->safe_psql('postgres', "CREATE DATABASE $database");
	my $ask = sub { $server->safe_psql($database, $_[0]) };
	$ask->("CREATE EXTENSION pg_retention VERSION '$old'");
	$ask->(q{CREATE TABLE t (id int PRIMARY KEY, at timestamptz);
		INSERT INTO t SELECT g, now() - g * interval '1 day' FROM generate_series(1, 20) g;
		SELECT retention.add_policy('old', 't', '10 days 12 hours', 'at', max_fraction => 0.9);
		SELECT retention.add_policy('resting', 't', '1 day', 'at', paused => true);});

	is($ask->(q{SELECT affected, stop_reason FROM retention.apply('old')}), '10|done', "$old: the new library runs a policy in the caller's transaction");
	$ask->(q{INSERT INTO t SELECT g, now() - g * interval '1 day' FROM generate_series(11, 20) g});
	like($ask->(q{CALL retention.run('old', batch_rows => 3)}), qr/^\(t,/, "$old: and batch by batch");
	is($ask->(q{SELECT affected, batches FROM retention.runs ORDER BY id DESC LIMIT 1}), '10|4', "$old: as it is told");
	is($ask->(q{SELECT sum(expected_rows) FROM retention.preview('old')}), '0', "$old: and previews");
	my $kept = q{SELECT (SELECT json_strip_nulls(json_agg(p ORDER BY name)) FROM retention.policy p), (SELECT json_agg(c ORDER BY id) FROM retention.policy_change c),
		(SELECT json_agg(json_build_array(id, policy, affected, stop_reason, started) ORDER BY id) FROM retention.run), (SELECT json_strip_nulls(json_agg(b ORDER BY run, batch)) FROM retention.batch b)};
	my $before = $ask->($kept);
	my $jobs = q{SELECT json_agg(j ORDER BY jobid), get_scheduler_status() ->> 'running' FROM cron.job j};
	my $has_jobs = $has_cron && $database eq 'from_0_1_0';
	my $jobs_before = $has_jobs ? $ask->("CREATE EXTENSION pg_cron; SELECT start_cleanup_scheduler() \\gset\n$jobs") : '';
	like($jobs_before, qr/"schedule".*\|true$/s, "$old: its jobs run") if $has_jobs;

	$ask->('ALTER EXTENSION pg_retention UPDATE');
	is($ask->($jobs), $jobs_before, "$old: jobs are kept") if $has_jobs;
	is($ask->(q{SELECT extversion FROM pg_extension WHERE extname = 'pg_retention'}), $version, "$old: updates to $version");
	is($ask->($objects), $fresh, "$old: the updated database has the objects, rights and comments of a fresh one");
	is($ask->($configured), $server->safe_psql('fresh', $configured), "$old: and dumps the same tables");
	is($ask->($kept), $before, "$old: policies and history are kept");
	$ask->(q{INSERT INTO t SELECT g, now() - g * interval '1 day' FROM generate_series(11, 20) g});
	$ask->(q{CALL retention.run('old')});
	is($ask->(q{SELECT affected, stop_reason, hand FROM retention.runs ORDER BY id DESC LIMIT 1}), '10|done|direct', "$old: the policy runs on, and tells how");
}

$server->stop;
done_testing();
