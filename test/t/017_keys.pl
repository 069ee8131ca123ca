# Foreign keys that PostgreSQL 18 brought: with PERIOD, and NOT ENFORCED.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

{
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	my ($major) = qx("$pg_config" --version) =~ /(\d+)/;
	plan skip_all => "PostgreSQL $major has neither kind of key" if $major < 18;
}

my $server = PostgreSQL::Test::Cluster->new('keys');
$server->init;
$server->start;
$server->safe_psql('postgres', q{
	CREATE EXTENSION pg_retention;
	CREATE EXTENSION btree_gist;
	CREATE TABLE prices (id int, valid daterange, last_used timestamptz, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
	CREATE TABLE sales (id int PRIMARY KEY, price_id int, during daterange, CONSTRAINT priced FOREIGN KEY (price_id, PERIOD during) REFERENCES prices (id, PERIOD valid));
	INSERT INTO prices VALUES (1, '[2020-01-01,2021-01-01)', '2020-06-01'), (1, '[2021-01-01,2022-01-01)', now()), (2, '[2020-01-01,2021-01-01)', '2020-06-01');
	INSERT INTO sales VALUES (10, 1, '[2020-06-01,2021-06-01)'), (11, 1, '[2021-02-01,2021-03-01)');
	CREATE TABLE parents (id int PRIMARY KEY, at timestamptz);
	CREATE TABLE children (id int PRIMARY KEY, parent_id int REFERENCES parents ON DELETE CASCADE NOT ENFORCED);
	INSERT INTO parents VALUES (1, '2020-01-01'), (2, '2020-01-01');
	INSERT INTO children VALUES (1, 1), (5, 77);
});

# The rows of a table, by their first column.
sub rows { my ($table) = @_; return $server->safe_psql('postgres', "SELECT string_agg(t::text, ' ' ORDER BY t) FROM $table t") }

# What a policy did: victims, and victims kept because something still refers to them.
sub applied { my ($policy) = @_; return $server->safe_psql('postgres', "SELECT affected, skipped_blocked FROM retention.apply('$policy')") }

# --- with PERIOD
{
	my ($out, $err);
	$server->psql('postgres', q{SELECT retention.add_policy('sales', 'sales', '1 year', 'last_used', subject => 'prices')}, stdout => \$out, stderr => \$err);
	like($err, qr/no foreign keys lead from public\.sales to public\.prices/, 'G12 a key with PERIOD is no path: a sale may refer to a price in use and to an old one');
	like($err, qr/DETAIL: .*"priced", a key with PERIOD/, 'the error names the key');
}
for my $direct (qw(on off))
{
	$server->safe_psql('postgres', "ALTER DATABASE postgres SET retention.direct = $direct");
	$server->safe_psql('postgres', q{INSERT INTO prices VALUES (2, '[2020-01-01,2021-01-01)', '2020-06-01') ON CONFLICT DO NOTHING;
		SELECT retention.add_policy('prices', 'prices', '1 year', 'last_used', if_not_exists => true)});
	is(applied('prices'), '1|1', "direct $direct: a price that a sale refers to for part of its time is kept and counted");
	is($server->safe_psql('postgres', q{SELECT count(*) FROM prices WHERE id = 2}), 0, "direct $direct: a price that no sale refers to goes");
}
$server->safe_psql('postgres', q{SELECT retention.alter_policy('prices', dependents => 'cascade')});
is(applied('prices'), '1|0', 'told so, the price goes');
is(rows('sales'), '(11,1,"[2021-02-01,2021-03-01)")', 'and with it the sale that referred to it, and no other');

# --- NOT ENFORCED
$server->safe_psql('postgres', q{SELECT retention.add_policy('parents', 'parents', '1 year', 'at')});
is(applied('parents'), '1|1', 'a row that a key NOT ENFORCED refers to is kept and counted');
is(rows('children'), '(1,1) (5,77)', 'G2 ON DELETE CASCADE of a key NOT ENFORCED removes nothing, as the server would not');
$server->safe_psql('postgres', q{SELECT retention.alter_policy('parents', dependents => 'cascade')});
is(applied('parents'), '1|0', 'told so, the row goes');
is(rows('children'), '(5,77)', 'and with it what refers to it; a child without its parent stays');

$server->stop;
done_testing();
