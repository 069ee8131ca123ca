# The same cases through CALL retention.run: committed, cut into batches and slices, by every hand and walk.
package OracleRun;

use strict;
use warnings;

use Exporter 'import';
use OracleDice;
use OracleTruth;

our @EXPORT = qw(throw_runs runs_sql run_ground_sql);

# What all runs share; once in a database.
sub run_ground_sql
{
	return <<'SQL';
-- What must hold of a committed run of which batches may change what later ones are judged by, or that had to fail: nothing
-- that stays is gone, and the run, its ledger and the tables tell the same.
CREATE FUNCTION oracle.compare_loosely(target int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	r record; m record; gone bigint; missing text; told bigint; must_fail boolean := EXISTS (SELECT FROM orphan);
BEGIN
	SELECT * INTO r FROM run;
	-- The row whose default refers to nothing is set apart, with its error; others go (G13).
	IF must_fail AND NOT (r.success AND r.skipped_failed > 0 AND EXISTS (SELECT FROM retention.failures f WHERE f.policy = r.policy AND f.sqlstate = '23503'))
		THEN RETURN NEXT format('a default that refers to nothing must set its row apart with 23503, not %s (%s)', coalesce(r.sqlstate, 'succeed'), r.message); END IF;
	IF NOT must_fail AND NOT r.success THEN RETURN NEXT format('failed: %s %s %s', r.sqlstate, r.message, r.error_detail); END IF;
	FOR m IN SELECT * FROM told ORDER BY t LOOP
		EXECUTE format($f$ WITH stays AS (SELECT whole FROM before WHERE t = %2$s AND id NOT IN (SELECT id FROM going WHERE t = %2$s UNION ALL SELECT id FROM emptied WHERE t = %2$s)),
			missing AS (SELECT whole FROM stays EXCEPT ALL SELECT to_jsonb(x) FROM %1$s x)
			SELECT (SELECT count(*) || ': ' || min(whole::text) FROM missing HAVING count(*) > 0), (SELECT count(*) FROM before WHERE t = %2$s) - (SELECT count(*) FROM %1$s) $f$, m.sql, m.t) INTO missing, gone;
		IF missing IS NOT NULL THEN RETURN NEXT format('%s lacks %s', m.label, missing); END IF;
		told := coalesce((r.dependents ->> m.label)::bigint, 0) + CASE WHEN m.t = target THEN r.affected ELSE 0 END;
		IF told < gone THEN RETURN NEXT format('%s of %s are gone, told are %s', gone, m.label, told); END IF;
		IF coalesce((SELECT sum(b.affected) FROM retention.batch b WHERE b.run = ANY (r.runs) AND b.relation = m.label), 0) <> told THEN RETURN NEXT format('G4 the ledger of %s is not %s', m.label, told); END IF;
	END LOOP;
END $$;
SQL
}

# Whether what one batch changes may decide of what another is judged by.
sub is_stirred
{
	my ($case) = @_;
	my $policy = $case->{policy};
	my %changed = ((map { $_->{i} => 1 } @{ $policy->{reached} }), map { $_->{child}{i} => 1 } grep { $_->{kind} =~ /^(?:set_null|schema)$/ } @{ $policy->{bonds} });
	my @changed = grep { $changed{ $_->{i} } } @{ $case->{tables} };
	my $is_child = grep { $_->{child} == $policy->{target} && $_->{kind} ne 'refuse' } @{ $policy->{bonds} };
	my $text = ($policy->{condition} || '') . ($policy->{expression} || '');
	return 1 if grep { $changed{ $_->{parent}{i} } } @{ $policy->{path} };
	return 1 if $is_child && ($policy->{action} eq 'update' || @{ $policy->{path} } || $policy->{keep_latest});
	return 1 if $policy->{keep_latest} && $policy->{action} eq 'update';
	# What hangs on two rows that go in two batches is updated twice.
	my %bonds;
	return 1 if $policy->{action} eq 'update' && grep { $bonds{ $_->{child}{i} }++ } @{ $policy->{bonds} };
	return 1 if grep { $changed{ $_->{table}{i} } } @{ $policy->{activities} };
	return 1 if grep { index($text, "FROM $_->{sql} ") >= 0 } @changed;
	return 0;
}

# Two runs of a case, one after the other: { settings => {...}, arguments, slices, title }.
sub throw_runs { return [ throw_run(), throw_run() ] }

sub throw_run
{
	my %settings = (
		'retention.direct' => pick(qw(on on off)),
		'retention.walk' => pick(qw(auto blocks list)),
		'retention.work_mem' => pick(qw(-1 -1 64kB 0)));
	my $batch_rows = chance(0.15) ? undef : roll(1, 7);
	my $strict = chance(0.75) ? 'true' : 'false';
	my $slices = pick_by(1 => 6, 2 => 2, 3 => 2);
	my $arguments = join ', ', "strict => $strict", defined $batch_rows ? "batch_rows => $batch_rows" : ();
	my $title = join ', ', "run ($arguments", (map { "$_ $settings{$_}" } sort keys %settings), "$slices slices)";
	return { settings => \%settings, arguments => $arguments, slices => $slices, title => $title };
}

# Whether a run may count a row otherwise than one transaction does: as what goes along instead of as a victim, or twice.
sub is_retold
{
	my ($case) = @_;
	my $policy = $case->{policy};
	return 1 if grep { $_->{kind} =~ /^(?:set_null|schema)$/ || $_->{kind} eq 'delete' && $_->{child} == $policy->{target} } @{ $policy->{bonds} };
	return 0;
}

# The script of the runs. The rows stand, committed; nothing else is left of the case before.
sub runs_sql
{
	my ($case) = @_;
	my $policy = $case->{policy};
	my $name = literal($policy->{name});
	my $zone = literal($case->{zone});
	my $is_stirred = is_stirred($case) ? 'true' : 'false';
	my $is_retold = is_retold($case) ? 'true' : 'false';
	my $sql = "BEGIN;\nSET LOCAL TimeZone = 'Asia/Tokyo';\n$policy->{def}" . truth_sql($case, $policy) . <<'SQL';
CREATE TEMP TABLE previewed (v jsonb);
CREATE TEMP TABLE ran AS SELECT (r).* FROM (SELECT NULL::retention.result AS r) AS x WITH NO DATA;
CREATE TEMP VIEW run AS SELECT bool_and(success) AS success, string_agg(message, '; ') AS message, array_agg(run_id) AS runs, max(policy) AS policy, sum(affected)::bigint AS affected, sum(subjects)::bigint AS subjects,
	(SELECT jsonb_object_agg(key, n) FROM (SELECT e.key, sum(e.value::bigint) AS n FROM ran, jsonb_each_text(dependents) e GROUP BY 1) d) AS dependents,
	sum(skipped_locked)::bigint AS skipped_locked, sum(skipped_blocked)::bigint AS skipped_blocked, sum(skipped_held)::bigint AS skipped_held, sum(skipped_returned)::bigint AS skipped_returned, sum(skipped_failed)::bigint AS skipped_failed,
	min(cutoff) AS cutoff, string_agg(DISTINCT stop_reason, ', ') AS stop_reason, max(sqlstate) AS sqlstate, string_agg(error_detail, '; ') AS error_detail FROM ran;
COMMIT;
SQL
	for my $run (@{ $case->{runs} })
	{
		$sql .= join '', map { "SET $_ = '$run->{settings}{$_}';\n" } sort keys %{ $run->{settings} };
		# The cutoff is that of the oracle, counted back from this transaction's now; an instant of expiry is held against now itself.
		my $cut = $policy->{expression} ? '' : "PERFORM retention.alter_policy($name, expire_after => interval '1 second' * extract(epoch FROM now() - oracle.c()));\n";
		$sql .= "DO \$run\$ DECLARE r retention.result; BEGIN\nPERFORM set_config('TimeZone', $zone, true);\n"
		  . ($policy->{expression} ? "PERFORM set_config('oracle.c', now()::text, false);\n" : '')
		  . "PERFORM pg_temp.judge();\nPERFORM set_config('TimeZone', 'Asia/Tokyo', true);\nDELETE FROM ran;\nDELETE FROM previewed;\n${cut}INSERT INTO previewed SELECT coalesce(jsonb_agg(p), '[]') FROM retention.preview($name) p;\n";
		for my $slice (1 .. $run->{slices})
		{
			$sql .= $cut if $slice > 1;
			$sql .= "CALL retention.run($name, $run->{arguments}" . ($run->{slices} > 1 ? ", slice => $slice, slices => $run->{slices}" : '') . ", result => r);\nINSERT INTO ran SELECT (r).*;\n";
		}
		$sql .= "END \$run\$;\nBEGIN;\nSET LOCAL TimeZone = $zone;\nSELECT EXISTS (SELECT FROM orphan) OR $is_stirred AS is_loose \\gset\n\\if :is_loose\n"
		  . "SELECT '@@ differs $run->{title}:', d FROM oracle.compare_loosely($policy->{target}{i}) d;\nSELECT '@@ loose';\n\\else\n"
		  . "SELECT '@@ differs $run->{title}:', d FROM oracle.compare($policy->{target}{i}, true, $is_retold) d;\n\\endif\nCOMMIT;\nSELECT '@@ judged';\n";
	}
	return $sql . "DISCARD TEMP;\n";
}

1;
