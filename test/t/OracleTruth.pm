# The oracle: what must become of every row, said in plain SQL over copies of the tables.
#
# Copies (copy_0, copy_1, ...) get a row number of their own, "~row", by which the oracle knows rows; it never asks where
# a row lies. judge() fills the copies with the state before the run, finds victims, who goes and who stays, and
# makes the copies what the tables must be afterwards. compare() holds tables, counts, ledger and archives to that.
package OracleTruth;

use strict;
use warnings;

use Exporter 'import';
use OracleDice;
use OracleSchema;
use OracleTime;

our @EXPORT = qw(ground_sql truth_sql);

# What all cases share; once in a database.
sub ground_sql
{
	return <<'SQL';
CREATE SCHEMA oracle;
CREATE FUNCTION oracle.c() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT current_setting('oracle.c')::timestamptz $$;

-- Runs a definition whole; what it was refused with, or nothing.
CREATE FUNCTION oracle.attempt(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE sql; RETURN ''; EXCEPTION WHEN OTHERS THEN RETURN sqlstate || ' ' || sqlerrm; END $$;

-- Where the rows of a table that go are put: beside it, under its name and a suffix. A name too long for that is cut and
-- told apart by a digest; there the archive is known by a column (mark) that no other table of the case has.
CREATE FUNCTION oracle.archive_of(of regclass, mark text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	beside oid; house text; kept text; found text;
BEGIN
	SELECT n.oid, n.nspname, c.relname INTO beside, house, kept FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = of;
	IF octet_length(kept || '_archive') <= 63 THEN RETURN format('%I.%I', house, kept || '_archive'); END IF;
	WHILE octet_length(kept) > 63 - 17 LOOP kept := left(kept, -1); END LOOP;
	SELECT c.relname INTO STRICT found FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = mark
		WHERE c.relnamespace = beside AND c.relkind = 'r' AND left(c.relname, length(kept)) = kept AND substr(c.relname, length(kept) + 1) ~ '^_[0-9a-f]{8}_archive$';
	RETURN format('%I.%I', house, found);
EXCEPTION WHEN no_data_found THEN RETURN format('%I.%I', house, kept || '_????????_archive');
END $$;

-- Follows the bonds until nothing new comes, then drops victims that something staying refers to, until none is left.
CREATE FUNCTION oracle.settle(target int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		DELETE FROM going;
		INSERT INTO going SELECT target, v.id FROM victim v WHERE v.goes;
		LOOP
			INSERT INTO going SELECT DISTINCT b.ct, b.crow FROM bond b JOIN going g ON g.t = b.pt AND g.id = b.prow
				WHERE b.kind = 'delete' AND (b.ct, b.crow) NOT IN (SELECT t, id FROM going);
			EXIT WHEN NOT FOUND;
		END LOOP;
		UPDATE victim SET goes = false WHERE goes AND id IN (
			WITH RECURSIVE above (t, id) AS (
				SELECT b.pt, b.prow FROM bond b JOIN going g ON g.t = b.pt AND g.id = b.prow
				 WHERE b.kind = 'refuse' AND (b.ct, b.crow) NOT IN (SELECT t, id FROM going)
				UNION SELECT b.pt, b.prow FROM above a JOIN bond b ON b.ct = a.t AND b.crow = a.id WHERE b.kind = 'delete')
			SELECT id FROM above WHERE t = target);
		EXIT WHEN NOT FOUND;
	END LOOP;
END $$;

-- What differs between the run told in the table run and what must be. One line for each difference. A committed run (is_run) may count
-- a subject in each of its slices and batches; where is_retold, a row that two batches changed counts in both, and a victim that went
-- along with another as what it is then, a dependent.
CREATE FUNCTION oracle.compare(target int, is_run boolean DEFAULT false, is_retold boolean DEFAULT false) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	r record; m record; n bigint; missing text; extra text; preview jsonb; must_fail boolean;
	affected bigint := (SELECT count(*) FROM victim WHERE goes);
	told bigint;
BEGIN
	SELECT * INTO r FROM run;
	SELECT v INTO preview FROM previewed;
	SELECT EXISTS (SELECT FROM orphan) INTO must_fail;
	IF must_fail THEN
		IF r.success OR r.sqlstate <> '23503' THEN RETURN NEXT format('a default that refers to nothing must fail with 23503, not %s (%s)', coalesce(r.sqlstate, 'succeed'), r.message); END IF;
	ELSE
		IF NOT r.success THEN RETURN NEXT format('failed: %s %s %s', r.sqlstate, r.message, r.error_detail); RETURN; END IF;
		IF r.affected <> affected AND NOT (is_retold AND r.affected < affected) THEN RETURN NEXT format('affected %s, not %s', r.affected, affected); END IF;
		SELECT count(*) INTO n FROM victim WHERE NOT goes;
		IF r.skipped_blocked <> n THEN RETURN NEXT format('blocked %s, not %s', r.skipped_blocked, n); END IF;
		IF r.skipped_locked + r.skipped_held + r.skipped_returned <> 0 THEN RETURN NEXT 'rows skipped that nobody touched'; END IF;
		SELECT count(DISTINCT subject) INTO n FROM victim WHERE goes;
		IF r.subjects <> n AND NOT (is_run AND r.subjects BETWEEN n AND affected OR is_retold) THEN RETURN NEXT format('subjects %s, not %s', r.subjects, n); END IF;
		IF r.cutoff IS DISTINCT FROM oracle.c() THEN RETURN NEXT format('cutoff %s, not %s', r.cutoff, oracle.c()); END IF;
		SELECT count(*) INTO n FROM victim;
		IF (SELECT sum((p ->> 'expected_rows')::bigint + (p ->> 'blocked')::bigint) FROM jsonb_array_elements(preview) p WHERE p ->> 'role' = 'target') <> n
			THEN RETURN NEXT format('G9 preview of the target %s, not %s', jsonb_path_query_first(preview, '$ ? (@.role == "target")'), n); END IF;
		IF (SELECT sum((p ->> 'expected_rows')::bigint) FROM jsonb_array_elements(preview) p WHERE p ->> 'role' = 'target') <> affected
			THEN RETURN NEXT format('G9 preview %s, affected %s', jsonb_path_query_first(preview, '$ ? (@.role == "target")'), affected); END IF;
	END IF;
	FOR m IN SELECT * FROM told ORDER BY t LOOP
		EXECUTE format($f$ WITH real AS (SELECT to_jsonb(x) AS whole, %2$s AS leaf FROM %1$s x), due (whole, leaf) AS (SELECT %3$s),
			missing AS (SELECT * FROM due EXCEPT ALL SELECT * FROM real), extra AS (SELECT * FROM real EXCEPT ALL SELECT * FROM due)
			SELECT (SELECT count(*) || ': ' || min(whole::text) FROM missing HAVING count(*) > 0), (SELECT count(*) || ': ' || min(whole::text) FROM extra HAVING count(*) > 0) $f$,
			m.sql, CASE WHEN m.is_partitioned THEN '0::oid' ELSE 'x.tableoid' END,
			CASE WHEN must_fail THEN format('whole, leaf FROM before WHERE t = %s', m.t)
				ELSE format($f$ to_jsonb(c) - '~row' - '~leaf' - '~extra', %s FROM copy_%s c $f$, CASE WHEN m.is_partitioned THEN '0::oid' ELSE 'c."~leaf"' END, m.t) END) INTO missing, extra;
		IF missing IS NOT NULL OR extra IS NOT NULL THEN RETURN NEXT format('%s lacks %s; has over %s', m.label, coalesce(missing, '0'), coalesce(extra, '0')); END IF;
		CONTINUE WHEN must_fail;
		n := (SELECT count(*) FROM (SELECT id FROM going WHERE t = m.t AND NOT (m.t = target AND id IN (SELECT id FROM victim)) UNION ALL SELECT id FROM emptied WHERE t = m.t) d);
		told := coalesce((r.dependents ->> m.label)::bigint, 0);
		IF told <> n AND NOT (is_retold AND told > n) THEN RETURN NEXT format('dependents of %s: %s, not %s', m.label, r.dependents ->> m.label, n); END IF;
		IF coalesce((SELECT sum((p ->> 'expected_rows')::bigint) FROM jsonb_array_elements(preview) p WHERE p ->> 'role' = 'dependent' AND p ->> 'relation' = m.label), 0) <> n
			THEN RETURN NEXT format('G9 preview of dependents of %s is not %s: %s', m.label, n, preview); END IF;
		told := told + CASE WHEN m.t = target THEN r.affected ELSE 0 END;
		IF coalesce((SELECT sum(b.affected) FROM retention.batch b WHERE b.run = ANY (r.runs) AND b.relation = m.label), 0) <> told THEN RETURN NEXT format('G4 the ledger of %s is not %s', m.label, told); END IF;
		CONTINUE WHEN m.archive IS NULL;
		IF to_regclass(m.archive) IS NULL THEN RETURN NEXT format('no archive %s', m.archive); CONTINUE; END IF;
		EXECUTE format($f$ WITH real AS (SELECT to_jsonb(x) - 'retention_run_id' - 'archived_at' AS whole FROM %1$s x WHERE retention_run_id = ANY (%3$L)),
			due AS (SELECT b.whole || b.more AS whole FROM before b JOIN going g ON g.t = b.t AND g.id = b.id WHERE b.t = %2$s),
			missing AS (SELECT * FROM due EXCEPT ALL SELECT * FROM real), extra AS (SELECT * FROM real EXCEPT ALL SELECT * FROM due)
			SELECT (SELECT count(*) || ': ' || min(whole::text) FROM missing HAVING count(*) > 0), (SELECT count(*) || ': ' || min(whole::text) FROM extra HAVING count(*) > 0) $f$,
			m.archive, m.t, r.runs) INTO missing, extra;
		-- A row that an earlier batch emptied of a key is archived as it stood then.
		CONTINUE WHEN is_retold AND split_part(missing, ':', 1) = split_part(extra, ':', 1);
		IF missing IS NOT NULL OR extra IS NOT NULL THEN RETURN NEXT format('archive %s lacks %s; has over %s', m.archive, coalesce(missing, '0'), coalesce(extra, '0')); END IF;
	END LOOP;
END $$;
SQL
}

# ---- one case ----

# The copies and judge() of a case.
sub truth_sql
{
	my ($case, $policy, $end) = @_;
	$end //= '';
	my $target = $policy->{target}{i};
	my $sql = "CREATE TEMP TABLE victim (id bigint, subject bigint, goes boolean) $end;\n"
	  . "CREATE TEMP TABLE going (t int, id bigint) $end;\nCREATE TEMP TABLE bond (n int, pt int, prow bigint, ct int, crow bigint, kind text) $end;\n"
	  . "CREATE TEMP TABLE emptied (t int, id bigint) $end;\nCREATE TEMP TABLE before (t int, id bigint, leaf oid, whole jsonb, more jsonb) $end;\n"
	  . "CREATE TEMP TABLE orphan (t int, id bigint) $end;\n"
	  . "CREATE TEMP TABLE told (t int, sql text, label text, is_partitioned boolean, archive text) $end;\n";
	my ($fill, $after) = ('', '');
	for my $table (@{ $case->{tables} })
	{
		my $t = $table->{i};
		$sql .= "CREATE TEMP TABLE copy_$t (LIKE $table->{sql} INCLUDING GENERATED INCLUDING DEFAULTS) $end;\n"
		  . "ALTER TABLE copy_$t ADD \"~row\" bigint GENERATED ALWAYS AS IDENTITY, ADD \"~leaf\" oid, ADD \"~extra\" text;\n";
		my @columns = map { ident($_->{name}) } grep { $_->{rest} !~ /STORED/ } @{ $table->{cols} };
		my $is_partitioned = $table->{shape} =~ /^(?:hash|range|nested|list|by_time)$/ ? 'true' : 'false';
		my $list = join ', ', @columns;
		# What an heir has beside the columns of its parent is of no account but to the archive, which has a place for it.
		my $rows = $table->{heir} ? "SELECT $list, tableoid, NULL FROM ONLY $table->{sql} UNION ALL SELECT $list, tableoid, extra FROM $table->{heir}" : "SELECT $list, tableoid, NULL FROM $table->{sql}";
		$fill .= "DELETE FROM copy_$t; INSERT INTO copy_$t ($list, \"~leaf\", \"~extra\") $rows;\n"
		  . "INSERT INTO before SELECT $t, \"~row\", " . ($is_partitioned eq 'true' ? '0' : '"~leaf"') . ", to_jsonb(c) - '~row' - '~leaf' - '~extra', "
		  . ($table->{heir} ? "jsonb_build_object('extra', \"~extra\")" : "'{}'") . " FROM copy_$t c;\n";
		$sql .= "INSERT INTO told VALUES ($t, " . literal($table->{sql}) . ', ' . literal($table->{label}) . ", $is_partitioned, " . archive_of($policy, $table) . ");\n";
	}
	$sql .= "SELECT '@@ differs archive_to', p.archive_to || ', not ' || told.archive FROM retention.policies p, told WHERE p.name = " . literal($policy->{name})
	  . " AND told.t = $target AND p.archive_to IS DISTINCT FROM to_regclass(told.archive);\n" if $policy->{action} eq 'archive';
	my $n = 0;
	$fill .= bond_sql($n++, $_) for @{ $policy->{bonds} };
	$after .= outcome_sql($case, $policy);
	$sql .= "CREATE FUNCTION pg_temp.judge() RETURNS void LANGUAGE plpgsql AS \$judge\$ BEGIN\n"
	  . "DELETE FROM victim; DELETE FROM bond; DELETE FROM emptied; DELETE FROM before; DELETE FROM orphan;\n"
	  . $fill . victims_sql($policy, $case->{zone}) . "PERFORM oracle.settle($target);\n$after" . "END \$judge\$;\n";
	return $sql;
}

# Where the rows of a table that go are put, as SQL; NULL for nowhere.
sub archive_of
{
	my ($policy, $table) = @_;
	return 'NULL' if $policy->{action} ne 'archive' || !grep { $_ == $table } @{ $policy->{reached} };
	return 'oracle.archive_of(' . literal($table->{sql}) . ', ' . literal($table->{times}[0]{name}) . ')';
}

# Rows of a table's copy that its foreign keys mean: those of an heir are not bound.
sub own_rows
{
	my ($table, $alias) = @_;
	return $table->{shape} eq 'heir' ? "$alias.\"~leaf\" = " . literal($table->{sql}) . '::regclass' : 'true';
}

sub victims_sql
{
	my ($policy, $zone) = @_;
	my $from = "copy_$policy->{target}{i} AS target";
	my $before = 'target';
	my @path = @{ $policy->{path} };
	for my $n (0 .. $#path)
	{
		my $alias = $n == $#path ? 'subject' : 'way_' . $n;
		$from .= " JOIN copy_$path[$n]{parent}{i} AS $alias ON " . fk_condition($path[$n], $before, $alias) . ' AND ' . own_rows($path[$n]{parent}, $alias);
		$before = $alias;
	}
	$from .= " JOIN copy_$policy->{target}{i} AS subject ON subject.\"~row\" = target.\"~row\"" if !@path;
	my @terms;
	if (my $times = $policy->{times})
	{
		push @terms, '(' . join(($policy->{match} || '') eq 'any' ? ' OR ' : ' AND ', map { expired_sql($_, 'subject.' . ident($_->{name}), $zone, $policy->{never}, $policy->{when_null}) } @$times) . ')';
	}
	if (my $expression = $policy->{expression})
	{
		push @terms, expired_sql({ kind => $policy->{expression_kind} eq 'date' ? 'ts' : $policy->{expression_kind} }, "(($expression\n)" . ($policy->{expression_kind} eq 'date' ? '::timestamp' : '') . ')', $zone, [], 'keep');
	}
	for my $activity (@{ $policy->{activities} })
	{
		push @terms, "NOT EXISTS (SELECT FROM copy_$activity->{table}{i} AS activity WHERE ($activity->{join}\n) AND (" . ($activity->{condition} || 'true') . "\n) AND "
		  . alive_sql($activity->{time}, 'activity.' . ident($activity->{time}{name}), $activity->{zone}) . ')';
	}
	my $condition = $policy->{condition} || 'true';
	push @terms, "($condition\n)";
	my $latest = '';
	if ($policy->{keep_latest})
	{
		my @per = @{ $policy->{keep_per} };
		my $time = $policy->{times}[0];
		$latest = "WITH eligible AS (SELECT target.\"~row\" AS id, " . order_sql($time, 'target.' . ident($time->{name}), $zone) . ' AS at' . join('', map { ', target.' . ident($per[$_]) . " AS p$_" } 0 .. $#per)
		  . " FROM $from WHERE ($condition\n)) ";
		push @terms, "(SELECT count(*) FROM eligible me JOIN eligible newer ON " . join(' AND ', 'true', map { "newer.p$_ IS NOT DISTINCT FROM me.p$_" } 0 .. $#per)
		  . " WHERE me.id = target.\"~row\" AND (newer.at > me.at OR me.at IS NULL AND newer.at IS NOT NULL)) >= $policy->{keep_latest}";
	}
	return "INSERT INTO victim ${latest}SELECT target.\"~row\", subject.\"~row\", true FROM $from WHERE " . join("\n  AND ", @terms) . ";\n";
}

sub bond_sql
{
	my ($n, $bond) = @_;
	my ($p, $c) = ($bond->{parent}{i}, $bond->{child}{i});
	my $meet = $bond->{join} ? "($bond->{join}\n)" : fk_condition($bond->{fk}, 'dependent', 'target') . ' AND ' . own_rows($bond->{child}, 'dependent') . ' AND ' . own_rows($bond->{parent}, 'target');
	return "INSERT INTO bond SELECT $n, $p, target.\"~row\", $c, dependent.\"~row\", '$bond->{kind}' FROM copy_$c AS dependent JOIN copy_$p AS target ON $meet;\n";
}

# Makes the copies what the tables must be.
sub outcome_sql
{
	my ($case, $policy) = @_;
	my ($sql, $n) = ('', -1);
	for my $bond (@{ $policy->{bonds} })
	{
		$n++;
		next if $bond->{kind} !~ /^(?:set_null|schema)$/;
		my $fk = $bond->{fk};
		my $c = $bond->{child}{i};
		my $to = $bond->{kind} eq 'schema' && $fk->{on_delete} eq 'SET DEFAULT' ? 'DEFAULT' : 'NULL';
		my @columns = $bond->{kind} eq 'schema' && $fk->{set_columns} ? @{ $fk->{set_columns} } : @{ $fk->{cols} };
		my $stands = "SELECT b.crow FROM bond b JOIN going g ON g.t = b.pt AND g.id = b.prow WHERE b.n = $n AND (b.ct, b.crow) NOT IN (SELECT t, id FROM going)";
		$sql .= "INSERT INTO emptied SELECT $c, s.crow FROM ($stands) s WHERE ($c, s.crow) NOT IN (SELECT t, id FROM emptied);\n"
		  . "UPDATE copy_$c SET " . join(', ', map { ident($_) . " = $to" } @columns) . " WHERE \"~row\" IN ($stands);\n";
	}
	for my $table (@{ $case->{tables} })
	{
		my $t = $table->{i};
		my $rows = "target.\"~row\" IN (SELECT id FROM going WHERE t = $t)";
		$sql .= $policy->{action} eq 'update' ? "UPDATE copy_$t AS target SET $policy->{set_clause}\n WHERE $rows;\n" : "DELETE FROM copy_$t AS target WHERE $rows;\n";
	}
	for my $fk (map { @{ $_->{fks} || [] } } @{ $case->{tables} })
	{
		my ($c, $p) = ($fk->{table}{i}, $fk->{parent}{i});
		$sql .= "INSERT INTO orphan SELECT $c, d.\"~row\" FROM copy_$c d WHERE " . join(' AND ', map { 'd.' . ident($_) . ' IS NOT NULL' } @{ $fk->{cols} }) . ' AND ' . own_rows($fk->{table}, 'd')
		  . " AND NOT EXISTS (SELECT FROM copy_$p p WHERE " . fk_condition($fk, 'd', 'p') . ' AND ' . own_rows($fk->{parent}, 'p') . ");\n";
	}
	return $sql;
}

1;
