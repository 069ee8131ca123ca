# One case: from its seed to a script for psql, and from what psql says to an outcome.
#
# Lines of the script's output that begin with "@@" are its findings: "@@ case", "@@ shape", "@@ refused", "@@ differs", "@@ done".
package OracleCase;

use strict;
use warnings;

use Exporter 'import';
use OracleDice;
use OraclePolicy;
use OracleRun;
use OracleSchema;
use OracleTruth;

our @EXPORT = qw(make_case case_script shapes verdict);

# The ways in which a case is applied; all must end the same.
my @ways = (
	[ 'the direct hand' => "SET LOCAL retention.direct = on;\n" ],
	[ 'the SQL hand' => "SET LOCAL retention.direct = off;\n" ],
	[ 'indexes' => "SET LOCAL retention.direct = on;\nSET LOCAL enable_seqscan = off;\nSET LOCAL enable_hashjoin = off;\n", 'indexes' ],);

sub make_case
{
	my ($seed) = @_;
	throw_dice($seed);
	my $case = make_schema();
	$case->{seed} = $seed;
	$case->{policy} = make_policy($case);
	$case->{schema_sql} = schema_sql($case);
	$case->{is_analyzed} = chance(0.3);
	$case->{ways} = [ $ways[0], grep { chance(0.4) } @ways[ 1, 2 ] ];
	$case->{runs} = throw_runs();
	return $case;
}

# Words for what a case has in it.
sub shapes
{
	my ($case) = @_;
	my $policy = $case->{policy};
	my @words = ("action $policy->{action}", "dependents $policy->{dependents}");
	push @words, "time $_->{kind}" for @{ $policy->{times} || [] };
	push @words, 'two time columns' if $policy->{match};
	push @words, 'expiry_expression' if $policy->{expression};
	push @words, 'a subject over ' . @{ $policy->{path} } . ' keys' if @{ $policy->{path} };
	push @words, 'a time of its own' if !@{ $policy->{path} };
	push @words, 'activities' if @{ $policy->{activities} };
	push @words, 'never' if @{ $policy->{never} };
	push @words, 'when_null expire' if $policy->{when_null} eq 'expire';
	push @words, 'condition' if $policy->{condition};
	push @words, 'keep_latest' if $policy->{keep_latest};
	push @words, "declared $_->{action}" . ($_->{join} ? ' by join' : '') for @{ $policy->{declared} };
	my %deep = map { $_->{i} => 1 } @{ $policy->{reached} || [] };
	push @words, 'depth ' . (keys(%deep) - 1) if %deep;
	for my $bond (@{ $policy->{bonds} })
	{
		my $fk = $bond->{fk} or next;
		push @words, "ON DELETE $fk->{on_delete}", $fk->{when} ? $fk->{when} : (), @{ $fk->{cols} } > 1 ? 'a composite key' : (), $fk->{table} == $fk->{parent} ? 'a key to itself' : ();
		push @words, 'a cycle' if $fk->{table}{i} < $fk->{parent}{i};
		push @words, "a dependent that is $fk->{table}{shape}";
	}
	push @words, "a target that is $policy->{target}{shape}", $policy->{target}{is_unlogged} ? 'an unlogged target' : ();
	push @words, $case->{is_fixed} ? 'committed rows' : 'a cutoff of now';
	my %once;
	return grep { !$once{$_}++ } @words;
}

# Indexes on everything that could use one.
sub indexes_sql
{
	my ($case) = @_;
	my @sql;
	for my $table (@{ $case->{tables} })
	{
		push @sql, "CREATE INDEX ON $table->{sql} (" . ident($_->{name}) . ');' for @{ $table->{times} };
		push @sql, "CREATE INDEX ON $table->{sql} (" . join(', ', map { ident($_) } @{ $_->{cols} }) . ');' for @{ $table->{fks} || [] };
		push @sql, "CREATE INDEX ON $table->{sql} (" . ident($table->{refers}{to}) . ');' if $table->{refers};
	}
	return join("\n", @sql) . "\n";
}

sub case_script
{
	my ($case) = @_;
	my $policy = $case->{policy};
	my $name = literal($policy->{name});
	my $target = $policy->{target}{i};
	my $zone = 'SET LOCAL TimeZone = ' . literal($case->{zone}) . ";\n";
	my $elsewhere = "SET LOCAL TimeZone = 'Asia/Tokyo';\n";
	my $clear = 'DROP SCHEMA IF EXISTS ' . join(', ', map { ident($_) } @{ $case->{schemas} }) . " CASCADE;\nDELETE FROM retention.policy;\n";
	# A case that came to no end may have left its schemas and its policy.
	my $build = $zone . "SELECT set_config('oracle.c', ($case->{cutoff})::text, false) \\gset x_\n" . $case->{schema_sql};
	my $sql = "\\echo '@@ case $case->{seed}'\nBEGIN;\n$clear$build";
	# A fixed cutoff lets the rows be old, committed ones.
	$sql .= "COMMIT;\n" . ($case->{is_analyzed} ? join('', map { "ANALYZE $_->{sql};\n" } @{ $case->{tables} }) : '') . "BEGIN;\n" if $case->{is_fixed};
	$sql .= $elsewhere . "SELECT oracle.attempt(\$attempt\$\n$policy->{def}\$attempt\$) AS refused \\gset\nSELECT :'refused' <> '' AS is_refused \\gset\n\\if :is_refused\n\\echo '@@ refused' :refused\n\\else\n";
	$sql .= truth_sql($case, $policy, 'ON COMMIT DROP') . "${zone}SELECT pg_temp.judge() \\gset x_\nSELECT '@@ counts', count(*), count(*) FILTER (WHERE NOT goes), (SELECT count(*) FROM orphan) FROM victim;\n";
	for my $way (@{ $case->{ways} })
	{
		my ($title, $settings, $with_indexes) = @$way;
		$sql .= "SAVEPOINT way;\n" . ($with_indexes ? indexes_sql($case) : '') . $settings . $elsewhere;
		$sql .= "SAVEPOINT looked;\nSET LOCAL transaction_read_only = on;\nSELECT coalesce(jsonb_agg(p), '[]') AS preview FROM retention.preview($name) p \\gset\nROLLBACK TO looked;\n";
		$sql .= "CREATE TEMP TABLE previewed ON COMMIT DROP AS SELECT :'preview'::jsonb AS v;\n";
		$sql .= "CREATE TEMP TABLE run ON COMMIT DROP AS SELECT *, ARRAY[run_id] AS runs FROM retention.apply($name);\nSET CONSTRAINTS ALL IMMEDIATE;\n$zone";
		$sql .= "SELECT '@@ differs $title:', d FROM oracle.compare($target) d;\nSELECT '@@ judged';\n";
		# Once more, on what is left.
		if (!$with_indexes)
		{
			$sql .= "SELECT pg_temp.judge() \\gset x_\nDROP TABLE run, previewed;\nSELECT '@@ second', count(*) FROM victim WHERE goes;\n";
			$sql .= "$elsewhere" . "CREATE TEMP TABLE previewed ON COMMIT DROP AS SELECT coalesce(jsonb_agg(p), '[]') AS v FROM retention.preview($name) p;\n";
			$sql .= "CREATE TEMP TABLE run ON COMMIT DROP AS SELECT *, ARRAY[run_id] AS runs FROM retention.apply($name);\nSET CONSTRAINTS ALL IMMEDIATE;\n$zone";
			$sql .= "SELECT '@@ differs $title, run again:', d FROM oracle.compare($target) d;\nSELECT '@@ judged';\n";
		}
		$sql .= "ROLLBACK TO way;\n";
	}
	$sql .= "ROLLBACK;\n" . ($case->{is_fixed} ? '' : "BEGIN;\n$build" . "COMMIT;\n") . runs_sql($case) . "BEGIN;\n\\endif\nSELECT '@@ done';\nROLLBACK;\n$clear";
	return $sql;
}

# What the findings of a case come to: { refused => SQLSTATE, problems => [...], and what the oracle counted }.
sub verdict
{
	my ($case, @findings) = @_;
	my %expected = %{ $case->{policy}{refusals} };
	my %out = (problems => [], victims => 0, blocked => 0, failing => 0, second => 0, loose => 0);
	for my $finding (@findings)
	{
		if ($finding =~ /^refused (\S+) (.*)/) { $out{refused} = $1; push @{ $out{problems} }, "refused with $1: $2" if !$expected{$1} }
		elsif ($finding =~ /^differs (.*)/) { push @{ $out{problems} }, $1 =~ s/\|/ /r }
		elsif ($finding =~ /^counts\|(\d+)\|(\d+)\|(\d+)/) { @out{qw(victims blocked failing)} = ($1, $2, $3) }
		elsif ($finding eq 'loose') { $out{loose}++ }
		elsif ($finding =~ /^second\|(\d+)/) { $out{second} = $1 }
		elsif ($finding eq 'done') { $out{is_done} = 1 }
	}
	my $judged = grep { $_ eq 'judged' } @findings;
	$out{is_done} &&= $out{refused} || $judged == @{ $case->{ways} } + (grep { !$_->[2] } @{ $case->{ways} }) + @{ $case->{runs} };
	push @{ $out{problems} }, 'the script did not come to its end' if !$out{is_done};
	push @{ $out{problems} }, 'not refused, though ' . join(' or ', sort keys %expected) . ' is due' if %expected && !$out{refused} && $out{is_done};
	return \%out;
}

1;
