# G3 in committed runs over a list of rows that hang on each other: a row that goes along comes to the place of a victim that is
# gone, of which a reading beforehand knows what referred to it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use HaltedRun;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = halting_server('tree');

sub ask { return $node->safe_psql('postgres', $_[0]) }

ask(q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE nodes (id int PRIMARY KEY, parent int REFERENCES nodes, at timestamptz NOT NULL, note text);
	CREATE INDEX ON nodes (parent);
	SELECT retention.add_policy('nodes', 'nodes', '90 days', 'at', dependents => 'cascade');
});

for my $hand (qw(direct sql)) {
	my $direct = $hand eq 'direct' ? 'on' : 'off';
	# 10 and 20 are due; 21 hangs on 20, and 22 on 21.
	ask(q{
		TRUNCATE nodes;
		INSERT INTO nodes VALUES (10, NULL, '2020-01-01'), (20, NULL, '2020-01-01'), (21, 20, now()), (22, 21, now()), (30, NULL, now());
		TRUNCATE retention.run CASCADE;
	});
	my $run = start_halted($node, 'nodes', "retention.direct = $direct");
	ok(has_halted($run, 'nodes', 4), "$hand hand: the run waits after its first batch");
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default) {
		ask('VACUUM nodes');
		last if ask(q{SELECT ctid FROM nodes WHERE id = 21}) eq '(0,1)';
		ask(q{UPDATE nodes SET note = 'changed' WHERE id = 21});
	}
	is(ask('SELECT ctid FROM nodes WHERE id = 21'), '(0,1)', "$hand hand: a row that goes along lies where the first victim was");
	is(let_go($run), '', "$hand hand: the run ends by itself");
	is(ask(q{SELECT stop_reason || ' ' || hand || ' ' || walk FROM retention.runs}), "done $hand list", "$hand hand: it was done so");
	is(ask(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM nodes}), '30', "$hand hand: G3 what hangs on it goes too");
}

$node->stop;
done_testing();
