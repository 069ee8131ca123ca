# What the runner refuses to start on, with exit code 4 and nothing changed.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use Test::More;

my $server = new_server('refusal');
my $version = runner_version();
my @commands = ([ 'run', 'carts' ], [ 'run', '--all' ], [ 'preview', 'carts' ], ['status']);

# Every command is refused with this message and hint, and no policy is touched.
sub refused
{
	my ($why, $message, $hint, %with) = @_;
	for my $command (@{ $with{commands} // \@commands })
	{
		my ($code, $out, $err);
		my $log = server_log_of($server, sub { ($code, $out, $err) = runner($command, server => $server, env => $with{env}) });
		is_deeply([ $code, $out ], [ 4, '' ], "\"@$command\" is refused: $why");
		like($err, qr/^pg_retention: error: $message\n/, "\"@$command\" says: $why");
		like($err, qr/^pg_retention: hint: $hint\n\z/m, "\"@$command\" says what to do: $why");
		unlike($log, qr/retention\.(?:apply|run|preview)\(\$1/, "\"@$command\" touches no policy: $why");
	}
	return;
}

refused('no extension', qr/the extension "pg_retention" is not installed in this database/, qr/.*CREATE EXTENSION pg_retention\b.*/);

install_stand_in($server, $version);
my ($code) = runner([ 'run', 'carts' ], server => $server);
is($code, 0, 'equal versions are not refused');
$server->safe_psql('postgres', 'TRUNCATE stand_in.trace');

$server->safe_psql('postgres', q{UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'pg_retention'});
refused('older SQL', qr/versions differ: program \Q$version\E, library \Q$version\E, extension 0\.0\.1/, qr/.*ALTER EXTENSION pg_retention UPDATE.*/);

$server->safe_psql('postgres', q{CREATE OR REPLACE FUNCTION retention.library_version() RETURNS text LANGUAGE sql AS $$ SELECT '0.0.1' $$});
refused('older library and SQL', qr/versions differ: program \Q$version\E, library 0\.0\.1, extension 0\.0\.1/, qr/(?!.*ALTER EXTENSION).*matching packages.*/);

$server->safe_psql('postgres', qq{UPDATE pg_extension SET extversion = '$version' WHERE extname = 'pg_retention'});
refused('older library', qr/versions differ: program \Q$version\E, library 0\.0\.1, extension \Q$version\E/, qr/.*ALTER EXTENSION.*matching packages.*/);
$server->safe_psql('postgres', qq{CREATE OR REPLACE FUNCTION retention.library_version() RETURNS text LANGUAGE sql AS \$\$ SELECT '$version' \$\$});

# --- rights
$server->safe_psql('postgres', 'CREATE ROLE guest LOGIN; REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA retention FROM PUBLIC; GRANT EXECUTE ON FUNCTION retention.library_version() TO PUBLIC');
refused('no right to run', qr/permission denied for procedure retention\.run/, qr/.*EXECUTE.*/, env => { PGUSER => 'guest' }, commands => [ [ 'run', 'carts' ], [ 'run', '--all' ] ]);
refused('no right to run in one transaction', qr/permission denied for function retention\.apply/, qr/.*EXECUTE.*/, env => { PGUSER => 'guest' }, commands => [ [ 'run', '--single-transaction', 'carts' ] ]);
refused('no right to preview', qr/permission denied for function retention\.preview/, qr/.*EXECUTE.*/, env => { PGUSER => 'guest' }, commands => [ [ 'preview', 'carts' ] ]);
$server->safe_psql('postgres', 'REVOKE SELECT ON retention.status FROM PUBLIC');
refused('no right to look', qr/ERROR:  permission denied for view status \(SQLSTATE 42501\)/, qr/.*"retention".*/, env => { PGUSER => 'guest' }, commands => [ ['status'] ]);
$server->safe_psql('postgres', 'REVOKE USAGE ON SCHEMA retention FROM PUBLIC');
refused('no right to the schema', qr/ERROR:  permission denied for schema retention \(SQLSTATE 42501\)(?:\n.*)?/, qr/.*"retention".*/, env => { PGUSER => 'guest' });
is(trace($server), '', 'nothing that was refused has run');

# --- a server that takes no changes
{
	my ($code, $out, $err) = runner([ 'run', 'read_only', 'after' ], server => $server);
	is($code, 4, 'a transaction that must be read only ends with 4');
	like($err, qr/SQLSTATE 25006/, 'a transaction that must be read only is said to be so');
	like($out, qr/^\S+ read_only: failed: .*\n\S+ after: failed: not run: /, 'a server that takes no changes is not asked again');
	is(trace($server), '', 'nothing was run there');
}
$server->stop;
$server->set_standby_mode;
$server->start;
refused('standby', qr/cannot run policies on a server in recovery/, qr/.*primary.*/, commands => [ [ 'run', 'carts' ], [ 'run', '--all' ] ]);
for my $command ([ 'preview', 'carts' ], ['status'])
{
	my ($code, $out) = runner($command, server => $server);
	is($code, 0, "\"@$command\" works on a standby");
	like($out, qr/cart_items/, "\"@$command\" shows what it should on a standby");
}

$server->stop;
done_testing();
